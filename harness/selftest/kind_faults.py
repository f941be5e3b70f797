"""The cases of the self-test for each kind of claim about final estimates.

The manifest gets claims of these kinds, and the records are drawn around what the claims report: a
sound case, which no claim may reject, and a fault for each kind, which its claim must reject. For
claims between experiments there are two: the runs of `high` lie above those of `low`, until the
fault moves them below.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from pydantic import TypeAdapter

from harness.manifest import BaseClaim, Experiment, change
from harness.manifest.claims import AnyClaim
from harness.record import Json
from harness.selftest.cases import PlantedCase, PlantedWorkload, false_alarm, rejected
from harness.selftest.drawn_runs import (
    PAPER_DRAW,
    SD_SHARE,
    DrawnRun,
    Subject,
    draw,
    margins,
    messages,
    write_records,
)
from harness.store import Store
from harness.workload import PlantedFault

RUNS = 10
"""How many runs the paper makes."""
APART = 2.0
"""How far the runs of `high` lie above those of `low`, in tolerances."""
FAULT = 2 * APART
"""How far a fault moves runs, in tolerances."""
LOW_DRAW = 30_000
"""First seed of the generators of the runs of `low`, so that no seed is like that of `high`."""

Fields = Mapping[str, Json]
_CLAIM: TypeAdapter[BaseClaim] = TypeAdapter(AnyClaim)


@dataclass(frozen=True)
class _Paper:
    """What a simulated paper reports of one metric."""

    metric: str
    value: float
    tolerance: float
    runs: tuple[float, ...]
    """Of `low`; those of `high` lie `APART` higher."""

    @property
    def apart(self) -> float:
        """How far `high` lies above `low`, in the metric's unit."""
        return APART * self.tolerance

    @property
    def higher(self) -> tuple[float, ...]:
        """The runs of `high`."""
        return tuple(run + self.apart for run in self.runs)

    def claim(self, name: str, kind: str, **fields: Json) -> BaseClaim:
        """A claim about the metric; it has a tolerance unless `fields` has None for it."""
        near: Json = {"value": self.tolerance, "reason": "large beside the SD of the drawn runs"}
        given: dict[str, Json] = {"tolerance": near, **fields}
        made = {"name": name, "kind": kind, "metric": self.metric, "source": "the self-test"}
        return _CLAIM.validate_python(
            {**made, **{key: value for key, value in given.items() if value is not None}}
        )


def _alone(paper: _Paper) -> Iterator[tuple[BaseClaim, float, int | None]]:
    """Each kind that is about one experiment, with its fault.

    The fault is how far it moves runs, in tolerances, and how many runs; None for all.
    """
    best, value = max(paper.runs), paper.value
    printed: Json = {"mean": value, "sd": SD_SHARE * paper.tolerance, "runs": RUNS, "ddof": 1}
    sample = partial(paper.claim, kind="sample")
    yield sample("all values", reported={"values": list(paper.runs)}), FAULT, None
    yield sample("mean and SD", reported=printed), -FAULT, None
    yield paper.claim("at least", "at_least", reported=value), -FAULT, None
    yield paper.claim("at most", "at_most", reported=value), FAULT, None
    extreme = {"which": "highest", "runs": RUNS}
    yield paper.claim("best of ten", "extreme", reported=best, **extreme), FAULT, None
    limit = value + 2 * paper.tolerance
    yield paper.claim("never above", "never", reported=limit, tolerance=None), FAULT, 1
    never = {"reported": best, "runs": RUNS, "tolerance": None}
    yield paper.claim("none of ten above", "never", **never), FAULT, None


def _between(paper: _Paper, high: str, low: str) -> Iterator[BaseClaim]:
    """Each kind that is about two experiments."""
    pair: Fields = {"of": [high], "minus": [low]}
    claim, value, apart = paper.claim, paper.value, paper.apart
    yield claim("difference", "difference", **pair, reported=apart, runs=RUNS)
    best: Fields = {"which": "highest", "runs": RUNS}
    yield claim("of the best", "extreme_difference", **pair, **best, reported=apart)
    yield claim("average", "mean_over", over=[high, low], reported=value + apart / 2, runs=RUNS)
    if abs(value) > 2 * FAULT * paper.tolerance:  # a ratio of values near zero means nothing
        near: Json = {"value": paper.tolerance / abs(value), "reason": "that of the values"}
        reported = 1 + apart / value
        sets: Fields = {"of": [high], "to": [low], "runs": RUNS, "tolerance": near}
        yield claim("ratio", "ratio", **sets, reported=reported)
    yield claim("order", "order", below=[low], above=[high], tolerance=None)
    limits: Fields = {"low": value - paper.tolerance, "high": value + 2 * apart, "tolerance": None}
    yield claim("all within", "all_within", of=[high, low], **limits)
    some: Fields = {"exceed": value + apart / 2, "reported": RUNS, "runs": RUNS, "tolerance": None}
    yield claim("sometimes", "sometimes", of=[high], **some)


