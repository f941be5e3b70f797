"""Whatever fails in a night, the night has a summary, a record and an exit code."""

import logging
from pathlib import Path

import pytest

from harness.cli.nightly import _trouble
from harness.errors import Exit, ResourceError, StoppedError, StoreError, UsageError
from harness.nightly import night_markdown, read_record
from harness.session import night as module
from harness.session.night import Trouble
from tests.nightly.simulation import Outcome, Simulation


def _raises(error: Exception) -> Trouble:
    def run() -> None:
        raise error

    return _trouble(run)


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (ResourceError("no Ray"), Exit.INCOMPLETE, "undecided: incomplete"),
        (UsageError("--address x"), Exit.USAGE, "could not run"),
        (Exception("The current node timed out"), Exit.BUG, "a bug of the harness: Exception"),
        (ZeroDivisionError("ours"), Exit.BUG, "a bug of the harness: ZeroDivisionError"),
    ],
)
def test_a_night_whose_trials_could_not_run_is_told_with_the_code_of_the_contract(
    error: Exception, code: Exit, words: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    nights = Simulation(tmp_path, ["walk"])
    summary = nights.night(1, trouble=_raises(error))
    assert summary.record.code is code
    assert words in night_markdown(summary)
    assert str(error) in night_markdown(summary)
    record = read_record(nights.folder(summary))
    assert record is not None
    assert record.code is code
    with_traceback = [entry for entry in caplog.records if entry.exc_info]
    assert bool(with_traceback) is (code is Exit.BUG)


def test_a_signal_ends_the_night_itself_and_promises_no_resumption() -> None:
    """The next night begins in a folder of its own."""
    with pytest.raises(StoppedError, match="begins a new one") as stopped:
        _raises(StoppedError(Exit.TERMINATED))
    assert stopped.value.exit_code is Exit.TERMINATED


@pytest.mark.parametrize(
    ("error", "code"),
    [(StoreError("night.json: damaged"), Exit.INCOMPLETE), (KeyError("ours"), Exit.BUG)],
)
def test_a_night_that_cannot_be_judged_says_so_and_the_next_one_goes_on(
    error: Exception, code: Exit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_words: object, **_options: object) -> None:
        raise error

    nights = Simulation(tmp_path, ["walk"])
    good = nights.night(1)
    with monkeypatch.context() as patch:
        patch.setattr(module, "_write", fail)
        lost = nights.night(2)
    assert lost.record.code is code
    page = (nights.folder(lost) / "summary.md").read_text(encoding="utf-8")
    assert page == night_markdown(lost)
    assert str(error).strip("'") in page
    after = nights.night(3, {"walk": Outcome()})
    assert after.record.code is Exit.AS_EXPECTED
    assert after.last["walk"].night == good.record.night


def test_what_cannot_be_written_is_still_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    nights = Simulation(tmp_path, ["walk"])

    def full(*_words: object, **_options: object) -> None:
        raise StoreError("no space left")

    monkeypatch.setattr(module, "_write", full)
    monkeypatch.setattr(module, "write_output", full)
    with caplog.at_level(logging.WARNING):
        summary = nights.night(1)
    assert summary.record.code is Exit.INCOMPLETE
    assert "no space left" in night_markdown(summary)
