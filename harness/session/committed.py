"""Read the records that are committed beside manifests, and add trials to them."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from harness.errors import UsageError
from harness.manifest import Experiment, of_seeds
from harness.record import StoredTrial, TrialSpec
from harness.store import Archive, merge

FOLDER = "records"
"""The folder of committed records, beside the manifests."""


@dataclass(frozen=True)
class Committed:
    """The committed records of one experiment, and which of them its manifest still asks for."""

    archive: Archive
    experiment: str
    spec: TrialSpec
    """The spec of any of its trials, as it would be run today."""

    @classmethod
    def beside(cls, experiment: Experiment, spec: TrialSpec) -> "Committed":
        """Open the folder beside the manifest, which need not exist."""
        return cls(Archive(experiment.path.parent / FOLDER), experiment.id, spec)

    @cached_property
    def trials(self) -> Mapping[str, StoredTrial]:
        """The trials by id, without those that are stale."""
        return {trial.spec.id: trial for trial in self._all if self._current(trial)}

    @cached_property
    def stale(self) -> tuple[int, ...]:
        """Seeds whose records were made with other parameters, data or revision than today's."""
        return tuple(trial.spec.seed for trial in self._all if not self._current(trial))

    @property
    def declared(self) -> Mapping[str, float]:
        """Each claim's tolerance when the records were made."""
        return self.archive.declared(self.experiment)

    def notes(self) -> Iterator[str]:
        """Notes for a verdict that rests on these records."""
        if self.trials:
            yield f"judged by the committed records in {self._file}, not by the workspace"
        elif not self.stale:
            yield f"nothing of it is in the workspace, and nothing is committed in {self._file}"
        yield from self.warnings()

    def warnings(self) -> Iterator[str]:
        """Warn of records that cannot be used."""
        if self.stale:
            why = "were made with other parameters, data or revision, and are not used"
            yield f"the records of {of_seeds(self.stale)} in {self._file} {why}"

    @property
    def _file(self) -> Path:
        return self.archive.file(self.experiment)

    @property
    def _all(self) -> tuple[StoredTrial, ...]:
        return self.archive.kept(self.experiment).trials

    def _current(self, trial: StoredTrial) -> bool:
        return replace(self.spec, seed=trial.spec.seed) == trial.spec


@dataclass(frozen=True)
class Addition:
    """Trials of one experiment to commit."""

    experiment: str
    trials: tuple[StoredTrial, ...]
    declared: Mapping[str, float]


def add(archive: Archive, additions: Collection[Addition]) -> Iterator[str]:
    """Add trials to an archive: all of them, or none if one conflicts with a committed trial.

    Yields:
        A line about each experiment.

    Raises:
        UsageError: trials are committed with other results; names each of them.
        StoreError: a file of the archive is damaged, or cannot be written.
    """
    merged = [
        (each, merge(archive.kept(each.experiment), each.trials, each.declared))
        for each in additions
    ]
    conflicts = [
        f"{archive.file(each.experiment)}: {conflict}"
        for each, result in merged
        for conflict in result.conflicts
    ]
    if conflicts:
        hint = "nothing was written; remove the file first to have only the new records"
        raise UsageError("\n".join([*conflicts, hint]))
    for each, result in merged:
        file = archive.file(each.experiment)
        if result.kept != archive.kept(each.experiment):
            archive.write(each.experiment, result.kept)
        done = f"{of_seeds(result.added)} added" if result.added else "nothing to add"
        if result.superseded:
            done += f", stale records of {of_seeds(result.superseded)} replaced"
        yield f"{file}: {done}, {len(result.kept.trials)} trials"
