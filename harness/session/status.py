"""The progress of a study: quick counts per experiment, or every trial in full."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from harness.manifest import Experiment
from harness.record import Failure, FailureKind
from harness.session.session import Session
from harness.store import Store


class Progress(StrEnum):
    """The state of a trial."""

    DONE = "done"
    FAILED = "failed"
    """The method failed, which is a result."""
    LOST = "lost"
    """Infrastructure failed. The next run retries the trial."""
    STARTED = "started"
    """The trial is not finished: it is running, or its run was stopped."""
    NOT_STARTED = "not started"


@dataclass(frozen=True)
class ExperimentStatus:
    """The number of an experiment's trials in each state."""

    experiment: str
    epochs: int
    """How many epochs each trial should run."""
    states: Counter[Progress]
    written_ms: int
    """When a trial of state STARTED was last written; 0 if there is none."""


@dataclass(frozen=True)
class TrialStatus:
    """The progress of one trial."""

    experiment: str
    seed: int
    trial: str
    reached: int
    """The last epoch that is durable."""
    epochs: int
    """How many epochs the trial should run."""
    state: Progress
    detail: str
    """How it failed, if it did."""
    recorded_ms: int | None
    """When its last epoch was recorded."""


def experiment_statuses(session: Session) -> Iterator[ExperimentStatus]:
    """Count the trials of each experiment.

    It lists the workspace once, and reads result.json of every trial that was started. It checks
    the digest of result.json, but not of the records.
    """
    begun = frozenset(session.store.trials())
    for experiment in session.experiments:
        states: Counter[Progress] = Counter()
        epochs = session.selection.epochs_of(experiment)
        written_ms = 0
        for trial_id in session.trials[experiment.id].values():
            state = Progress.NOT_STARTED
            if trial_id in begun:
                state = _state(session.store, trial_id, epochs)
            if state is Progress.STARTED:
                written_ms = max(written_ms, session.store.written_ms(trial_id))
            states[state] += 1
        yield ExperimentStatus(experiment.id, epochs, states, written_ms)


def trial_statuses(session: Session) -> Iterator[TrialStatus]:
    """Read every trial in full, in the order of experiments and seeds."""
    for experiment in session.experiments:
        for seed in session.trials[experiment.id]:
            yield _trial_status(session, experiment, seed)


def _trial_status(session: Session, experiment: Experiment, seed: int) -> TrialStatus:
    trial_id = session.trials[experiment.id][seed]
    epochs = session.selection.epochs_of(experiment)
    trial = session.store.read(trial_id)
    if trial is None:
        return TrialStatus(experiment.id, seed, trial_id, 0, epochs, Progress.NOT_STARTED, "", None)
    failure = trial.failure
    return TrialStatus(
        experiment=experiment.id,
        seed=seed,
        trial=trial_id,
        reached=trial.reached,
        epochs=epochs,
        state=_ended(trial.done, failure, epochs),
        detail=f"{failure.error}: {failure.message}" if failure else "",
        recorded_ms=trial.epochs[-1].ended_ms if trial.epochs else None,
    )


def _state(store: Store, trial_id: str, epochs: int) -> Progress:
    ending = store.unchecked_ending(trial_id)
    if ending is None:
        return Progress.STARTED
    return _ended(ending.done, ending.failure, epochs)


def _ended(done: int, failure: Failure | None, epochs: int) -> Progress:
    """Return the state of a trial that was started."""
    if done >= epochs:
        return Progress.DONE
    if failure is None:
        return Progress.STARTED
    return Progress.FAILED if failure.kind is FailureKind.SCIENTIFIC else Progress.LOST
