import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults import ledger
from tests.faults.world import World
from tests.waiting import eventually


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A world, of which nothing may be left alive."""
    made = World(tmp_path)
    yield made
    ended = eventually(lambda: not made.processes())
    shutil.rmtree(made.temp, ignore_errors=True)
    assert ended, made.processes()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if ledger.ENTRIES:
        terminalreporter.section("faults: kept / lost / doubled")
        for line in [*map(str, ledger.ENTRIES), *ledger.totals(ledger.ENTRIES)]:
            terminalreporter.line(line)
