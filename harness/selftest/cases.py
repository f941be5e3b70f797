"""The cases of the self-test: faults in stored records and in real training, and how each shows.

Each case has a workspace of its own, and is judged from there. In real training the workload's own
planted faults run on Ray: a planted workload wraps a sound one. Its trials have other ids and the
same claims.
"""

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from harness.manifest import Experiment, ToleratedClaim, change
from harness.manifest.tree import Path as Place
from harness.plan import Selection
from harness.record import Environment, Failure, FailureKind, Json, StoredTrial, TrialSpec
from harness.selftest.drawn_runs import (
    SD_SHARE,
    DrawnRun,
    Subject,
    draw,
    margins,
    messages,
    replayed,
    reporting,
    write_records,
)
from harness.store import Store
from harness.verdict import ClaimResult, ExperimentVerdict, Outcome
from harness.workload import (
    Arrays,
    Context,
    DataSet,
    Metric,
    Parameters,
    PlantedFault,
    Row,
    Run,
    Workload,
    planted_faults,
)

Verdicts = Sequence[ExperimentVerdict]


@dataclass(frozen=True)
class Detection:
    """The part of a verdict that shows a fault."""

    by: str
    """The claims, or another part of the verdict, as text."""
    level: str
    """Strength of the evidence: a p-value, or 'digest' or 'exact' if chance plays no part."""


Detector = Callable[[Verdicts], Detection | None]
"""Returns the part of the verdicts that shows the fault, or None."""


@dataclass(frozen=True)
class PlantedCase:
    """One planted fault, or a null: a sound run, which the verdict must not reject."""

    name: str
    prepare: Callable[[Subject, Store], Sequence[Experiment]]
    """Writes records into an empty workspace, and returns the experiments to judge."""
    detect: Detector
    is_fault: bool = True
    """False for a null."""
    seeds: tuple[int, ...] | None = None
    """The seeds to judge; None for all of the manifest's."""
    registry: Mapping[str, Workload] | None = None
    """The workloads of experiments that are judged together, of which the last compares the others;
    None if each is judged alone."""


@dataclass(frozen=True)
class CaseResult:
    """Result of one case."""

    name: str
    is_fault: bool
    verdict: str
    """The verdict as text."""
    detection: Detection | None

    @property
    def passed(self) -> bool:
        """Whether a fault was detected, or a null was accepted."""
        return (self.detection is not None) == self.is_fault


def evaluate(case: PlantedCase, verdicts: Verdicts) -> CaseResult:
    """Compare the verdicts with what was planted."""
    names = sorted({str(verdict.verdict) for verdict in verdicts})
    return CaseResult(case.name, case.is_fault, " or ".join(names), case.detect(verdicts))


def rejected(verdicts: Verdicts) -> Detection | None:
    """Detect the claims that are not reproduced, if each verdict has one."""
    rows = [row for verdict in verdicts for row in _failing(verdict)]
    if not rows or any(verdict.verdict is not Outcome.NOT_REPRODUCED for verdict in verdicts):
        return None
    return Detection(_claims(rows), _level(rows))


def false_alarm(verdicts: Verdicts) -> Detection | None:
    """Detect any verdict but REPRODUCED and INCONCLUSIVE. On a null it is a false alarm."""
    for verdict in verdicts:
        if verdict.verdict not in (Outcome.REPRODUCED, Outcome.INCONCLUSIVE):
            return rejected([verdict]) or Detection(str(verdict.verdict), "")
    return None


def not_reproduced_fully(verdicts: Verdicts) -> Detection | None:
    """Detect that a sound run is not REPRODUCED."""
    (verdict,) = verdicts
    if verdict.verdict is Outcome.REPRODUCED:
        return None
    return false_alarm(verdicts) or Detection("; ".join(verdict.notes), str(verdict.verdict))


def too_variable(verdicts: Verdicts) -> Detection | None:
    """Detect a claim that fails only because its seeds differ too much from each other."""
    (verdict,) = verdicts
    for row in _failing(verdict):
        sampled = row.about is not None and row.about.reported_sd is not None
        # Ranks of two samples answer to different SDs, too.
        plausible = row.p_consistency is not None and row.p_consistency > verdict.alpha
        if row.note and (plausible or sampled):
            return Detection(f"{row.claim}: {row.note}", f"{verdict.alpha:.0%} over all rows")
    return None