def kind_cases(subject: Subject) -> Iterator[PlantedCase]:
    """Yield the cases: two sound ones, and a fault for each kind."""
    paper = _paper(subject)
    if paper is None:
        return
    alone = list(_alone(paper))
    claims = [claim for claim, _, _ in alone]
    name = "claims of many kinds"
    yield PlantedCase(name, partial(_stored, claims=claims), false_alarm, is_fault=False)
    for claim, by, count in alone:
        planted = partial(_stored, claims=[claim], by=by * paper.tolerance, count=count)
        yield PlantedCase(f"runs moved: {claim.kind}, {claim.name}", planted, rejected)
    high, low = (_beside(subject, name) for name in ("high", "low"))
    registry = {**subject.registry, **{each.name: each for each in (high[0], low[0])}}
    pair = {"high": high[1], "low": low[1]}
    of_pair = list(_between(paper, *(each.id for each in pair.values())))
    together = partial(_stored_pair, pair=pair, paper=paper)
    yield PlantedCase(
        "claims between experiments",
        partial(together, claims=of_pair),
        false_alarm,
        is_fault=False,
        registry=registry,
    )
    for one in of_pair:
        yield PlantedCase(
            f"experiments in another order: {one.kind}",
            partial(together, claims=[one], by=-FAULT * paper.tolerance),
            rejected,
            registry=registry,
        )


def _paper(subject: Subject) -> _Paper | None:
    """What the paper reports of the first final estimate with a tolerance; None without one."""
    tolerances = margins(subject.experiment)
    for claim in subject.experiment.manifest.claims:
        value = claim.values.get(None)
        if value is not None and claim.metric in tolerances and claim.series == claim.metric:
            drawn = [draw(subject.experiment, PAPER_DRAW + run) for run in range(RUNS)]
            runs = tuple(run.finals[claim.metric] for run in drawn)
            return _Paper(claim.metric, value, tolerances[claim.metric], runs)
    return None


def _beside(subject: Subject, name: str) -> tuple[PlantedWorkload, Experiment]:
    """The experiment under another name, with trials of its own."""
    workload = PlantedWorkload(subject.workload, name, PlantedFault("nothing"))
    made, faults = change(
        subject.experiment,
        {("workload", "name"): workload.name},
        {**subject.registry, workload.name: workload},
        id=f"{subject.experiment.id}[{name}]",
        varied=(),
    )
    if made is None:
        raise ValueError(f"{subject.experiment.id}: {faults}")
    return workload, made


def _claiming(experiment: Experiment, claims: Sequence[BaseClaim]) -> Experiment:
    manifest = experiment.manifest.model_copy(update={"claims": tuple(claims)})
    return experiment.model_copy(update={"manifest": manifest})


def _stored(
    subject: Subject,
    store: Store,
    *,
    claims: Sequence[BaseClaim],
    by: float = 0.0,
    count: int | None = None,
) -> Sequence[Experiment]:
    """Write sound runs, of which the first `count` are moved."""
    asked = _claiming(subject.experiment, claims)
    moved = {claim.metric: by for claim in claims}
    runs = subject.sound_runs()
    for seed in subject.seeds[:count]:
        runs[seed] = runs[seed].moved(moved)
    _write(subject, store, asked, runs)
    return (asked,)


def _stored_pair(
    subject: Subject,
    store: Store,
    *,
    pair: Mapping[str, Experiment],
    paper: _Paper,
    claims: Sequence[BaseClaim],
    by: float = 0.0,
) -> Sequence[Experiment]:
    """Write the runs of `high`, moved, and those of `low`; the claims between them come last."""
    lows = {seed: draw(subject.experiment, LOW_DRAW + seed) for seed in subject.seeds}
    up = {paper.metric: paper.apart + by}
    highs = {seed: run.moved(up) for seed, run in subject.sound_runs().items()}
    members = []
    for name, runs, theirs in (("high", highs, paper.higher), ("low", lows, paper.runs)):
        own = paper.claim("runs", "sample", reported={"values": list(theirs)})
        members.append(_claiming(pair[name], [own]))
        _write(subject, store, members[-1], runs)
    between = _claiming(subject.experiment, claims)
    return *members, between.model_copy(update={"compares": "self-test"})


def _write(
    subject: Subject, store: Store, experiment: Experiment, runs: Mapping[int, DrawnRun]
) -> None:
    specs = {
        seed: replace(spec, workload=experiment.manifest.workload.name)
        for seed, spec in subject.specs().items()
    }
    sent = [(specs[seed], messages(run, specs[seed])) for seed, run in runs.items()]
    write_records(store, experiment, sent)
