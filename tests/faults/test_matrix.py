"""Every fault of the wild workload has the outcome and the exit code that its table states."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import engine
from tests.faults import matrix
from tests.faults.ledger import enter
from tests.faults.wild import FAULTS, Outcome

QUICK = (
    *("keyboard-interrupt", "generator-exit", "text-that-exits", "save-text", "text"),
    *("environment-with-number-as-version", "environment-with-surrogate", "cannot-be-unpickled"),
    *("disk-full", "vanishes", "directory-removed", "variables-deleted", "thread-left"),
)
"""One of each kind; `python ci/fault_matrix.py` and `make chaos` run all."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    with engine.cluster(cpus=2):
        yield


def _wrong(folder: Path, faults: list[str]) -> list[str]:
    rows = matrix.run(folder, faults)
    assert [row.fault for row in rows] == faults
    enter(matrix.entry(rows))
    return [str(row) for row in rows if not row.as_expected]


@pytest.mark.usefixtures("cluster")
def test_a_fault_of_each_kind_has_its_outcome_and_its_exit_code(tmp_path: Path) -> None:
    assert _wrong(tmp_path, list(QUICK)) == []


@pytest.mark.chaos
@pytest.mark.usefixtures("cluster")
def test_every_fault_has_its_outcome_and_its_exit_code(tmp_path: Path) -> None:
    assert _wrong(tmp_path, list(FAULTS)) == []


def test_the_table_has_faults_of_every_outcome() -> None:
    assert len(FAULTS) > 80
    assert {fault.outcome for fault in FAULTS.values()} == set(Outcome)