def missing_seed(seed: int, level: str) -> Detector:
    """Detect that the verdict is INCOMPLETE and names this seed as missing."""

    def detect(verdicts: Verdicts) -> Detection | None:
        (verdict,) = verdicts
        missing = verdict.verdict is Outcome.INCOMPLETE and verdict.missing == (seed,)
        return Detection(f"seed {seed} missing", level) if missing else None

    return detect


def failed_seed(seed: int) -> Detector:
    """Detect that the verdict is NOT REPRODUCED and names this seed as failed."""

    def detect(verdicts: Verdicts) -> Detection | None:
        (verdict,) = verdicts
        failed = verdict.verdict is Outcome.NOT_REPRODUCED and set(verdict.failures) == {seed}
        return Detection(f"seed {seed} failed", "exact") if failed else None

    return detect


def noted(words: str, level: str) -> Detector:
    """Detect a note with these words, whatever the verdict is."""

    def detect(verdicts: Verdicts) -> Detection | None:
        (verdict,) = verdicts
        note = next((note for note in verdict.notes if words in note), None)
        return Detection(note, level) if note else None

    return detect


def _failing(verdict: ExperimentVerdict) -> list[ClaimResult]:
    return [row for row in verdict.results if row.verdict is Outcome.NOT_REPRODUCED]


def _claims(rows: Iterable[ClaimResult]) -> str:
    return ", ".join(dict.fromkeys(row.claim for row in rows))


def _level(rows: Sequence[ClaimResult]) -> str:
    """Return the strongest evidence of the rows: an exact value, a p-value, or a distance."""
    if any(row.about is not None and row.about.exact for row in rows):
        return "exact"
    ps = [row.p_consistency for row in rows if row.p_consistency is not None]
    if ps:
        return f"p = {min(ps):.1g}"
    far = [abs(row.difference or 0.0) / row.tolerance for row in rows if row.tolerance]
    return f"{max(far):.1f} tolerances" if far else rows[0].method


WIDER = 20.0
"""Factor on the SD of seeds that vary too much. It makes the SD four tolerances; one is allowed."""
DRAWS = 20
"""Number of simulated papers that are one more run. Chance rejects one in twenty of them."""
FIRST_DRAW = 10_000
"""First seed of the generators of these papers, far from the seeds of the manifest."""
RATE_OF_MEANS = 0.25
"""Rate of rejections in a set of seeds whose mean is off by two standard errors, if papers report
means of as many runs. All papers meet the same seeds, so that their error counts again and again;
over many sets of seeds the rate is 0.05."""
CHANCE = 1e-3
"""Probability that chance alone causes more rejections than the allowed number."""


def cases(subject: Subject) -> Iterator[PlantedCase]:
    """Yield the cases that this experiment allows, in the order of display."""
    claims = subject.experiment.manifest.claims
    of_mean = any(isinstance(one, ToleratedClaim) and not one.counts_epochs for one in claims)
    seed = _tampered(subject)
    yield PlantedCase("an honest run", _sound, not_reproduced_fully, is_fault=False)
    yield PlantedCase(
        f"the paper is one more run ({DRAWS} draws)", _one_more_draw, _too_often, is_fault=False
    )
    yield PlantedCase("a curve cut short", _cut_short, missing_seed(seed, "exact"))
    yield PlantedCase("records truncated", _truncated, missing_seed(seed, "digest"))
    yield PlantedCase("one seed NaN", _not_a_number, failed_seed(seed))
    if of_mean:
        yield PlantedCase("variance inflated", _inflated, too_variable)
    if margins(subject.experiment):
        yield PlantedCase("mean shifted", _shifted, rejected)
    if subject.other is not None:
        other = partial(_of_another, other=subject.other)
        yield PlantedCase("reported values of another experiment", other, rejected)
    stale = missing_seed(seed, "digest")
    yield PlantedCase("stale record: another seed's", _other_seed, stale)
    yield PlantedCase("stale record: another seed's, spec replaced", _other_seed_renamed, stale)
    spec = subject.specs()[seed]
    if spec.parameters:
        yield PlantedCase("stale record: other parameters", _other_parameters, stale)
    if spec.settings:
        yield PlantedCase("stale record: other settings", _other_settings, stale)
    yield PlantedCase("stale record: another revision", _other_revision, stale)
    if margins(subject.experiment):
        changed = noted("changed since the records were made", "exact")
        yield PlantedCase("a tolerance changed after the run", _tolerance_changed, changed)
    for name, trials in subject.recorded.items():
        yield PlantedCase(
            f"{planted_faults(subject.workload)[name].title} (as recorded)",
            partial(_recorded, trials=trials),
            rejected,
            seeds=tuple(trial.spec.seed for trial in trials),
        )


