"""The end of a night: judge, compare, keep. Simulated nights come this way as real ones do."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness import nightly
from harness.compare import Side, compare
from harness.compare.document import document as comparisons_document
from harness.nightly import Book, Course, Entry, NightRecord, Opened, Quarantine, State
from harness.nightly.book import FORMAT, Choose
from harness.record import Json
from harness.report import jsondoc, table
from harness.report.junit import junit
from harness.session.reports import Reports
from harness.session.session import Session
from harness.verdict import ExperimentVerdict, exit_code


@dataclass(frozen=True, kw_only=True)
class NightRules:
    """What the configuration says of how a night is told."""

    name: str
    keep: int
    consistent_after: int
    quarantines: Sequence[Quarantine] = ()


def finish_night(
    session: Session, book: Book, night: Opened, rules: NightRules, *, trouble: str = ""
) -> nightly.Summary:
    """Judge a night by what its workspace holds, and write down all that was found.

    Args:
        session: what was asked, and the night's own workspace.
        book: the nights before.
        night: as `book` began it.
        rules: how it is told.
        trouble: what of the infrastructure failed beside the trials.

    Raises:
        StoreError: an earlier night cannot be read, or this one cannot be written.
    """
    before = book.nights()
    today = night.began.date()
    excused = {item.experiment: item for item in rules.quarantines if item.active(today)}
    verdicts = session.verdicts()
    entries = {
        verdict.id: _entry(verdict, session, before, rules, quarantined=verdict.id in excused)
        for verdict in verdicts
    }
    code = nightly.night_code(verdicts, excused=excused, trouble=trouble)
    record = NightRecord(FORMAT, night.name, code, trouble, entries)
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
    book.prune(rules.keep)
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
    """Each experiment beside a night of its own choice; all of them are one family of tests."""
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
    return Side(
        {
            (experiment.id, seed): trial
            for experiment in session.experiments
            for seed in session.trials[experiment.id]
            if (trial := session.trial(experiment, seed)) is not None
        }
    )


def _excuse(item: Quarantine) -> str:
    return f"quarantined until {item.expires} by {item.owner}: {item.reason}"


def _write(
    folder: Path, session: Session, summary: nightly.Summary, excuses: Mapping[str, str]
) -> None:
    """Every artifact of the night beside its workspace."""
    verdicts = summary.verdicts
    _json(folder / "verdicts.json", jsondoc.document(verdicts))
    last = [since.found for since in summary.last.values()]
    _json(folder / "comparison.json", comparisons_document(last))
    _json(folder / "environment.json", nightly.environment())
    xml = junit(verdicts, excuses=excuses, trouble=summary.record.trouble)
    (folder / "junit.xml").write_bytes(xml)
    stored = ((name, trial) for (name, _), trial in _tonight(session).trials.items())
    table.write(folder / "records.parquet", stored)
    Reports.write(verdicts, folder / "report")
    (folder / "summary.md").write_text(nightly.markdown(summary), encoding="utf-8")


def _json(path: Path, document: Json) -> None:
    path.write_text(json.dumps(document, indent=2, allow_nan=False) + "\n", encoding="utf-8")
