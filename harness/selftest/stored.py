"""Faults in stored records: each lies in a workspace of its own, and is judged from there."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from scipy.stats import binom

from harness.manifest import ComparedClaim, Experiment
from harness.manifest.tree import Path as Place
from harness.record import Failure, FailureKind, Json, StoredTrial, TrialSpec
from harness.selftest.cases import (
    Case,
    Detection,
    Verdicts,
    failed_seed,
    false_alarm,
    missing_seed,
    not_reproduced_fully,
    noted,
    rejected,
    too_variable,
)
from harness.selftest.drawn import (
    SD_SHARE,
    DrawnRun,
    Subject,
    draw,
    margins,
    messages,
    replayed,
    write,
)
from harness.store import Store
from harness.workload import planted_faults

WIDER = 20.0
"""Factor on the SD for seeds that vary too much: an SD of four tolerances, where one is allowed."""
DRAWS = 20
"""How many papers that are one more run are tried; one in twenty may be rejected by chance."""
FIRST_DRAW = 10_000
"""The first seed of their generators, far from the manifest's own."""
PRINTED = 4
"""Decimals that a paper prints where its manifest does not say."""
CHANCE = 1e-3
"""Probability of so many rejections by chance that they count as too many."""


def cases(subject: Subject) -> Iterator[Case]:
    """The cases that this experiment allows, in the order in which they are shown."""
    claims = subject.experiment.manifest.claims
    compared = any(isinstance(each, ComparedClaim) and not each.counts_epochs for each in claims)
    seed = _tampered(subject)
    yield Case("an honest run", _sound, not_reproduced_fully, is_fault=False)
    yield Case(
        f"the paper is one more run ({DRAWS} draws)", _one_more_draw, _too_often, is_fault=False
    )
    yield Case("a curve cut short", _cut_short, missing_seed(seed, "exact"))
    yield Case("records truncated", _truncated, missing_seed(seed, "digest"))
    yield Case("one seed NaN", _not_a_number, failed_seed(seed))
    if compared:
        yield Case("variance inflated", _inflated, too_variable)
    if margins(subject.experiment):
        yield Case("mean shifted", _shifted, rejected)
    if subject.other is not None:
        other = partial(_of_another, other=subject.other)
        yield Case("reported values of another experiment", other, rejected)
    stale = missing_seed(seed, "digest")
    yield Case("stale record: another seed's", _other_seed, stale)
    yield Case("stale record: another seed's, respelt", _other_seed_renamed, stale)
    yield Case("stale record: other parameters", _other_parameters, stale)
    yield Case("stale record: another revision", _other_revision, stale)
    if margins(subject.experiment):
        changed = noted("changed since its records were made", "exact")
        yield Case("a tolerance changed after the run", _tolerance_changed, changed)
    for name, trials in subject.recorded.items():
        yield Case(
            f"{planted_faults(subject.workload)[name].title} (as recorded)",
            partial(_recorded, trials=trials),
            rejected,
            seeds=tuple(trial.spec.seed for trial in trials),
        )


def _tampered(subject: Subject) -> int:
    """The seed that is tampered with."""
    return subject.seeds[3]


def _all_but_tampered(subject: Subject) -> dict[int, DrawnRun]:
    runs = subject.sound_runs()
    del runs[_tampered(subject)]
    return runs


def _write(subject: Subject, store: Store, runs: Mapping[int, DrawnRun]) -> tuple[Experiment]:
    sent = subject.specs()
    write(
        store,
        subject.experiment,
        [(sent[seed], messages(run, sent[seed])) for seed, run in runs.items()],
    )
    return (subject.experiment,)


def _sound(subject: Subject, store: Store) -> Sequence[Experiment]:
    return _write(subject, store, subject.sound_runs())


def _one_more_draw(subject: Subject, store: Store) -> Sequence[Experiment]:
    """Replace the paper's values by those of further runs, rounded as it prints them."""
    _write(subject, store, subject.sound_runs())
    papers = (draw(subject.experiment, FIRST_DRAW + number) for number in range(DRAWS))
    return [subject.changed(_reporting(subject.experiment, paper)) for paper in papers]


def _reporting(experiment: Experiment, run: DrawnRun) -> dict[Place, Json]:
    """The changes of a manifest that make its claims report another run's values."""
    changes: dict[Place, Json] = {}
    for at, claim in enumerate(experiment.manifest.claims):
        decimals = getattr(claim, "decimals", None)
        place, decimals = ("claims", at, "reported"), PRINTED if decimals is None else decimals
        if None in claim.values:
            changes[place] = round(run.finals[claim.metric], decimals)
        elif claim.values:
            curve = run.curves[claim.metric]
            rows = (epoch for epoch in claim.values if epoch is not None)
            changes[place] = {str(row): round(float(curve[row - 1]), decimals) for row in rows}
    return changes


def _too_often(verdicts: Verdicts) -> Detection | None:
    """Detects more false alarms than one in twenty explains."""
    alarms = [alarm for verdict in verdicts if (alarm := false_alarm([verdict]))]
    most = int(binom.ppf(1 - CHANCE, len(verdicts), 0.05))
    text = f"{len(alarms)} of {len(verdicts)} rejected, at most {most} allowed"
    return Detection(text, alarms[0].level) if len(alarms) > most else None


