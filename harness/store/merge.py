"""New records beside those that are there already: nothing is lost, nothing is overwritten."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from harness.record import FailureKind, StoredTrial, TrialSpec
from harness.store.archive import Kept


@dataclass(frozen=True)
class Merged:
    """What comes of adding trials of one experiment to what an archive holds of it."""

    kept: Kept
    added: tuple[int, ...]
    """Seeds that are new, or that went on to more epochs."""
    superseded: tuple[int, ...]
    """Seeds whose records were made with other parameters, data or revision, and gave way."""
    conflicts: tuple[str, ...]
    """Trials that are there already with other results, each in words; then nothing may be
    written."""


def merge(kept: Kept, trials: Sequence[StoredTrial], declared: Mapping[str, float]) -> Merged:
    """Add trials of one experiment as it now stands.

    Args:
        kept: what is there.
        trials: the new ones, all of one spec but for the seed.
        declared: the tolerances that stood when these were made.
    """
    by_id = {trial.spec.id: trial for trial in kept.trials}
    new_seeds = {trial.spec.seed: trial.spec.id for trial in trials}
    stale = {
        trial_id
        for trial_id, trial in by_id.items()
        if new_seeds.get(trial.spec.seed, trial_id) != trial_id
    }
    superseded = tuple(sorted(by_id.pop(trial_id).spec.seed for trial_id in stale))
    # The tolerances of the oldest records that stand are the ones that a change is held against.
    stands = any(_alike(old.spec, new.spec) for old in by_id.values() for new in trials[:1])
    before = kept.declared if stands else {}
    added, conflicts = list[int](), list[str]()
    for trial in trials:
        old = by_id.get(trial.spec.id)
        if old is not None and (why := differs(old, trial)):
            conflicts.append(f"trial {trial.spec.id} (seed {trial.spec.seed}): {why}")
        elif old is None or _reach(trial) > _reach(old):
            by_id[trial.spec.id] = trial
            added.append(trial.spec.seed)
    whole = Kept(
        {**declared, **before},
        tuple(sorted(by_id.values(), key=lambda trial: (trial.spec.seed, trial.spec.id))),
    )
    return Merged(whole, tuple(sorted(added)), superseded, tuple(conflicts))


def differs(one: StoredTrial, other: StoredTrial) -> str:
    """Where the results of two recordings of one trial part, as far as both go; empty if nowhere.

    When and where they ran does not enter.
    """
    for ours, theirs in zip(one.epochs, other.epochs, strict=False):
        if ours.metrics != theirs.metrics:
            return f"other results from epoch {ours.epoch} on"
    for epoch in sorted(one.finals.keys() & other.finals.keys()):
        if one.finals[epoch].metrics != other.finals[epoch].metrics:
            return f"other final estimates at epoch {epoch}"
    for trial, longer in ((one, other), (other, one)):
        failure = trial.failure
        scientific = failure is not None and failure.kind is FailureKind.SCIENTIFIC
        if scientific and len(longer.epochs) > len(trial.epochs):
            return f"one failed after epoch {len(trial.epochs)}, where the other went on"
    return ""


def _alike(one: TrialSpec, other: TrialSpec) -> bool:
    """Whether two trials differ by their seed at most."""
    return replace(one, seed=other.seed) == other


def _reach(trial: StoredTrial) -> tuple[int, int]:
    """What of two equal beginnings says more."""
    return (trial.done, len(trial.epochs))
