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
from dataclasses import dataclass, field, replace
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


class NightState(StrEnum):
    """The state of an experiment after a night."""

    PASSING = "passing"
    """The verdict is as expected."""
    RECOVERED = "recovered"
    """The verdict is as expected again, after failing nights."""
    FAILING = "failing"
    """The verdict is not as expected."""
    CONSISTENTLY_FAILING = "consistently failing"
    """The verdict was not as expected for several nights in a row."""
    QUARANTINED = "quarantined"
    """The experiment runs and is judged, but failures do not count until the quarantine ends."""
    UNKNOWN = "not judged yet"
    """No night has reached a verdict yet."""


@dataclass(frozen=True, slots=True)
class Streak:
    """An experiment's state, with the number of failing nights in a row."""

    state: NightState = NightState.UNKNOWN
    failing: int = 0
    """Nights in a row whose verdict was not as expected; undecided nights do not count."""


def advance(before: Streak, tonight: Exit, *, quarantined: bool, consistent_after: int) -> Streak:
    """Compute an experiment's streak after tonight.

    Args:
        before: the streak after the night before; `Streak()` if there was none.
        tonight: the exit code of the experiment's verdict alone.
        quarantined: whether a quarantine applies tonight.
        consistent_after: after this many failing nights in a row, failing is consistent.
    """
    failing = {Exit.AS_EXPECTED: 0, Exit.NOT_AS_EXPECTED: before.failing + 1}.get(
        tonight, before.failing
    )
    if quarantined:
        return Streak(NightState.QUARANTINED, failing)
    if failing:
        often = failing >= consistent_after
        return Streak(NightState.CONSISTENTLY_FAILING if often else NightState.FAILING, failing)
    if tonight is Exit.AS_EXPECTED:
        return Streak(NightState.RECOVERED if before.failing else NightState.PASSING)
    # After a quarantine the old state is unknown, and tonight does not decide.
    return Streak(NightState.UNKNOWN if before.state is NightState.QUARANTINED else before.state)


_MOST_SEVERE_FIRST = (
    Exit.BUG,
    Exit.USAGE,
    Exit.NOT_AS_EXPECTED,
    Exit.INCOMPLETE,
    Exit.INCONCLUSIVE,
    Exit.AS_EXPECTED,
)


def most_severe(codes: Collection[Exit]) -> Exit:
    """Return the most severe of several exit codes."""
    return next(code for code in _MOST_SEVERE_FIRST if code in codes)


def night_code(
    verdicts: Sequence[ExperimentVerdict],
    *,
    excused: Collection[str] = (),
    trouble: Exit = Exit.AS_EXPECTED,
) -> Exit:
    """Return the exit code of a night: the most severe of its parts.

    Args:
        verdicts: tonight's verdicts.
        excused: experiments in quarantine, whose failures do not count; all else counts.
        trouble: the exit code of the error that kept trials from running, if there was one.
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
class NightEntry:
    """The result of one experiment in one night."""

    verdict: str
    code: Exit
    """The exit code of this verdict alone."""
    state: NightState
    failing: int
    manifest: str
    """The manifest's digest."""
    trials: Mapping[int, str]
    """The id of each trial, by seed."""
    row: str = ""
    """The row that the history shows; empty in records of older versions, and without a value."""
    reported: float | None = None
    measured: float | None = None
    share: float | None = None
    """Measured minus reported, in tolerances."""
    conditions: Mapping[str, str] = field(default_factory=dict)
    """What the trials ran with (source, versions, hardware), by name."""

    @property
    def streak(self) -> Streak:
        """The streak from which the next night goes on."""
        return Streak(self.state, self.failing)


@dataclass(frozen=True)
class NightRecord:
    """The record of one night, as night.json holds it."""

    format: int
    night: str
    """The name of the night's folder: when the night began, in UTC."""
    code: Exit
    trouble: str
    """The error that kept trials from running; empty if there was none."""
    experiments: Mapping[str, NightEntry]


@dataclass(frozen=True)
class OpenNight:
    """A night that has begun and has no record yet."""

    name: str
    folder: Path
    began: datetime


_RECORD = TypeAdapter(NightRecord)


