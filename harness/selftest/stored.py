"""Faults in stored curves: each lies in a workspace of its own, and is judged from there."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from scipy.stats import binom

from harness.manifest import Experiment
from harness.manifest.tree import Path as Place
from harness.record import Failure, FailureKind, Json, TrialSpec
from harness.selftest.bench import SPREAD, Bench, Run, draw, margins, messages, put, replayed
from harness.selftest.check import (
    Catch,
    Plant,
    Verdicts,
    alarmed,
    failed,
    lost,
    not_held,
    noted,
    rejected,
    scattered,
)
from harness.store import Store

SEED = 3
"""The one that is tampered with."""
WIDER = 20.0
"""Inflated: four tolerances between seeds, where one is allowed."""
DRAWS = 20
"""How many papers that are one more run; at most one in twenty may be rejected by chance."""
FIRST_DRAW = 10_000
"""Their generator's first seed, far from the manifest's own."""
CHANCE = 1e-3
"""Of so many false alarms that they are taken to show more than one in twenty."""


def _write(bench: Bench, store: Store, runs: Mapping[int, Run]) -> tuple[Experiment]:
    sent = bench.specs()
    put(
        store,
        bench.experiment,
        [(sent[seed], messages(run, sent[seed])) for seed, run in runs.items()],
    )
    return (bench.experiment,)


def _honest(bench: Bench, store: Store) -> Sequence[Experiment]:
    return _write(bench, store, bench.honest())


def _one_more_draw(bench: Bench, store: Store) -> Sequence[Experiment]:
    """The paper's figures are those of further runs, rounded as it prints them."""
    _write(bench, store, bench.honest())
    papers = (draw(bench.experiment, FIRST_DRAW + number) for number in range(DRAWS))
    return [bench.changed(_reporting(bench.experiment, paper)) for paper in papers]


def _reporting(experiment: Experiment, run: Run) -> dict[Place, Json]:
    """The claims' values as another run found them."""
    changes: dict[Place, Json] = {}
    for at, claim in enumerate(experiment.manifest.claims):
        place = ("claims", at, "reported")
        found = {
            epoch: run.finals[claim.metric]
            if epoch is None
            else run.curves[claim.metric][epoch - 1]
            for epoch in claim.values
        }
        rounded = {epoch: round(float(value), 4) for epoch, value in found.items()}
        if None in rounded:
            changes[place] = rounded[None]
        elif rounded:
            changes[place] = {str(epoch): value for epoch, value in rounded.items()}
    return changes


def _too_often(verdicts: Verdicts) -> Catch | None:
    """More false alarms than one in twenty explains."""
    alarms = [catch for verdict in verdicts if (catch := alarmed([verdict]))]
    most = int(binom.ppf(1 - CHANCE, len(verdicts), 0.05))
    said = f"{len(alarms)} of {len(verdicts)} rejected, at most {most} allowed"
    return Catch(said, alarms[0].level) if len(alarms) > most else None


def _cut_short(bench: Bench, store: Store) -> Sequence[Experiment]:
    """One trial was stopped on its way."""
    _write(bench, store, {seed: run for seed, run in bench.honest().items() if seed != SEED})
    spec = bench.specs()[SEED]
    half = bench.experiment.manifest.epochs.value // 2
    sent = messages(draw(bench.experiment, SEED), spec, upto=half)
    put(store, bench.experiment, [(spec, sent)])
    return (bench.experiment,)


def _folder(store: Store, spec: TrialSpec) -> Path:
    """Where a trial's files lie."""
    return store.root / "trials" / spec.id


def _truncated(bench: Bench, store: Store) -> Sequence[Experiment]:
    """A finished trial lost the end of its records since."""
    _write(bench, store, bench.honest())
    file = _folder(store, bench.specs()[SEED]) / "records.jsonl"
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    return (bench.experiment,)


def _not_a_number(bench: Bench, store: Store) -> Sequence[Experiment]:
    """One seed's estimate became NaN half way."""
    _write(bench, store, {seed: run for seed, run in bench.honest().items() if seed != SEED})
    spec = bench.specs()[SEED]
    half = bench.experiment.manifest.epochs.value // 2
    failure = Failure(FailureKind.SCIENTIFIC, "NonFiniteEstimate", "nan", half)
    sent = messages(draw(bench.experiment, SEED), spec, upto=half, failure=failure)
    put(store, bench.experiment, [(spec, sent)])
    return (bench.experiment,)


def _inflated(bench: Bench, store: Store) -> Sequence[Experiment]:
    """The mean is right, and the seeds scatter far more than is allowed."""
    runs = {seed: draw(bench.experiment, seed, wider=WIDER) for seed in bench.seeds}
    return _write(bench, store, runs)


