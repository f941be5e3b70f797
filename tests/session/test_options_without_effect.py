"""Options that change nothing for an experiment are never ignored without a word."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness import workloads
from harness.cli import app
from harness.manifest import load
from harness.options import RunOptions
from harness.plan import Request, Selection
from harness.session import Session, run_session
from harness.session.runner import SilentObserver
from harness.store import Store
from tests.commands import write

TOLD = "--epochs 99 has no effect on script: its manifest has 3 epochs"


@pytest.mark.parametrize("command", ["plan", "check", "report", "export", "trial"])
def test_each_command_says_that_a_manifest_has_fewer_epochs(command: str, tmp_path: Path) -> None:
    path = write(tmp_path)
    more = ["--workspace", str(tmp_path / "results")]
    if command == "trial":
        more = ["--seed", "0", "--allow-commands"]
    if command in ("report", "export"):
        more += ["--out", str(tmp_path / ("page" if command == "report" else "rows.csv"))]
    for epochs, times in (("99", 1), ("3", 0), ("2", 0)):
        done = CliRunner().invoke(app, [command, str(path), "--epochs", epochs, *more])
        assert done.exit_code in (0, 4), done.output
        assert " ".join(done.output.split()).count(TOLD) == times


class Notes(SilentObserver):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        self.lines.append(text)


class StartedError(Exception):
    """Instead of starting Ray."""


def test_a_run_says_before_it_starts_which_options_have_no_effect(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_self: object) -> None:
        raise StartedError

    monkeypatch.setattr("harness.session.runner.Trials._start", refuse)
    experiments = load([write(tmp_path)], workloads.registry())
    store = Store(tmp_path / "results")
    session = Session(experiments, Selection(seeds=(0,), epochs=99), store)
    for pack, told in (("3", True), ("1", False), ("auto", False)):
        notes = Notes()
        options = RunOptions(pack=pack, tracking_uri="none", allow_commands=True)
        with pytest.raises(StartedError):
            run_session(session, options, notes)
        assert TOLD in notes.lines
        packs = "--pack 3 has no effect on script: the workload cannot run several seeds as one"
        assert any(line.startswith(packs) for line in notes.lines) == told


def test_a_recorded_request_is_told_by_what_it_changes(tmp_path: Path) -> None:
    experiments = load([write(tmp_path)], workloads.registry())
    requests = {"script": Request(seeds=(0,), epochs=99)}
    session = Session(experiments, Selection(requests=requests), Store(tmp_path))
    (line,) = session.described_requests()
    assert line.startswith("script: judging seed 0, as the last run asked")
