"""How often claims of the newer kinds raise a false alarm, and what they notice: simulated.

`python -m tests.verdict.simulate_kinds [TIMES]` writes the tables of `docs/claims.md`. Ten runs
stand for the paper and ten for the seeds. They are drawn without replacement from published trials
(all of a shape's baselines or ablations, pooled: see `POOLS`), or from a distribution. For a false
alarm both come from the same; for power, ours are moved.

A claim between experiments compares two, `high` and `low`, each with ten runs of the paper's and
ten of ours: a shape's baselines and its ablations, or two draws from one distribution.
"""

import csv
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from math import sqrt
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from harness.manifest import (
    AllWithinClaim,
    AtLeastClaim,
    Claim,
    DifferenceClaim,
    ExtremeClaim,
    ExtremeDifferenceClaim,
    MeanOverClaim,
    NeverClaim,
    OrderClaim,
    RatioClaim,
    SampleClaim,
    SometimesClaim,
)
from harness.stats import Array
from harness.verdict import Outcome
from harness.verdict.consistency import OwnTest
from tests.conftest import REPOSITORY
from tests.verdict.builders import TEST, experiment, near, trial, verdict_on, verdicts_on

DOCS = REPOSITORY / "docs" / "claims.md"
TRIALS = REPOSITORY / "experiments" / "psa.csv"
RUNS = 10

BASELINES, ABLATIONS = ("none", "decay", "dropout"), ("full", "hidden", "output")
PUBLISHED = ("1*64", "1*16", "8*8", "18*18", "20*20")
POOLS = {
    f"{shape}, {name}": (shape, modes)
    for shape in PUBLISHED
    for name, modes in (("baselines", BASELINES), ("ablations", ABLATIONS))
}
"""Thirty published trials each: well-behaved ones, two peaks (8*8, 18*18), and ties (20*20)."""

SHAPES: dict[str, Callable[[np.random.Generator, int], Array]] = {
    "normal": lambda rng, count: rng.normal(size=count),
    "exponential": lambda rng, count: rng.exponential(size=count) - 1,
    "one in ten far off": lambda rng, count: np.where(
        rng.random(count) < 0.1, 60.0, rng.normal(size=count)
    ),
    "two equal peaks": lambda rng, count: 20.0 * rng.integers(0, 2, count) + rng.normal(size=count),
    "all equal": lambda rng, count: np.zeros(count),
}


@cache
def _table() -> list[dict[str, str]]:
    with TRIALS.open(encoding="utf-8") as file:
        return list(csv.DictReader(line for line in file if not line.startswith("#")))


@cache
def pool(name: str) -> Array:
    """The published trials of a pool."""
    shape, modes = POOLS[name]
    rows = [row for row in _table() if row["shape"] == shape]
    return np.array([float(row[mode]) for row in rows for mode in modes])


def draw(rng: np.random.Generator, name: str) -> tuple[Array, Array]:
    """The paper's runs and ours, to two decimals."""
    if name in POOLS:
        both = rng.choice(pool(name), 2 * RUNS, replace=False)
    else:
        both = np.round(SHAPES[name](rng, 2 * RUNS), 2)
    return both[:RUNS], both[RUNS:]


def centre(name: str) -> float:
    """The true mean."""
    if name in POOLS:
        return float(pool(name).mean())
    return {"one in ten far off": 6.0, "two equal peaks": 10.0}.get(name, 0.0)


def sd(name: str) -> float:
    """The SD of single runs, which sets the tolerances; 1 if all are equal."""
    if name in POOLS:
        return float(pool(name).std())
    return {"one in ten far off": 18.0, "two equal peaks": 10.0}.get(name, 1.0)


def _claim(kind: type[Any], name: str, tolerance: float | None, **fields: Any) -> Claim:
    if tolerance is not None:
        fields["tolerance"] = near(tolerance)
    made: Claim = kind(kind=name, name="claim", **TEST, **fields)
    return made


Reporting = Callable[[Array, str], Claim]


def _summary(theirs: Array) -> dict[str, float]:
    mean, sd_ = round(float(theirs.mean()), 2), round(float(theirs.std()), 2)
    return {"mean": mean, "sd": sd_, "runs": RUNS, "ddof": 0}