class History:
    """All nights of one name, in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def page(self) -> Path:
        """The page of the history, beside the folder: the folder holds nights and nothing else."""
        return self.folder.with_name(f"{self.folder.name}.html")

    @property
    def badge(self) -> Path:
        """The badge of the last night, beside the page."""
        return self.page.with_suffix(".svg")

    def begin(self, experiments: Iterable[Experiment], now: datetime) -> OpenNight:
        """Create an empty workspace for a night, with copies of the manifests.

        Raises:
            StoreError: the workspace exists already, or cannot be written.
        """
        name = now.astimezone(UTC).strftime("%Y-%m-%dT%H%M%SZ")
        folder = self.folder / name
        with files.faults_named(folder):
            (folder / MANIFESTS).mkdir(parents=True)
            for experiment in experiments:
                shutil.copy(experiment.path, folder / MANIFESTS / experiment.path.name)
                for name in experiment.tables:
                    table = folder / MANIFESTS / name
                    table.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy(experiment.path.parent / name, table)
        return OpenNight(name, folder, now)

    def close(self, night: OpenNight, record: NightRecord) -> None:
        """Write the record of a night, so that later nights count it."""
        files.replace(night.folder / RECORD, _RECORD.dump_json(record, indent=2) + b"\n")

    def nights(self) -> Sequence[NightRecord]:
        """Return the record of every finished night, the oldest first.

        Raises:
            StoreError: a record cannot be read, or has another format.
        """
        return [_read(path) for path in sorted(self.folder.glob(f"*/{RECORD}"))]

    def trials(self, record: NightRecord, experiment: str) -> dict[tuple[str, int], StoredTrial]:
        """Read the trials of one experiment in one night, by experiment and seed."""
        store = Store(self.folder / record.night)
        stored = (
            (seed, store.read(trial))
            for seed, trial in record.experiments[experiment].trials.items()
        )
        return {(experiment, seed): trial for seed, trial in stored if trial is not None}

    def prune(self, keep: int) -> Sequence[str]:
        """Delete old nights that no later night is compared with; return their names."""
        nights = self.nights()
        needed = {record.night for record in nights[-keep:]}
        for choose in (last_good, first_good):
            needed |= {record.night for record in baselines(nights, choose).values()}
        dropped = [record.night for record in nights if record.night not in needed]
        # A night without a record was cut off, or it still runs. Delete it only if it is old.
        oldest = min(record.night for record in nights[-keep:]) if nights else ""
        dropped += [name for name in self._cut_off() if name < oldest]
        for name in dropped:
            with files.faults_named(self.folder / name):
                shutil.rmtree(self.folder / name)
        return dropped

    def _cut_off(self) -> list[str]:
        """Return the nights without a record."""
        folders = self.folder.iterdir() if self.folder.is_dir() else ()
        return sorted(
            path.name
            for path in folders
            if _NAME.fullmatch(path.name) and not (path / RECORD).exists()
        )


ChooseBaseline = Callable[[Sequence[NightRecord], str], NightRecord | None]


def last_good(nights: Sequence[NightRecord], experiment: str) -> NightRecord | None:
    """Return the last night in which the experiment was as expected."""
    return next(reversed(_good(nights, experiment)), None)


def first_good(nights: Sequence[NightRecord], experiment: str) -> NightRecord | None:
    """Return the first good night that used the last good night's manifest.

    A comparison with it shows the sum of many small changes.
    """
    good = _good(nights, experiment)
    same = [
        night
        for night in good
        if night.experiments[experiment].manifest == good[-1].experiments[experiment].manifest
    ]
    return next(iter(same), None)


def baselines(nights: Sequence[NightRecord], choose: ChooseBaseline) -> dict[str, NightRecord]:
    """Return the night that `choose` selects for each experiment, where it selects one."""
    names = {name for night in nights for name in night.experiments}
    chosen = ((name, choose(nights, name)) for name in sorted(names))
    return {name: night for name, night in chosen if night is not None}


def baseline_side(history: History, baseline: Mapping[str, NightRecord]) -> Side:
    """Read the trials of each experiment in its own baseline night."""
    trials: dict[tuple[str, int], StoredTrial] = {}
    for name, record in baseline.items():
        trials |= history.trials(record, name)
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
        record = _RECORD.validate_json(files.read_file(path) or b"")
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
    """The machine, interpreter, source and installed packages of a night."""

    python: str
    platform: str
    machine: str
    cpus: int | None
    source: Source
    packages: Mapping[str, str]


def current_environment() -> EnvironmentDocument:
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
