"""How often verdicts cry wolf, and how often they see a wolf: simulated, end to end.

`python -m tests.verdict.simulate [TRIALS]` prints the table of false alarms and power. An
experiment has the claims, rows and tolerances of image-pair-4 and seeds that spread as its do. The
paper is one more run of the same kind, printed to four decimals; for power, moved away.
"""

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from harness.manifest import Experiment, Registered
from harness.record import StoredTrial
from harness.stats import Array
from harness.verdict import Case, Outcome, TrialOf, judge
from tests.verdict.builders import curve, experiment, trial, value

SEEDS = (3, 5, 10, 20)

LISTING = np.array(
    [0.397, 1.079, 1.310, 1.502, 1.565, 1.616, 1.672, 1.622, 1.712, 1.744,  # epochs 1 to 10
     1.876, 1.918, 1.927, 1.922]  # epochs 20 to 50, here 11 to 14
)  # fmt: skip
TEST = 2.02
SPREAD = np.array([0.08, 0.06, 0.05, 0.04, 0.04, *[0.03] * 5, *[0.02] * 4])
TEST_SPREAD = 0.06
EARLY, MIDDLE, LATE = range(1, 6), range(6, 11), range(11, 15)

Draw = Callable[[np.random.Generator, tuple[int, ...]], Array]
KINDS: dict[str, Draw] = {
    "normal": lambda rng, shape: rng.normal(size=shape),
    "skewed": lambda rng, shape: (rng.gamma(2.0, size=shape) - 2) / np.sqrt(2),
    "exponential": lambda rng, shape: rng.exponential(size=shape) - 1,
    "heavy-tailed": lambda rng, shape: rng.standard_t(4, size=shape) / np.sqrt(2),
}
"""Standardised: mean 0, standard deviation 1."""


@dataclass(frozen=True)
class Runs:
    """Curves of shape (runs, epochs) and test estimates of shape (runs,)."""

    curves: Array
    tests: Array


def runs(rng: np.random.Generator, kind: str, count: int) -> Runs:
    """Runs whose rows move half together, half on their own."""
    draw = KINDS[kind]
    shape = (count, len(LISTING))
    noise = np.sqrt(0.5) * (draw(rng, (count, 1)) + draw(rng, shape))
    return Runs(LISTING + SPREAD * noise, TEST + TEST_SPREAD * draw(rng, (count,)))


def reporting(curve_: Array, test: float) -> Experiment:
    """The experiment whose paper printed this run."""
    printed = {epoch: round(float(at), 4) for epoch, at in enumerate(curve_, start=1)}
    claims = (
        curve({at: printed[at] for at in EARLY}, 0.30, name="early rows"),
        curve({at: printed[at] for at in MIDDLE}, 0.20, name="middle rows"),
        value({at: printed[at] for at in LATE}, 0.06, name="late rows"),
        value(round(test, 4), 0.20, name="test estimate"),
    )
    rows = {"early rows": (2, 5), "middle rows": (6, 10), "late rows": (11, 14)}
    return experiment(
        *(claim.model_copy(update={"decimals": 4} | _registered(rows, claim.name))
          for claim in claims),
        epochs=len(LISTING),
    )  # fmt: skip


def _registered(rows: dict[str, tuple[int, ...]], name: str) -> dict[str, object]:
    return {"registered": Registered(rows=rows[name], reason="r")} if name in rows else {}


def verdicts(
    kind: str, seeds: int, trials: int, *, moved: Array | None = None, seed: int = 0
) -> Iterator[Outcome]:
    """The experiment's verdict over and over: of papers that are a run, moved by so many bits.

    Args:
        kind: how runs spread.
        seeds: how many there are.
        trials: how often.
        moved: by how much the printed curve is off, shape (epochs,).
        seed: of all.
    """
    rng = np.random.default_rng([seed, seeds, list(KINDS).index(kind)])
    for _ in range(trials):
        made = runs(rng, kind, seeds + 1)
        stored = {number: _trial(made, number) for number in range(seeds)}
        paper = made.curves[-1] + (0.0 if moved is None else moved)
        case = Case(reporting(paper, made.tests[-1]), tuple(stored), len(LISTING))
        (found,) = judge([case], _reader(stored))
        yield found.verdict


def _reader(stored: dict[int, StoredTrial]) -> TrialOf:
    return lambda _, number: stored[number]


def _trial(made: Runs, number: int) -> StoredTrial:
    return trial(made.curves[number].tolist(), test=float(made.tests[number]))


def false_alarms(counted: Counter[Outcome]) -> float:
    """The share of verdicts that blame chance on the paper."""
    fine = counted[Outcome.REPRODUCED] + counted[Outcome.INCONCLUSIVE]
    return 1 - fine / counted.total()


def late_rows_off(by: float) -> Array:
    """The late rows moved by so many bits."""
    return np.where(np.arange(1, len(LISTING) + 1) >= LATE[0], by, 0.0)


FAULTS: dict[str, Array] = {
    "late rows by tolerance + 3 spreads": late_rows_off(0.06 + 3 * 0.02),
    "late rows by twice the tolerance + 3 spreads": late_rows_off(0.12 + 3 * 0.02),
    "late rows by four times the tolerance": late_rows_off(0.24),
}


def table(trials: int) -> Iterator[str]:
    """Markdown, a line at a time."""
    yield "| Spread | Seeds | False alarms | REPRODUCED | " + " | ".join(FAULTS) + " |"
    yield "|---" * (4 + len(FAULTS)) + "|"
    for kind in KINDS:
        for seeds in SEEDS:
            drawn = Counter(verdicts(kind, seeds, trials))
            cells = [f"{false_alarms(drawn):.1%}", f"{drawn[Outcome.REPRODUCED] / trials:.0%}"]
            for moved in FAULTS.values():
                found = Counter(verdicts(kind, seeds, trials // 4, moved=moved))
                seen = found[Outcome.NOT_REPRODUCED] / found.total()
                passed = (
                    found[Outcome.REPRODUCED] + found[Outcome.IMMATERIAL_DIFFERENCE]
                ) / found.total()
                cells.append(f"{seen:.0%} ({passed:.0%})")
            yield f"| {kind} | {seeds} | " + " | ".join(cells) + " |"


if __name__ == "__main__":
    for line in table(int(sys.argv[1]) if len(sys.argv) > 1 else 1000):
        print(line, flush=True)  # noqa: T201 - what it is for
