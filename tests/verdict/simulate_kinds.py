"""How often claims of the newer kinds raise a false alarm, and what they notice: simulated.

`python -m tests.verdict.simulate_kinds [TIMES]` writes the table of `docs/claims.md`. Ten runs
stand for the paper and ten for the seeds. They are drawn without replacement from published trials
(all of a shape's baselines or ablations, pooled: see `POOLS`), or from a distribution. For a false
alarm both come from the same; for power, ours are moved.
"""

import csv
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from harness.manifest import AtLeastClaim, Claim, ExtremeClaim, NeverClaim, SampleClaim
from harness.stats import Array
from harness.verdict import Outcome
from tests.conftest import REPOSITORY
from tests.verdict.builders import TEST, experiment, near, trial, verdict_on

DOCS = REPOSITORY / "docs" / "claims.md"
TRIALS = REPOSITORY / "experiments" / "psa.csv"
RUNS = 10

BASELINES, ABLATIONS = ("none", "decay", "dropout"), ("full", "hidden", "output")
POOLS = {
    f"{shape}, {name}": (shape, modes)
    for shape in ("1*64", "1*16", "8*8", "18*18", "20*20")
    for name, modes in (("baselines", BASELINES), ("ablations", ABLATIONS))
}
"""Thirty published trials each: well-behaved ones, two humps (8*8, 18*18), and ties (20*20)."""

SHAPES: dict[str, Callable[[np.random.Generator, int], Array]] = {
    "normal": lambda rng, count: rng.normal(size=count),
    "exponential": lambda rng, count: rng.exponential(size=count) - 1,
    "one in ten far off": lambda rng, count: np.where(
        rng.random(count) < 0.1, 60.0, rng.normal(size=count)
    ),
    "two equal humps": lambda rng, count: 20.0 * rng.integers(0, 2, count) + rng.normal(size=count),
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
    return {"one in ten far off": 6.0, "two equal humps": 10.0}.get(name, 0.0)


def sd(name: str) -> float:
    """The SD of single runs, which sets the tolerances; 1 if all are equal."""
    if name in POOLS:
        return float(pool(name).std())
    return {"one in ten far off": 18.0, "two equal humps": 10.0}.get(name, 1.0)


def _claim(kind: type[Any], name: str, tolerance: float | None, **fields: Any) -> Claim:
    if tolerance is not None:
        fields["tolerance"] = near(tolerance)
    made: Claim = kind(kind=name, name="claim", **TEST, **fields)
    return made


Reporting = Callable[[Array, str], Claim]


def _printed_sd(theirs: Array) -> float:
    return round(float(theirs.std()), 2)


KINDS: dict[str, Reporting] = {
    "sample, all values": lambda theirs, name: _claim(
        SampleClaim, "sample", sd(name), reported={"values": theirs.tolist()}, decimals=2
    ),
    "sample, mean and SD": lambda theirs, name: _claim(
        SampleClaim,
        "sample",
        sd(name),
        reported={
            "mean": round(float(theirs.mean()), 2),
            "sd": _printed_sd(theirs),
            "runs": RUNS,
            "ddof": 0,
        },
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


def false_alarms(counted: Counter[Outcome]) -> float:
    """The share of verdicts that blame chance on the paper."""
    return 1 - (counted[Outcome.REPRODUCED] + counted[Outcome.INCONCLUSIVE]) / counted.total()


def table(times: int, names: Sequence[str] = (*SHAPES, *POOLS)) -> Iterator[str]:
    """Markdown, a line at a time."""
    yield "| claim | runs | false alarms | REPRODUCED | " + " | ".join(FAULTS) + " |"
    yield "|---" * (4 + len(FAULTS)) + "|"
    for kind in KINDS:
        for name in names:
            honest = verdicts(kind, name, times)
            cells = [f"{false_alarms(honest):.1%}", f"{honest[Outcome.REPRODUCED] / times:.0%}"]
            for moved in FAULTS.values():
                found = verdicts(kind, name, times // 4, moved=moved)
                cells.append(f"{found[Outcome.NOT_REPRODUCED] / found.total():.0%}")
            yield f"| {kind} | {name} | " + " | ".join(cells) + " |"


MARK = "<!-- simulated: python -m tests.verdict.simulate_kinds 400 -->\n"


def write(file: Path, lines: Sequence[str]) -> None:
    """Put the table in place of the page's."""
    head, _, _ = file.read_text(encoding="utf-8").partition(MARK)
    file.write_text(head + MARK + "\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write(DOCS, list(table(int(sys.argv[1]) if len(sys.argv) > 1 else 400)))
