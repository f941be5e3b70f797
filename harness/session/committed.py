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

_DIFFERS = {
    "workload": "another workload",
    "revision": "another revision",
    "parameters": "other parameters",
    "data": "other data",
    "length": "another number of epochs",
    "settings": "other settings of the workload",
}
"""What a stale record was made with, by the field of its spec that differs from today's."""


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
        """Seeds whose records were made with another spec than today's."""
        return tuple(trial.spec.seed for trial in self._all if not self._current(trial))

    @property
    def declared(self) -> Declaration:
        """What the manifest declared when the records were made."""
        return self.archive.declared(self.experiment.id)

    def notes(self, *, searched: bool) -> Iterator[str]:
        """Yield notes for a verdict that uses these records.

        Args:
            searched: whether the workspace was searched first, and holds no trial of it.
        """
        if self.trials:
            yield f"judged by the committed records in {self.file}, not by the workspace"
        elif searched:
            epochs = self.spec.length  # None if a short trial is the beginning of a longer one
            length = "" if epochs is None else f" of {number_of(epochs, 'epoch')}"
            held = f"the workspace holds no trial{length} of it as the manifest is now"
            yield "; ".join([held, *self._absence()])
        else:
            asked = "only committed records were asked for, so the workspace was not searched"
            yield "; ".join([asked, *self._absence()])
        yield from self.warnings()

    def _absence(self) -> Iterator[str]:
        """Say that the file of the records, or its part for this experiment, does not exist."""
        if self.stale:
            return
        if not self.file.exists():
            yield f"there is no file {self.file}"
            return
        others = self.archive.count(self.file)
        held = f", but {number_of(others, 'trial')} of other cells" if others else ""
        yield f"{self.file} holds no trial of it{held}"

    def warnings(self) -> Iterator[str]:
        """Yield a warning if some records are stale."""
        if self.stale:
            specs = [trial.spec for trial in self._all if not self._current(trial)]
            differs = (
                words
                for name, words in _DIFFERS.items()
                if any(getattr(spec, name) != getattr(self.spec, name) for spec in specs)
            )
            why = f"are not used: they were made with {' and '.join(differs)}"
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
