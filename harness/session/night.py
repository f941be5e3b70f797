"""Finish a night: judge it, compare it with earlier nights, and keep it."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness import nightly
from harness.compare import Side, compare
from harness.errors import Exit, HarnessError
from harness.nightly import Book, Course, Entry, NightRecord, Opened, Quarantine, State
from harness.nightly.history import FORMAT, Choose
from harness.output import write
from harness.report import arrow_tables
from harness.report.documents import comparisons_document, verdicts_document
from harness.report.junit import junit
from harness.session.reports import Reports
from harness.session.session import Session
from harness.verdict import ExperimentVerdict, exit_code

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class NightRules:
    """How a night is judged and kept, as the configuration says."""

    name: str
    keep: int
    consistent_after: int
    quarantines: Sequence[Quarantine] = ()


@dataclass(frozen=True)
class Trouble:
    """What kept a night's trials from running, or the night from being judged."""

    reason: str = ""
    """Empty if nothing did."""
    code: Exit = Exit.AS_EXPECTED
    """The exit code that it alone would have."""

    @classmethod
    def of(cls, error: Exception) -> "Trouble":
        """Describe an exception, and log it: with its traceback if it is a bug of ours."""
        if isinstance(error, HarnessError):
            _log.warning("%s", error)
            return cls(str(error), error.exit_code)
        _log.error("a bug of the harness", exc_info=error)
        return cls(f"a bug of the harness: {type(error).__name__}: {error}", Exit.BUG)


def finish_night(
    session: Session,
    book: Book,
    night: Opened,
    rules: NightRules,
    *,
    trouble: Trouble | None = None,
) -> nightly.Summary:
    """Judge a night by what its workspace holds, and write down what was found.

    Whatever fails here, the night has a summary: one that says why the night was not judged.

    Args:
        session: what was asked for, and the night's own workspace.
        book: the nights before.
        night: as `book` began it.
        rules: how the night is judged and kept.
        trouble: what kept trials from running.
    """
    trouble = trouble or Trouble()
    try:
        summary = _judged(session, book, night, rules, trouble)
    except Exception as error:  # noqa: BLE001 - it is logged, and is the night's outcome
        return _not_judged(book, night, rules, trouble, Trouble.of(error))
    try:
        book.prune(rules.keep)
    except HarnessError as error:  # the next night prunes again
        _log.warning("%s", error)
    return summary


def _not_judged(
    book: Book, night: Opened, rules: NightRules, before: Trouble, now: Trouble
) -> nightly.Summary:
    """Summarise a night of which nothing is known but what failed."""
    code = nightly.most_severe({before.code, now.code})
    reason = "; ".join(filter(None, (before.reason, now.reason)))
    summary = nightly.Summary(
        name=rules.name,
        folder=night.folder.as_posix(),
        record=NightRecord(FORMAT, night.name, code, reason, {}),
        verdicts=(),
        last={},
        first={},
        quarantines=(),
        today=night.began.date(),
    )
    try:
        write(night.folder / "summary.md", nightly.markdown(summary))
        book.close(night, summary.record)
    except HarnessError as error:  # a full disk: what is printed and sent must do
        _log.warning("%s", error)
    return summary


def _judged(
    session: Session, book: Book, night: Opened, rules: NightRules, trouble: Trouble
) -> nightly.Summary:
    before = book.nights()
    today = night.began.date()
    excused = {item.experiment: item for item in rules.quarantines if item.active(today)}
    verdicts = session.verdicts()
    entries = {
        verdict.id: _entry(verdict, session, before, rules, quarantined=verdict.id in excused)
        for verdict in verdicts
    }
    code = nightly.night_code(verdicts, excused=excused, trouble=trouble.code)
    record = NightRecord(FORMAT, night.name, code, trouble.reason, entries)
    summary = nightly.Summary(
        name=rules.name,
        folder=night.folder.as_posix(),
        record=record,
        verdicts=verdicts,
        last=_compared(session, book, before, nightly.last_good),
        first=_compared(session, book, before, nightly.first_good),
        quarantines=rules.quarantines,
        today=today,
    )
    excuses = {name: _excuse(item) for name, item in excused.items()}
    _write(night.folder, session, summary, excuses)
    book.close(night, record)
    return summary


def _entry(
    verdict: ExperimentVerdict,
    session: Session,
    before: Sequence[NightRecord],
    rules: NightRules,
    *,
    quarantined: bool,
) -> Entry:
    earlier = (night.experiments.get(verdict.id) for night in reversed(before))
    course = next((entry.course for entry in earlier if entry), Course(State.UNKNOWN))
    code = exit_code([verdict])
    now = nightly.advance(
        course, code, quarantined=quarantined, consistent_after=rules.consistent_after
    )
    (experiment,) = (each for each in session.experiments if each.id == verdict.id)
    return Entry(
        verdict=verdict.verdict,
        code=code,
        state=now.state,
        failing=now.failing,
        manifest=experiment.digest,
        trials=session.trials[verdict.id],
    )


def _compared(
    session: Session, book: Book, before: Sequence[NightRecord], choose: Choose
) -> dict[str, nightly.Since]:
    """Compare each experiment with its own baseline night; all tests are one family."""
    baseline = nightly.baselines(before, choose)
    there = {each.id: each for each in session.experiments if each.id in baseline}
    found = compare(there.values(), nightly.side(book, baseline), _tonight(session))
    return {
        each.id: nightly.Since(
            night=baseline[each.id].night,
            found=each,
            same_manifest=baseline[each.id].experiments[each.id].manifest == there[each.id].digest,
        )
        for each in found
    }


def _tonight(session: Session) -> Side:
    return Side(dict(session.stored_trials()))


def _excuse(item: Quarantine) -> str:
    return f"quarantined until {item.expires} by {item.owner}: {item.reason}"


def _write(
    folder: Path, session: Session, summary: nightly.Summary, excuses: Mapping[str, str]
) -> None:
    """Write every file about the night into its folder."""
    verdicts = summary.verdicts
    write(folder / "verdicts.json", verdicts_document(verdicts).text())
    last = [since.found for since in summary.last.values()]
    write(folder / "comparison.json", comparisons_document(last).text())
    write(folder / "environment.json", nightly.environment().text())
    xml = junit(verdicts, excuses=excuses, trouble=summary.record.trouble)
    write(folder / "junit.xml", xml)
    stored = ((name, trial) for (name, _), trial in _tonight(session).trials.items())
    arrow_tables.write(folder / "records.parquet", stored)
    Reports.write(verdicts, folder / "report")
    write(folder / "summary.md", nightly.markdown(summary))