def _tampered(subject: Subject) -> int:
    """Return the seed whose records are tampered with."""
    return subject.seeds[3]


def _all_but_tampered(subject: Subject) -> dict[int, DrawnRun]:
    runs = subject.sound_runs()
    del runs[_tampered(subject)]
    return runs


def _write(subject: Subject, store: Store, runs: Mapping[int, DrawnRun]) -> tuple[Experiment]:
    sent = subject.specs()
    write_records(
        store,
        subject.experiment,
        [(sent[seed], messages(run, sent[seed])) for seed, run in runs.items()],
    )
    return (subject.experiment,)


def _sound(subject: Subject, store: Store) -> Sequence[Experiment]:
    return _write(subject, store, subject.sound_runs())


def _one_more_draw(subject: Subject, store: Store) -> Sequence[Experiment]:
    """Replace the reported values by those of further runs, rounded as the paper prints them."""
    _write(subject, store, subject.sound_runs())
    most = max(claim.averaged for claim in subject.experiment.manifest.claims)
    papers = (
        [draw(subject.experiment, FIRST_DRAW + number + DRAWS * run) for run in range(most)]
        for number in range(DRAWS)
    )
    return [subject.changed(reporting(subject.experiment, paper)) for paper in papers]


def _too_often(verdicts: Verdicts) -> Detection | None:
    """Detect more false alarms than an error rate of one in twenty explains."""
    from scipy.stats import binom  # noqa: PLC0415 - takes half a second to import

    alarms = [alarm for verdict in verdicts if (alarm := false_alarm([verdict]))]
    claims = verdicts[0].experiment.manifest.claims
    rate = RATE_OF_MEANS if any(claim.averaged > 1 for claim in claims) else 0.05
    most = int(binom.ppf(1 - CHANCE, len(verdicts), rate))
    text = f"{len(alarms)} of {len(verdicts)} rejected, at most {most} allowed"
    return Detection(text, alarms[0].level) if len(alarms) > most else None


def _cut_short(subject: Subject, store: Store) -> Sequence[Experiment]:
    """Stop one trial after half of its epochs."""
    _write(subject, store, _all_but_tampered(subject))
    spec = subject.specs()[_tampered(subject)]
    half = subject.experiment.manifest.epochs.value // 2
    sent = messages(draw(subject.experiment, spec.seed), spec, upto=half)
    write_records(store, subject.experiment, [(spec, sent)])
    return (subject.experiment,)


def _folder(store: Store, spec: TrialSpec) -> Path:
    """Return the folder of a trial."""
    return store.root / "trials" / spec.id


def _truncated(subject: Subject, store: Store) -> Sequence[Experiment]:
    """Truncate the records of a finished trial."""
    _write(subject, store, subject.sound_runs())
    file = _folder(store, subject.specs()[_tampered(subject)]) / "records.jsonl"
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    return (subject.experiment,)


def _not_a_number(subject: Subject, store: Store) -> Sequence[Experiment]:
    """Make the estimate of one seed NaN after half of the epochs."""
    _write(subject, store, _all_but_tampered(subject))
    spec = subject.specs()[_tampered(subject)]
    half = subject.experiment.manifest.epochs.value // 2
    failure = Failure(FailureKind.SCIENTIFIC, "NonFiniteEstimate", "nan", half)
    sent = messages(draw(subject.experiment, spec.seed), spec, upto=half, failure=failure)
    write_records(store, subject.experiment, [(spec, sent)])
    return (subject.experiment,)


def _inflated(subject: Subject, store: Store) -> Sequence[Experiment]:
    """Keep the mean, but make the SD far larger than its limit."""
    runs = {seed: draw(subject.experiment, seed, wider=WIDER) for seed in subject.seeds}
    return _write(subject, store, runs)


def _shifted(subject: Subject, store: Store) -> Sequence[Experiment]:
    """Add the tolerance and three SDs to every seed."""
    tolerances = margins(subject.experiment).items()
    by = {metric: (1 + 3 * SD_SHARE) * tolerance for metric, tolerance in tolerances}
    moved = {seed: run.moved(by) for seed, run in subject.sound_runs().items()}
    return _write(subject, store, moved)


def _of_another(subject: Subject, store: Store, *, other: Experiment) -> Sequence[Experiment]:
    """Keep sound records, but make the manifest report the values of another experiment."""
    _write(subject, store, subject.sound_runs())
    listed = other.manifest.model_dump(mode="json")["claims"]
    theirs = {claim["name"]: claim["reported"] for claim in listed}
    changes: dict[Place, Json] = {
        ("claims", at, "reported"): theirs[claim.name]
        for at, claim in enumerate(subject.experiment.manifest.claims)
    }
    return (subject.changed(changes),)


