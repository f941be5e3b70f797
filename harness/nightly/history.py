"""Keep the history of nights: a folder for each night, and each experiment's state after it.

<folder>/<night>/night.json    verdicts, states and exit code; written last, so a night without
                               this file was cut off and is ignored
<folder>/<night>/manifests/    the manifests as they were run
<folder>/<night>/trials/ …     the night's own workspace, empty when the night began

An experiment's state follows from the exit code that its verdict alone would have. So states, exit
codes and JUnit always agree. If an infrastructure failure prevented a verdict, the state stays.
"""

import os
import platform
import re
import shutil
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from importlib.metadata import distributions
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from harness.compare import Side
from harness.errors import Exit, StoreError
from harness.manifest import Experiment
from harness.record import Source, StoredTrial
from harness.report.documents import Document
from harness.source import source
from harness.store import Store, files
from harness.verdict import ExperimentVerdict, exit_code


class State(StrEnum):
    """How an experiment stands."""

    PASSING = "passing"
    """Its verdict is the expected one."""
    RECOVERED = "recovered"
    """As expected again, after nights that were not."""
    FAILING = "failing"
    """Its verdict is not the expected one."""
    CONSISTENTLY_FAILING = "consistently failing"
    """For several nights in a row."""
    QUARANTINED = "quarantined"
    """It runs and is judged, and until the quarantine expires its failures wake nobody."""
    UNKNOWN = "not judged yet"
    """No night has come to a verdict."""


@dataclass(frozen=True, slots=True)
class Course:
    """A state, and what the next night must know of the nights before it."""

    state: State = State.UNKNOWN
    failing: int = 0
    """Nights in a row whose verdict was not the expected one; open nights do not count."""


def advance(before: Course, tonight: Exit, *, quarantined: bool, consistent_after: int) -> Course:
    """The state after tonight.

    Args:
        before: after the night before; `Course()` where there was none.
        tonight: the exit code of the experiment's verdict alone.
        quarantined: whether a quarantine holds tonight.
        consistent_after: from so many failing nights in a row on, failing is consistent.
    """
    failing = {Exit.AS_EXPECTED: 0, Exit.NOT_AS_EXPECTED: before.failing + 1}.get(
        tonight, before.failing
    )
    if quarantined:
        return Course(State.QUARANTINED, failing)
    if failing:
        often = failing >= consistent_after
        return Course(State.CONSISTENTLY_FAILING if often else State.FAILING, failing)
    if tonight is Exit.AS_EXPECTED:
        return Course(State.RECOVERED if before.failing else State.PASSING)
    open_ = before.state is State.QUARANTINED  # which is over, and tonight tells nothing
    return Course(State.UNKNOWN if open_ else before.state)


_MOST_SEVERE_FIRST = (
    Exit.BUG,
    Exit.USAGE,
    Exit.NOT_AS_EXPECTED,
    Exit.INCOMPLETE,
    Exit.INCONCLUSIVE,
    Exit.AS_EXPECTED,
)


def most_severe(codes: Collection[Exit]) -> Exit:
    """Return the exit code that wins among several, by the command line's contract."""
    return next(code for code in _MOST_SEVERE_FIRST if code in codes)


def night_code(
    verdicts: Sequence[ExperimentVerdict],
    *,
    excused: Collection[str] = (),
    trouble: Exit = Exit.AS_EXPECTED,
) -> Exit:
    """Return the exit code of a night: the most severe of its parts.

    Args:
        verdicts: tonight's.
        excused: experiments in quarantine: of these a failure does not count, all else does.
        trouble: the exit code of what kept trials from running, if anything did.
    """
    counted = [
        replace(verdict, as_expected=True)
        if verdict.id in excused and verdict.as_expected is False
        else verdict
        for verdict in verdicts
    ]
    return most_severe({exit_code(counted), trouble})


FORMAT = 1
"""Version of night.json."""


RECORD = "night.json"


_NAME = re.compile(r"\d{4}-\d{2}-\d{2}T\d{6}Z")


MANIFESTS = "manifests"


@dataclass(frozen=True)
class Entry:
    """What one night found of one experiment."""

    verdict: str
    code: Exit
    """Of this verdict alone."""
    state: State
    failing: int
    manifest: str
    """The manifest's digest."""
    trials: Mapping[int, str]
    """The id of each trial, by seed."""

    @property
    def course(self) -> Course:
        """What the next night must know."""
        return Course(self.state, self.failing)


@dataclass(frozen=True)
class NightRecord:
    """What is remembered of one night."""

    format: int
    night: str
    """Its folder's name: when it began, in UTC."""
    code: Exit
    trouble: str
    """What kept trials from running; empty if nothing did."""
    experiments: Mapping[str, Entry]


@dataclass(frozen=True)
class Opened:
    """A night that has begun."""

    name: str
    folder: Path
    began: datetime


_RECORD = TypeAdapter(NightRecord)