def _shifted(bench: Bench, store: Store) -> Sequence[Experiment]:
    """Every seed lies by its tolerance and three spreads too high."""
    by = {metric: (1 + 3 * SPREAD) * margin for metric, margin in margins(bench.experiment).items()}
    return _write(bench, store, {seed: run.moved(by) for seed, run in bench.honest().items()})


def _of_another(bench: Bench, store: Store) -> Sequence[Experiment]:
    """The records are right, and the manifest has the figures of another listing."""
    _write(bench, store, bench.honest())
    listed = bench.other.manifest.model_dump(mode="json")["claims"]
    theirs = {claim["name"]: claim["reported"] for claim in listed}
    changes: dict[Place, Json] = {
        ("claims", at, "reported"): theirs[claim.name]
        for at, claim in enumerate(bench.experiment.manifest.claims)
    }
    return (bench.changed(changes),)


def _stale(bench: Bench, store: Store, other: TrialSpec) -> Sequence[Experiment]:
    """The folder of one trial holds the records of another."""
    spec = bench.specs()[SEED]
    sound = {seed: run for seed, run in bench.honest().items() if seed != SEED}
    _write(bench, store, sound)
    if other.seed == SEED:
        run = draw(bench.experiment, SEED)
        put(store, bench.experiment, [(other, messages(run, other))])
    shutil.copytree(_folder(store, other), _folder(store, spec))
    return (bench.experiment,)


def _other_seed(bench: Bench, store: Store) -> Sequence[Experiment]:
    return _stale(bench, store, bench.specs()[SEED + 1])


def _other_seed_renamed(bench: Bench, store: Store) -> Sequence[Experiment]:
    """As before, and the spec beside the records was made to fit."""
    found = _other_seed(bench, store)
    spare = Store(store.root / "spare")
    spec = bench.specs()[SEED]
    put(spare, bench.experiment, [(spec, messages(draw(bench.experiment, SEED), spec))])
    shutil.copy(_folder(spare, spec) / "spec.json", _folder(store, spec) / "spec.json")
    return found


def _other_parameters(bench: Bench, store: Store) -> Sequence[Experiment]:
    spec = bench.specs()[SEED]
    return _stale(bench, store, replace(spec, parameters={**spec.parameters, "batch_size": 50}))


def _other_revision(bench: Bench, store: Store) -> Sequence[Experiment]:
    spec = bench.specs()[SEED]
    return _stale(bench, store, replace(spec, revision=spec.revision - 1))


def _tolerance_changed(bench: Bench, store: Store) -> Sequence[Experiment]:
    """Once the records were there, a tolerance was widened."""
    _write(bench, store, bench.honest())
    claims = enumerate(bench.experiment.manifest.claims)
    at, before = next((at, claim.margin) for at, claim in claims if claim.compared)
    return (bench.changed({("claims", at, "tolerance", "value"): 2 * before}),)


def _memorised(bench: Bench, store: Store) -> Sequence[Experiment]:
    """Trials as they were recorded with pairs drawn once, under the name of ones redrawn."""
    by_seed = bench.specs()
    trials = {trial.spec.seed: trial for trial in bench.memorised}
    put(
        store,
        bench.experiment,
        [(by_seed[seed], replayed(trial, by_seed[seed])) for seed, trial in trials.items()],
    )
    return (bench.experiment,)


PLANTS = (
    Plant("an honest run", _honest, not_held, planted=False),
    Plant(f"the paper is one more run ({DRAWS} draws)", _one_more_draw, _too_often, planted=False),
    Plant("a curve cut short", _cut_short, lost(SEED, "exact")),
    Plant("records truncated", _truncated, lost(SEED, "digest")),
    Plant("one seed NaN", _not_a_number, failed(SEED)),
    Plant("variance inflated", _inflated, scattered),
    Plant("mean shifted", _shifted, rejected),
    Plant("reported values of another experiment", _of_another, rejected),
    Plant("stale record: another seed's", _other_seed, lost(SEED, "digest")),
    Plant("stale record: another seed's, respelt", _other_seed_renamed, lost(SEED, "digest")),
    Plant("stale record: other parameters", _other_parameters, lost(SEED, "digest")),
    Plant("stale record: another revision", _other_revision, lost(SEED, "digest")),
    Plant(
        "a tolerance changed after the run",
        _tolerance_changed,
        noted("changed since its records were made", "exact"),
    ),
)
"""In the order in which they are told."""

MEMORISED = Plant("pairs not redrawn (as recorded)", _memorised, rejected)
"""On real records, since a network takes dozens of epochs to memorise its pairs."""