KINDS: dict[str, Reporting] = {
    "sample, all values": lambda theirs, name: _claim(
        SampleClaim, "sample", sd(name), reported={"values": theirs.tolist()}, decimals=2
    ),
    "sample, mean and SD": lambda theirs, name: _claim(
        SampleClaim,
        "sample",
        sd(name),
        reported=_summary(theirs),
        decimals=2,
    ),
    "at_least (the true mean)": lambda theirs, name: _claim(
        AtLeastClaim, "at_least", sd(name) / 2, reported=centre(name)
    ),
    "extreme (best of ten)": lambda theirs, name: _claim(
        ExtremeClaim,
        "extreme",
        sd(name) / 2,
        reported=float(theirs.max()),
        which="highest",
        runs=RUNS,
        decimals=2,
    ),
    "never (above the best of ten)": lambda theirs, name: _claim(
        NeverClaim, "never", None, reported=float(theirs.max()), runs=RUNS, decimals=2
    ),
}

FAULTS = {"2 SDs lower": -2.0, "2 SDs higher": 2.0, "4 SDs higher": 4.0}


def verdicts(
    kind: str, name: str, times: int, *, moved: float = 0.0, seed: int = 0
) -> Counter[Outcome]:
    """The verdicts on many papers; ours are moved by so many SDs."""
    rng = np.random.default_rng([seed, list(KINDS).index(kind), len(name), ord(name[-1])])
    found: Counter[Outcome] = Counter()
    for _ in range(times):
        theirs, ours = draw(rng, name)
        claim = KINDS[kind](theirs, name)
        values = np.round(ours + moved * sd(name), 2)
        seeds = {number: trial([0.0], test=float(at)) for number, at in enumerate(values)}
        found[verdict_on(experiment(claim, epochs=1, seeds=range(RUNS)), seeds).verdict] += 1
    return found


HIGH, LOW = "high", "low"
Cells = Mapping[str, Array]
"""Runs of the two experiments that a claim compares."""


def draw_cells(rng: np.random.Generator, name: str) -> tuple[Cells, Cells]:
    """The paper's runs and ours of two experiments; distributions lie far above zero."""
    if name in PUBLISHED:
        pools = {HIGH: f"{name}, baselines", LOW: f"{name}, ablations"}
        drawn = {cell: draw(rng, pool) for cell, pool in pools.items()}
    else:
        drawn = {
            cell: tuple(np.round(50 + runs, 2) for runs in draw(rng, name)) for cell in (HIGH, LOW)
        }
    return {cell: runs[0] for cell, runs in drawn.items()}, {
        cell: runs[1] for cell, runs in drawn.items()
    }


def draw_equal(rng: np.random.Generator, name: str) -> tuple[Cells, Cells]:
    """The same, with both experiments alike; the paper's runs do not matter."""
    high, low = draw(rng, f"{name}, ablations" if name in PUBLISHED else name)
    return {HIGH: high, LOW: low}, {HIGH: high, LOW: low}


def sd_between(name: str) -> float:
    """The SD of single runs in a typical experiment of the two."""
    if name not in PUBLISHED:
        return sd(name)
    return sqrt((sd(f"{name}, baselines") ** 2 + sd(f"{name}, ablations") ** 2) / 2)


Comparing = Callable[[Cells, str], Claim]
FIFTH = RUNS - 4
"""The fourth best of the paper's runs, in ascending order."""

BETWEEN: dict[str, Comparing] = {
    "difference": lambda theirs, name: _claim(
        DifferenceClaim,
        "difference",
        sd_between(name),
        of=(HIGH,),
        minus=(LOW,),
        reported=round(float(theirs[HIGH].mean() - theirs[LOW].mean()), 2),
        runs=RUNS,
        decimals=2,
    ),
    "ratio": lambda theirs, name: _claim(
        RatioClaim,
        "ratio",
        sd_between(name) / float(theirs[LOW].mean()),
        of=(HIGH,),
        to=(LOW,),
        reported=round(float(theirs[HIGH].mean() / theirs[LOW].mean()), 4),
        runs=RUNS,
        decimals=4,
    ),
    "mean_over": lambda theirs, name: _claim(
        MeanOverClaim,
        "mean_over",
        sd_between(name),
        over=(HIGH, LOW),
        reported=round(float((theirs[HIGH].mean() + theirs[LOW].mean()) / 2), 2),
        runs=RUNS,
        decimals=2,
    ),
    "extreme_difference (best of ten)": lambda theirs, name: _claim(
        ExtremeDifferenceClaim,
        "extreme_difference",
        sd_between(name) / 2,
        of=(HIGH,),
        minus=(LOW,),
        which="highest",
        runs=RUNS,
        reported=round(float(theirs[HIGH].max() - theirs[LOW].max()), 2),
        decimals=2,
    ),
    "order (of two that are alike)": lambda theirs, name: _claim(
        OrderClaim, "order", None, below=(LOW,), above=(HIGH,)
    ),
    "all_within (up to the best of twenty)": lambda theirs, name: _claim(
        AllWithinClaim,
        "all_within",
        None,
        of=(HIGH, LOW),
        high=float(max(theirs[HIGH].max(), theirs[LOW].max())),
        runs=2 * RUNS,
        decimals=2,
    ),
    "sometimes (four of ten)": lambda theirs, name: _claim(
        SometimesClaim,
        "sometimes",
        None,
        of=(HIGH,),
        exceed=float(np.sort(theirs[HIGH])[FIFTH]) - 0.005,
        reported=int((theirs[HIGH] > np.sort(theirs[HIGH])[FIFTH] - 0.005).sum()),
        runs=RUNS,
    ),
}


