"""Read the records that are committed beside manifests, and add trials to them."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from harness.errors import UsageError, number_of
from harness.manifest import Experiment, of_seeds
from harness.record import Declaration, StoredTrial, TrialSpec
from harness.store import Archive, Kept, merge

FOLDER = "records"
"""The folder of committed records, beside the manifests."""


@dataclass(frozen=True)
class Committed:
    """The committed records of one experiment. It separates current records from stale ones."""

    archive: Archive
    experiment: Experiment
    spec: TrialSpec
    """Today's spec of one of its trials; the seed does not matter."""

    @cached_property
    def trials(self) -> Mapping[str, StoredTrial]:
        """The current trials by id."""
        return {trial.spec.id: trial for trial in self._all if self._current(trial)}

    @cached_property
    def stale(self) -> tuple[int, ...]:
        """Seeds whose records were made with other parameters, data or revision than today's."""
        return tuple(trial.spec.seed for trial in self._all if not self._current(trial))

    @property
    def declared(self) -> Declaration:
        """What the manifest declared when the records were made."""
        return self.archive.declared(self.experiment.id)

    def notes(self) -> Iterator[str]:
        """Yield notes for a verdict that uses these records."""
        if self.trials:
            yield f"judged by the committed records in {self.file}, not by the workspace"
        elif not self.stale:
            yield f"the workspace holds no trial of it, and {self.file} holds no records"
        yield from self.warnings()

    def warnings(self) -> Iterator[str]:
        """Yield a warning if some records are stale."""
        if self.stale:
            why = "were made with other parameters, data or revision, and are not used"
            yield f"the records of {of_seeds(self.stale)} in {self.file} {why}"

    @property
    def file(self) -> Path:
        """The file of the records."""
        cell = self.experiment.cell
        return self.archive.file(cell.grid if cell else self.experiment.id)

    @property
    def _all(self) -> tuple[StoredTrial, ...]:
        return self.archive.kept(self.experiment.id).trials

    def _current(self, trial: StoredTrial) -> bool:
        return replace(self.spec, seed=trial.spec.seed) == trial.spec


@dataclass(frozen=True)
class Addition:
    """Trials of one experiment to commit."""

    experiment: Experiment
    trials: tuple[StoredTrial, ...]
    declared: Declaration


def add(archive: Archive, additions: Collection[Addition]) -> Iterator[str]:
    """Add trials to an archive: all of them, or none if one conflicts with a committed trial.

    Yields:
        A line about each experiment.

    Raises:
        UsageError: committed trials have other results; the message names each of them.
        StoreError: a file of the archive is damaged, or cannot be written.
    """
    merged = [
        (
            addition.experiment,
            merge(archive.kept(addition.experiment.id), addition.trials, addition.declared),
        )
        for addition in additions
    ]
    conflicts = [
        f"{archive.file(experiment.id)}: {conflict}"
        for experiment, result in merged
        for conflict in result.conflicts
    ]
    if conflicts:
        hint = "nothing was written; to replace the committed records, remove the file first"
        raise UsageError("\n".join([*conflicts, hint]))
    cells: dict[str, dict[str, Kept]] = {}
    for experiment, result in merged:
        if result.kept == archive.kept(experiment.id):
            continue
        if experiment.cell:  # one file holds all of them: it is written once, below
            cells.setdefault(experiment.cell.grid, {})[experiment.id] = result.kept
        else:
            archive.write(experiment.id, result.kept)
    for grid, kept in cells.items():
        archive.write_grid(grid, kept)
    for experiment, result in merged:
        done = f"{of_seeds(result.added)} added" if result.added else "nothing to add"
        if result.superseded:
            done += f", stale records of {of_seeds(result.superseded)} replaced"
        cell = f" {experiment.cell.name}" if experiment.cell else ""
        total = number_of(len(result.kept.trials), "trial")
        yield f"{archive.file(experiment.id)}:{cell} {done}, {total}"