def _stale(subject: Subject, store: Store, other: TrialSpec) -> Sequence[Experiment]:
    """Put the records of another trial into the folder of the tampered one."""
    spec = subject.specs()[_tampered(subject)]
    _write(subject, store, _all_but_tampered(subject))
    if other.seed == spec.seed:
        run = draw(subject.experiment, other.seed)
        write_records(store, subject.experiment, [(other, messages(run, other))])
    shutil.copytree(_folder(store, other), _folder(store, spec))
    return (subject.experiment,)


def _other_seed(subject: Subject, store: Store) -> Sequence[Experiment]:
    return _stale(subject, store, subject.specs()[subject.seeds[4]])


def _other_seed_renamed(subject: Subject, store: Store) -> Sequence[Experiment]:
    """Do the same, and replace the spec beside the records by the right one."""
    experiments = _other_seed(subject, store)
    spare = Store(store.root / "spare")
    spec = subject.specs()[_tampered(subject)]
    write_records(
        spare, subject.experiment, [(spec, messages(draw(subject.experiment, spec.seed), spec))]
    )
    shutil.copy(_folder(spare, spec) / "spec.json", _folder(store, spec) / "spec.json")
    return experiments


def _other_parameters(subject: Subject, store: Store) -> Sequence[Experiment]:
    spec = subject.specs()[_tampered(subject)]
    name, value = next(iter(spec.parameters.items()))
    return _stale(subject, store, replace(spec, parameters={**spec.parameters, name: [value]}))


def _other_settings(subject: Subject, store: Store) -> Sequence[Experiment]:
    """Change what the manifest's section adds to a trial's identity: the code that runs, say."""
    spec = subject.specs()[_tampered(subject)]
    other = {name: [value] for name, value in (spec.settings or {}).items()}
    return _stale(subject, store, replace(spec, settings=other))


def _other_revision(subject: Subject, store: Store) -> Sequence[Experiment]:
    spec = subject.specs()[_tampered(subject)]
    return _stale(subject, store, replace(spec, revision=spec.revision - 1))


def _tolerance_changed(subject: Subject, store: Store) -> Sequence[Experiment]:
    """Double a tolerance after the records were written."""
    _write(subject, store, subject.sound_runs())
    claims = enumerate(subject.experiment.manifest.claims)
    at, before = next(
        (at, claim.margin) for at, claim in claims if not claim.exact and not claim.counts_epochs
    )
    return (subject.changed({("claims", at, "tolerance", "value"): 2 * before}),)


def _recorded(
    subject: Subject, store: Store, *, trials: Sequence[StoredTrial]
) -> Sequence[Experiment]:
    """Write trials that ran with a fault's parameters as if they had the manifest's."""
    specs = subject.specs()
    sent = [(specs[trial.spec.seed], replayed(trial, specs[trial.spec.seed])) for trial in trials]
    write_records(store, subject.experiment, sent)
    return (subject.experiment,)


NONE = "none"
"""Name of the null: a planted workload without a fault."""


@dataclass
class PlantedRun:
    """A run with one planted fault. The fault is removed after each call."""

    run: Run
    fault: PlantedFault
    environment: Environment = field(init=False)

    def __post_init__(self) -> None:
        self.environment = self.run.environment

    def epoch(self) -> Mapping[str, float] | Row | None:
        """Run the next epoch with the fault."""
        with self.fault.plant():
            return self.run.epoch()

    def final(self) -> Mapping[str, float]:
        """Return the final estimates with the fault."""
        with self.fault.plant():
            return self.run.final()

    def save(self) -> bytes | Path:
        """Return the checkpoint of the sound run."""
        return self.run.save()

    def load(self, payload: Any) -> None:
        """Load the checkpoint into the sound run."""
        self.run.load(payload)