def verdicts_between(
    kind: str, name: str, times: int, *, moved: float = 0.0, seed: int = 0
) -> Counter[Outcome]:
    """The verdicts on many papers that compare two experiments; ours of `high` are moved."""
    rng = np.random.default_rng([seed, 100 + list(BETWEEN).index(kind), len(name), ord(name[-1])])
    found: Counter[Outcome] = Counter()
    for _ in range(times):
        theirs, ours = (draw_equal if kind.startswith("order") else draw_cells)(rng, name)
        cells = []
        for cell, runs in ours.items():
            known = {"values": theirs[cell].tolist()}
            reported = known if kind.startswith("extreme") else _summary(theirs[cell])
            printed = _claim(SampleClaim, "sample", ANY, reported=reported, decimals=2)
            values = np.round(runs + (moved * sd_between(name) if cell == HIGH else 0.0), 2)
            trials = {number: trial([0.0], test=float(at)) for number, at in enumerate(values)}
            cells.append((experiment(printed, id=cell, epochs=1, seeds=range(RUNS)), trials))
        between = experiment(BETWEEN[kind](theirs, name), id="b", epochs=1, seeds=range(RUNS))
        between = between.model_copy(update={"compares": "a grid"})
        # Nobody asks for the verdicts on the experiments themselves.
        with patch(
            "harness.verdict.kinds.sample_consistency", lambda _, row: OwnTest(row, 1, 1, "")
        ):
            judged = verdicts_on([*cells, (between, dict.fromkeys(range(RUNS)))])
        found[judged[-1].verdict] += 1
    return found


ANY = 1e4
"""The tolerance of the experiments' own claims, which play no part."""


def false_alarms(counted: Counter[Outcome]) -> float:
    """The share of verdicts that blame chance on the paper."""
    return 1 - (counted[Outcome.REPRODUCED] + counted[Outcome.INCONCLUSIVE]) / counted.total()


Found = Callable[..., Counter[Outcome]]
TABLES: tuple[tuple[str, Found, Mapping[str, Any], tuple[str, ...]], ...] = (
    ("claim", verdicts, KINDS, (*SHAPES, *POOLS)),
    ("claim between experiments", verdicts_between, BETWEEN, (*SHAPES, *PUBLISHED)),
)


def line(found: Found, kind: str, name: str, times: int) -> str:
    """One row of a table, in Markdown."""
    # How many more seeds would do takes most of the time and changes no outcome.
    with (
        patch("harness.verdict.decision._more", lambda *_: (None, "")),
        patch("harness.verdict.decision._more_for_samples", lambda *_: None),
    ):
        honest = found(kind, name, times)
        cells = [f"{false_alarms(honest):.1%}", f"{honest[Outcome.REPRODUCED] / times:.0%}"]
        for moved in FAULTS.values():
            faulty = found(kind, name, times // 4, moved=moved)
            cells.append(f"{faulty[Outcome.NOT_REPRODUCED] / faulty.total():.0%}")
    return f"| {kind} | {name} | " + " | ".join(cells) + " |"


def tables(times: int) -> Iterator[str]:
    """All tables in Markdown, a line at a time; computed on all processors."""
    error = sqrt(0.05 * 0.95 / times)
    yield (
        f"Each share of false alarms is of {times} papers (standard error of 5 %: {error:.1%}), "
        f"the others of {times // 4}."
    )
    with ProcessPoolExecutor() as pool:
        for title, found, kinds, names in TABLES:
            yield ""
            yield f"| {title} | runs | false alarms | REPRODUCED | " + " | ".join(FAULTS) + " |"
            yield "|---" * (4 + len(FAULTS)) + "|"
            asked = [(found, kind, name, times) for kind in kinds for name in names]
            yield from pool.map(line, *zip(*asked, strict=True))


MARK = "<!-- simulated: python -m tests.verdict.simulate_kinds"


def write(file: Path, times: int) -> None:
    """Put new tables in place of the page's."""
    head, _, _ = file.read_text(encoding="utf-8").partition(MARK)
    lines = [f"{head}{MARK} {times} -->", *tables(times)]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write(DOCS, int(sys.argv[1]) if len(sys.argv) > 1 else 400)
