"""Finish a night: judge it, compare it with earlier nights, and record it."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import nightly
from harness.compare import Side, compare_experiments
from harness.errors import Exit, HarnessError
from harness.nightly import (
    History,
    NightEntry,
    NightRecord,
    OpenNight,
    Quarantine,
    Streak,
)
from harness.nightly.history import FORMAT, ChooseBaseline
from harness.nightly.summary import history_page, night_badge
from harness.output import write_output
from harness.report import arrow_tables
from harness.report.documents import comparisons_document, junit, verdicts_document
from harness.report.text import headline_result
from harness.session.reports import Reports
from harness.session.session import Session
from harness.verdict import ExperimentVerdict, exit_code

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class NightRules:
    """How a night is judged, and how many nights are kept; from the configuration."""

    name: str
    keep: int
    consistent_after: int
    quarantines: Sequence[Quarantine] = ()


@dataclass(frozen=True)
class Trouble:
    """An error that kept a night's trials from running, or the night from being judged."""

    reason: str = ""
    """The error message; empty if there was no error."""
    code: Exit = Exit.AS_EXPECTED
    """The exit code of this error alone."""

    @classmethod
    def of(cls, error: Exception) -> "Trouble":
        """Describe an exception and log it, with its traceback if it is our bug."""
        if isinstance(error, HarnessError):
            _log.warning("%s", error)
            return cls(str(error), error.exit_code)
        _log.error("a bug of the harness", exc_info=error)
        return cls(f"a bug of the harness: {type(error).__name__}: {error}", Exit.BUG)


def finish_night(
    session: Session,
    history: History,
    night: OpenNight,
    rules: NightRules,
    *,
    trouble: Trouble | None = None,
) -> nightly.NightSummary:
    """Judge a night by the records in its workspace, and write its files.

    If this fails, the night still has a summary, which says why it was not judged.

    Args:
        session: the night's experiments, selection and workspace.
        history: the earlier nights.
        night: the night, as `history` began it.
        rules: how to judge the night, and how many nights to keep.
        trouble: the error that kept trials from running.
    """
    trouble = trouble or Trouble()
    try:
        summary = _judged(session, history, night, rules, trouble)
    except Exception as error:  # noqa: BLE001 - it is logged, and is the night's result
        return _not_judged(history, night, rules, trouble, Trouble.of(error))
    try:
        history.prune(rules.keep)
        _publish(history, rules, summary.record)
    except HarnessError as error:  # the next night does both again
        _log.warning("%s", error)
    return summary


def _publish(history: History, rules: NightRules, record: NightRecord) -> None:
    """Write what is published: the night's badge and the page of all nights."""
    write_output(history.badge, night_badge(rules.name, record))
    write_output(history.page, history_page(rules.name, history.nights()))


def _not_judged(
    history: History, night: OpenNight, rules: NightRules, before: Trouble, now: Trouble
) -> nightly.NightSummary:
    """Summarise a night that could not be judged."""
    code = nightly.most_severe({before.code, now.code})
    reason = "; ".join(filter(None, (before.reason, now.reason)))
    summary = nightly.NightSummary(
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
        write_output(night.folder / "summary.md", nightly.night_markdown(summary))
        history.close(night, summary.record)
        _publish(history, rules, summary.record)
    except HarnessError as error:  # a full disk: the summary is still printed and sent
        _log.warning("%s", error)
    return summary


def _judged(
    session: Session, history: History, night: OpenNight, rules: NightRules, trouble: Trouble
) -> nightly.NightSummary:
    before = history.nights()
    today = night.began.date()
    excused = {item.experiment: item for item in rules.quarantines if item.active(today)}
    verdicts = session.verdicts()
    entries = {
        verdict.id: _entry(verdict, session, before, rules, quarantined=verdict.id in excused)
        for verdict in verdicts
    }
    code = nightly.night_code(verdicts, excused=excused, trouble=trouble.code)
    record = NightRecord(FORMAT, night.name, code, trouble.reason, entries)
    summary = nightly.NightSummary(
        name=rules.name,
        folder=night.folder.as_posix(),
        record=record,
        verdicts=verdicts,
        last=_compared(session, history, before, nightly.last_good),
        first=_compared(session, history, before, nightly.first_good),
        quarantines=rules.quarantines,
        today=today,
    )
    excuses = {name: _excuse(item) for name, item in excused.items()}
    _write(night.folder, session, summary, excuses)
    history.close(night, record)
    return summary


def _entry(
    verdict: ExperimentVerdict,
    session: Session,
    before: Sequence[NightRecord],
    rules: NightRules,
    *,
    quarantined: bool,
) -> NightEntry:
    earlier = (night.experiments.get(verdict.id) for night in reversed(before))
    streak = next((entry.streak for entry in earlier if entry), Streak())
    code = exit_code([verdict])
    now = nightly.advance(
        streak, code, quarantined=quarantined, consistent_after=rules.consistent_after
    )
    (experiment,) = (item for item in session.experiments if item.id == verdict.id)
    return NightEntry(
        verdict=verdict.badge,
        code=code,
        state=now.state,
        failing=now.failing,
        manifest=experiment.digest,
        trials=session.trials[verdict.id],
        conditions={
            thing: " / ".join(sorted(values))
            for thing, values in sorted(verdict.evidence.environments.items())
        },
        **_estimate(verdict),
    )


def _estimate(verdict: ExperimentVerdict) -> dict[str, Any]:
    """Return what the history shows of an experiment: its final estimate, or its last row."""
    row = headline_result(verdict)
    if row is None or row.difference is None:
        return {}
    return {
        "row": row.name,
        "reported": row.reported,
        "measured": row.measured,
        "share": row.difference / row.tolerance if row.tolerance else None,
    }


def _compared(
    session: Session, history: History, before: Sequence[NightRecord], choose: ChooseBaseline
) -> dict[str, nightly.NightComparison]:
    """Compare each experiment with its baseline night; one multiple-comparison correction."""
    baseline = nightly.baselines(before, choose)
    experiments = {
        item.id: item
        for item in session.experiments
        if item.id in baseline and not item.compares  # it has no records to compare
    }
    base = nightly.baseline_side(history, baseline)
    comparisons = compare_experiments(experiments.values(), base, _tonight(session))
    return {
        item.id: nightly.NightComparison(
            night=baseline[item.id].night,
            comparison=item,
            same_manifest=baseline[item.id].experiments[item.id].manifest
            == experiments[item.id].digest,
        )
        for item in comparisons
    }


def _tonight(session: Session) -> Side:
    return Side(dict(session.stored_trials()))


def _excuse(item: Quarantine) -> str:
    return f"quarantined until {item.expires} by {item.owner}: {item.reason}"


def _write(
    folder: Path, session: Session, summary: nightly.NightSummary, excuses: Mapping[str, str]
) -> None:
    """Write every file about the night into its folder."""
    verdicts = summary.verdicts
    write_output(folder / "verdicts.json", verdicts_document(verdicts).text())
    last = [since.comparison for since in summary.last.values()]
    write_output(folder / "comparison.json", comparisons_document(last).text())
    write_output(folder / "environment.json", nightly.current_environment().text())
    xml = junit(verdicts, excuses=excuses, trouble=summary.record.trouble)
    write_output(folder / "junit.xml", xml)
    stored = ((name, trial) for (name, _), trial in _tonight(session).trials.items())
    arrow_tables.write_trials(folder / "records.parquet", stored)
    Reports.write(verdicts, folder / "report")
    write_output(folder / "summary.md", nightly.night_markdown(summary))