class Book:
    """All nights of one name, in their folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def begin(self, experiments: Iterable[Experiment], now: datetime) -> Opened:
        """Make an empty workspace for a night, with the manifests as they are run.

        Raises:
            StoreError: it is there already, or cannot be written.
        """
        name = now.astimezone(UTC).strftime("%Y-%m-%dT%H%M%SZ")
        folder = self.folder / name
        with files.faults_named(folder):
            (folder / MANIFESTS).mkdir(parents=True)
            for experiment in experiments:
                shutil.copy(experiment.path, folder / MANIFESTS / experiment.path.name)
        return Opened(name, folder, now)

    def close(self, night: Opened, record: NightRecord) -> None:
        """Remember a night: from now on later ones build on it."""
        files.replace(night.folder / RECORD, _RECORD.dump_json(record, indent=2) + b"\n")

    def nights(self) -> Sequence[NightRecord]:
        """Every night that was ended in order, the oldest first.

        Raises:
            StoreError: a night's record cannot be read, or is of another format.
        """
        return [_read(path) for path in sorted(self.folder.glob(f"*/{RECORD}"))]

    def trials(self, record: NightRecord, experiment: str) -> dict[tuple[str, int], StoredTrial]:
        """What a night recorded of one experiment."""
        store = Store(self.folder / record.night)
        found = (
            (seed, store.read(trial))
            for seed, trial in record.experiments[experiment].trials.items()
        )
        return {(experiment, seed): trial for seed, trial in found if trial is not None}

    def prune(self, keep: int) -> Sequence[str]:
        """Drop old nights, but none that a later one is to be compared with; returns which."""
        nights = self.nights()
        needed = {record.night for record in nights[-keep:]}
        for choose in (last_good, first_good):
            needed |= {record.night for record in baselines(nights, choose).values()}
        dropped = [record.night for record in nights if record.night not in needed]
        # One that was cut off is of no use; one that is not that old may still be under way.
        oldest = min(record.night for record in nights[-keep:]) if nights else ""
        dropped += [name for name in self._cut_off() if name < oldest]
        for name in dropped:
            with files.faults_named(self.folder / name):
                shutil.rmtree(self.folder / name)
        return dropped

    def _cut_off(self) -> list[str]:
        """Nights that never ended, or have not yet."""
        there = self.folder.iterdir() if self.folder.is_dir() else ()
        return sorted(
            path.name
            for path in there
            if _NAME.fullmatch(path.name) and not (path / RECORD).exists()
        )


Choose = Callable[[Sequence[NightRecord], str], NightRecord | None]


def last_good(nights: Sequence[NightRecord], experiment: str) -> NightRecord | None:
    """The last night on which an experiment was as expected: what it is compared with."""
    return next(reversed(_good(nights, experiment)), None)


def first_good(nights: Sequence[NightRecord], experiment: str) -> NightRecord | None:
    """The first such night with the manifest of the last: against it, many small steps show."""
    good = _good(nights, experiment)
    same = [
        night
        for night in good
        if night.experiments[experiment].manifest == good[-1].experiments[experiment].manifest
    ]
    return next(iter(same), None)


def baselines(nights: Sequence[NightRecord], choose: Choose) -> dict[str, NightRecord]:
    """For each experiment the night that `choose` finds, where there is one."""
    names = {name for night in nights for name in night.experiments}
    found = ((name, choose(nights, name)) for name in sorted(names))
    return {name: night for name, night in found if night is not None}


def side(book: Book, baseline: Mapping[str, NightRecord]) -> Side:
    """The trials of each experiment's own baseline."""
    trials: dict[tuple[str, int], StoredTrial] = {}
    for name, record in baseline.items():
        trials |= book.trials(record, name)
    return Side(trials)


def _good(nights: Sequence[NightRecord], experiment: str) -> list[NightRecord]:
    return [
        night
        for night in nights
        if experiment in night.experiments
        and night.experiments[experiment].code is Exit.AS_EXPECTED
    ]


def _read(path: Path) -> NightRecord:
    try:
        record = _RECORD.validate_json(files.read(path) or b"")
    except ValidationError as error:
        raise StoreError(
            f"{path}: not a night's record ({error.error_count()} faults); "
            "move its folder away to go on without it"
        ) from None
    if record.format != FORMAT:
        raise StoreError(f"{path}: format {record.format} is unknown; this version reads {FORMAT}")
    return record


def read_record(folder: Path) -> NightRecord | None:
    """A night's record; None where the folder is no night's.

    Raises:
        StoreError: it cannot be read.
    """
    path = folder / RECORD
    return _read(path) if path.exists() else None


class EnvironmentDocument(Document):
    """Machine, interpreter, source and every installed package with its version."""

    python: str
    platform: str
    machine: str
    cpus: int | None
    source: Source
    packages: Mapping[str, str]


def environment() -> EnvironmentDocument:
    """Describe this process and the machine that it runs on."""
    installed = sorted(distributions(), key=lambda item: str(item.metadata["Name"]).lower())
    return EnvironmentDocument(
        python=sys.version,
        platform=platform.platform(),
        machine=platform.machine(),
        cpus=os.cpu_count(),
        source=source(),
        packages={item.metadata["Name"]: item.version for item in installed},
    )