@dataclass
class PlantedWorkload:
    """A workload with one planted fault; implements the protocol `harness.workload.Workload`.

    It differs from the sound workload by its name only. Metrics, revision and data sets are equal.
    """

    sound: Workload
    fault_name: str
    fault: PlantedFault
    name: str = field(init=False)
    revision: int = field(init=False)
    parameters: type[Parameters] = field(init=False)
    metrics: Mapping[str, Metric] = field(init=False)
    prefix: bool = field(init=False)

    def __post_init__(self) -> None:
        self.name = f"{self.sound.name}_{self.fault_name}"
        self.revision, self.prefix = self.sound.revision, self.sound.prefix
        self.parameters, self.metrics = self.sound.parameters, self.sound.metrics

    def data_sets(self, parameters: Any) -> tuple[DataSet, ...]:
        """Return the data sets of the sound workload, whatever the fault does to them."""
        return self.sound.data_sets(parameters)

    def load_data(self, name: str, cache: Path) -> Arrays:
        """Load a data set of the sound workload."""
        return self.sound.load_data(name, cache)

    def start(self, parameters: Any, context: Context) -> Run:
        """Start a run with the fault."""
        parameters = parameters.model_copy(update=dict(self.fault.parameters))
        if self.fault.data is not None:
            context = replace(context, data=self.fault.data(context.data))
        with self.fault.plant():
            return PlantedRun(self.sound.start(parameters, context), self.fault)


@dataclass(frozen=True)
class Training:
    """The trials to train, and the case of each."""

    experiments: tuple[Experiment, ...]
    cases: tuple[PlantedCase, ...]
    """One case for each experiment."""
    registry: Mapping[str, Workload]
    selection: Selection

    @classmethod
    def short(cls, subject: Subject) -> "Training":
        """Plan a null, one fault that the estimates show, and those that a digest shows.

        They run up to the first epoch that is judged, in two seeds, which suffice to show whether
        runs differ. The other faults show in the same way, so they are left to `others`.
        """
        null = {NONE: PlantedFault("an honest run")}
        return cls._of(subject, _early(subject), null | _split(subject)[0])

    @classmethod
    def others(cls, subject: Subject) -> "Training":
        """Plan the other faults that show early, in the same way as `short`."""
        return cls._of(subject, _early(subject), _split(subject)[1])

    @classmethod
    def whole(cls, subject: Subject) -> "Training":
        """Plan the faults that show late and a null, over all epochs of the manifest.

        Seven seeds are needed: three leave the verdict open at the corrected level.
        """
        faults = planted_faults(subject.workload)
        late = {name: fault for name, fault in faults.items() if fault.late}
        null = {NONE: PlantedFault("an honest run, in full")}
        return cls._of(subject, Selection(seeds=subject.seeds[:7]), null | late)

    @classmethod
    def _of(
        cls, subject: Subject, selection: Selection, faults: Mapping[str, PlantedFault]
    ) -> "Training":
        planted = [PlantedWorkload(subject.workload, *named) for named in faults.items()]
        registry = {**subject.registry, **{workload.name: workload for workload in planted}}
        return cls(
            experiments=tuple(
                _planted(subject.experiment, workload, registry) for workload in planted
            ),
            cases=tuple(_case(name, fault) for name, fault in faults.items()),
            registry=registry,
            selection=selection,
        )


def _early(subject: Subject) -> Selection:
    """Two seeds up to the first epoch that is judged."""
    manifest = subject.experiment.manifest
    rows = (
        epoch or manifest.epochs.value
        for claim in manifest.claims
        if not claim.exact
        for epoch in claim.values
    )
    epochs = min(rows, default=manifest.epochs.value)
    return Selection(seeds=subject.seeds[:2], epochs=epochs)


def _split(subject: Subject) -> tuple[dict[str, PlantedFault], dict[str, PlantedFault]]:
    """The faults that show early: those that `Training.short` plants, and the others."""
    faults = planted_faults(subject.workload)
    early = {name: fault for name, fault in faults.items() if not fault.late}
    first = next((name for name, fault in early.items() if fault.data is None), None)
    chosen = {name: fault for name, fault in early.items() if name == first or fault.data}
    return chosen, {name: fault for name, fault in early.items() if name not in chosen}


def _case(name: str, fault: PlantedFault) -> PlantedCase:
    """Return the case of one fault. It writes no records, because Ray's workers make them."""
    detect: Detector = rejected
    if name == NONE:
        detect = false_alarm
    elif fault.data is not None:
        detect = noted("other data than its digest names", "digest")
    return PlantedCase(fault.title, lambda *_: (), detect, is_fault=name != NONE)


def _planted(
    experiment: Experiment, workload: PlantedWorkload, registry: Mapping[str, Workload]
) -> Experiment:
    made, faults = change(
        experiment,
        {("workload", "name"): workload.name},
        registry,
        id=f"{experiment.id}[{workload.fault_name}]",
        varied=(),
    )
    if made is None:
        raise ValueError(f"{experiment.id}: {faults}")
    return made