def _cut_short(subject: Subject, store: Store) -> Sequence[Experiment]:
    """Stop one trial half way."""
    _write(subject, store, _all_but_tampered(subject))
    spec = subject.specs()[_tampered(subject)]
    half = subject.experiment.manifest.epochs.value // 2
    sent = messages(draw(subject.experiment, spec.seed), spec, upto=half)
    write(store, subject.experiment, [(spec, sent)])
    return (subject.experiment,)


def _folder(store: Store, spec: TrialSpec) -> Path:
    """Where a trial's files lie."""
    return store.root / "trials" / spec.id


def _truncated(subject: Subject, store: Store) -> Sequence[Experiment]:
    """Cut the end off a finished trial's records."""
    _write(subject, store, subject.sound_runs())
    file = _folder(store, subject.specs()[_tampered(subject)]) / "records.jsonl"
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    return (subject.experiment,)


def _not_a_number(subject: Subject, store: Store) -> Sequence[Experiment]:
    """Let one seed's estimate become NaN half way."""
    _write(subject, store, _all_but_tampered(subject))
    spec = subject.specs()[_tampered(subject)]
    half = subject.experiment.manifest.epochs.value // 2
    failure = Failure(FailureKind.SCIENTIFIC, "NonFiniteEstimate", "nan", half)
    sent = messages(draw(subject.experiment, spec.seed), spec, upto=half, failure=failure)
    write(store, subject.experiment, [(spec, sent)])
    return (subject.experiment,)


def _inflated(subject: Subject, store: Store) -> Sequence[Experiment]:
    """Keep the mean, and let the seeds vary far more than is allowed."""
    runs = {seed: draw(subject.experiment, seed, wider=WIDER) for seed in subject.seeds}
    return _write(subject, store, runs)


def _shifted(subject: Subject, store: Store) -> Sequence[Experiment]:
    """Raise every seed by its tolerance and three SDs."""
    tolerances = margins(subject.experiment).items()
    by = {metric: (1 + 3 * SD_SHARE) * tolerance for metric, tolerance in tolerances}
    moved = {seed: run.moved(by) for seed, run in subject.sound_runs().items()}
    return _write(subject, store, moved)


def _of_another(subject: Subject, store: Store, *, other: Experiment) -> Sequence[Experiment]:
    """Keep sound records, and let the manifest report the values of another experiment."""
    _write(subject, store, subject.sound_runs())
    listed = other.manifest.model_dump(mode="json")["claims"]
    theirs = {claim["name"]: claim["reported"] for claim in listed}
    changes: dict[Place, Json] = {
        ("claims", at, "reported"): theirs[claim.name]
        for at, claim in enumerate(subject.experiment.manifest.claims)
    }
    return (subject.changed(changes),)


def _stale(subject: Subject, store: Store, other: TrialSpec) -> Sequence[Experiment]:
    """Put the records of another trial into the folder of one."""
    spec = subject.specs()[_tampered(subject)]
    _write(subject, store, _all_but_tampered(subject))
    if other.seed == spec.seed:
        run = draw(subject.experiment, other.seed)
        write(store, subject.experiment, [(other, messages(run, other))])
    shutil.copytree(_folder(store, other), _folder(store, spec))
    return (subject.experiment,)


def _other_seed(subject: Subject, store: Store) -> Sequence[Experiment]:
    return _stale(subject, store, subject.specs()[subject.seeds[4]])


def _other_seed_renamed(subject: Subject, store: Store) -> Sequence[Experiment]:
    """The same, with the spec beside the records made to fit."""
    experiments = _other_seed(subject, store)
    spare = Store(store.root / "spare")
    spec = subject.specs()[_tampered(subject)]
    write(spare, subject.experiment, [(spec, messages(draw(subject.experiment, spec.seed), spec))])
    shutil.copy(_folder(spare, spec) / "spec.json", _folder(store, spec) / "spec.json")
    return experiments


def _other_parameters(subject: Subject, store: Store) -> Sequence[Experiment]:
    spec = subject.specs()[_tampered(subject)]
    name, value = next(iter(spec.parameters.items()))
    return _stale(subject, store, replace(spec, parameters={**spec.parameters, name: [value]}))


def _other_revision(subject: Subject, store: Store) -> Sequence[Experiment]:
    spec = subject.specs()[_tampered(subject)]
    return _stale(subject, store, replace(spec, revision=spec.revision - 1))


def _tolerance_changed(subject: Subject, store: Store) -> Sequence[Experiment]:
    """Double a tolerance once the records are there."""
    _write(subject, store, subject.sound_runs())
    claims = enumerate(subject.experiment.manifest.claims)
    at, before = next(
        (at, claim.margin) for at, claim in claims if not claim.exact and not claim.counts_epochs
    )
    return (subject.changed({("claims", at, "tolerance", "value"): 2 * before}),)


def _recorded(
    subject: Subject, store: Store, *, trials: Sequence[StoredTrial]
) -> Sequence[Experiment]:
    """Write trials that were recorded with a fault's parameters as if these were the manifest's."""
    specs = subject.specs()
    sent = [(specs[trial.spec.seed], replayed(trial, specs[trial.spec.seed])) for trial in trials]
    write(store, subject.experiment, sent)
    return (subject.experiment,)
