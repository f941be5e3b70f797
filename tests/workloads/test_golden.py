"""Trajectories that were recorded once: results change only on purpose, and then by a new revision.

Record them anew with `python -m tests.workloads.test_golden`.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.workloads.tiny import WORKLOADS, each_workload, epochs, start

RECORDED = Path(__file__).with_name("golden.json")
LEARNING_RATE = 1e-4
"""Small: training is chaotic, and at the tests' usual rate the rounding of another processor's
kernels grows to 0.3 bits within 20 steps. At this rate it stays below the tolerances."""

TOLERANCE_RELATIVE = 0.02
TOLERANCE_BITS = 1e-4


def trajectory(name: str) -> list[dict[str, float]]:
    run = start(name, learning_rate=LEARNING_RATE)
    return [dict(metrics) for metrics in (*epochs(run, 2), run.final())]


@each_workload
def test_results_are_those_recorded_for_this_revision(name: str) -> None:
    golden: dict[str, Any] = json.loads(RECORDED.read_text())[name]
    revision = WORKLOADS[name].revision
    assert golden["revision"] == revision, f"record {name} anew: its revision is now {revision}"
    for at, (now, then) in enumerate(zip(trajectory(name), golden["metrics"], strict=True), 1):
        assert now == pytest.approx(then, rel=TOLERANCE_RELATIVE, abs=TOLERANCE_BITS), (
            f"{name} gives other results at step {at} of its trajectory. If that is on purpose, "
            f"raise its revision above {revision}, so that nothing stored under the old one is "
            f"reused, and record it anew: python -m {__spec__.name}"
        )


def record() -> None:
    golden = {
        name: {"revision": workload.revision, "metrics": trajectory(name)}
        for name, workload in WORKLOADS.items()
    }
    RECORDED.write_text(json.dumps(golden, indent=2) + "\n")


if __name__ == "__main__":
    record()
