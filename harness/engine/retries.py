"""Decide what follows a failed attempt: another attempt and its nodes, or the trial's outcome.

Everything here is pure: it uses neither Ray nor the clock. The rules:

* A failure of the method (it raised, or a metric is NaN or infinite) is the trial's outcome only if
  it happens twice: the same error after the same epoch, in a fresh process from the last durable
  checkpoint, on another node if one can run the trial. Until then it is a suspicion.
* If a later attempt gets past that epoch, the machine caused the suspected failure. The failure
  goes into the trial's history and counts as a loss.
* If the next attempt fails in another way, that failure is a suspicion too. The trial ends as lost
  to infrastructure ("NotRepeatable") after three suspicions that all differ, or once the retries
  for losses are used up. The message names every failure. So a failure that does not repeat is
  never blamed on the method, and the trial's verdict is INCOMPLETE.
* An attempt that is lost to infrastructure is retried at most `retries` times. The wait doubles
  after each attempt. A node on which a trial is lost twice is avoided for that trial.
* A node is avoided for the rest of the run if it loses three attempts in a row, of at least two
  trials and with no success between, and if another node can run the trials.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from harness.record import Failure, FailureKind

MOST_SUSPICIONS = 3
"""Number of different failures of the method after which a trial is given up."""

LOSSES_OF_A_TRIAL = 2
"""Losses of one trial on one node after which the trial avoids the node."""

LOSSES_IN_A_ROW, TRIALS_IN_A_ROW = 3, 2
"""A node is avoided after this many losses in a row, of at least this many trials."""

_BACKOFF_MAX_S = 60.0


def backoff_s(number: int, first_s: float) -> float:
    """Return the seconds to wait after attempt `number` (from 1). The first wait is `first_s`."""
    return float(min(_BACKOFF_MAX_S, first_s * 2 ** (number - 1)))


@dataclass(frozen=True)
class Suspicion:
    """A failure that counts as the method's if it happens again."""

    failure: Failure
    attempt: int
    node: str
    """Ray's id of the node on which it happened."""
    host: str

    def __str__(self) -> str:
        failure = self.failure
        return (
            f"attempt {self.attempt} failed after epoch {failure.epoch} with "
            f"{failure.error}: {failure.message}"
        )


class TrialAttempts:
    """The attempts at one trial in this run.

    Args:
        retries: number of further attempts after losses to infrastructure.
    """

    def __init__(self, retries: int) -> None:
        self._retries = retries
        self.number = 1
        """The number of the attempt that runs or comes next."""
        self.suspicions: list[Suspicion] = []
        """Failures that no attempt has yet repeated or got past."""
        self.avoided: set[str] = set()
        """Nodes that this trial avoids if another node can run it."""
        self._losses = 0
        self._lost_on: Counter[str] = Counter()

    def lost(self, failure: Failure, node: str, *, avoid: bool = False) -> Failure | None:
        """Count a loss to infrastructure. `avoid`: the trial avoids the node at once.

        Returns:
            The failure to record as the trial's, or None if another attempt is due.
        """
        self._lost_on[node] += 1
        if node and (avoid or self._lost_on[node] >= LOSSES_OF_A_TRIAL):
            self.avoided.add(node)
        self._losses += 1
        if self._losses > self._retries:
            if not self.suspicions:
                return failure
            before = "; ".join(map(str, self.suspicions))
            return replace(failure, message=f"{failure.message} (before: {before})")
        self.number += 1
        return None

    def failed(self, failure: Failure, node: str, host: str) -> Failure | None:
        """Count a failure of the method.

        Returns:
            The same as `lost`. The kind is SCIENTIFIC if the failure has happened twice.
        """
        if any(_same(each.failure, failure) for each in self.suspicions):
            return failure
        self.suspicions.append(Suspicion(failure, self.number, node, host))
        if len(self.suspicions) >= MOST_SUSPICIONS or self._losses > self._retries:
            return _not_repeatable(self.suspicions)
        if node:
            self.avoided.add(node)
        self.number += 1
        return None

    def passed(self, epoch: int, *, final: bool) -> list[Suspicion]:
        """Note that an attempt has recorded an epoch, or its `final` estimates after it.

        Returns:
            The suspicions that this resolves: the machine caused those failures.
        """
        reached = epoch if final else epoch - 1
        settled = [each for each in self.suspicions if each.failure.epoch <= reached]
        self.suspicions = [each for each in self.suspicions if each.failure.epoch > reached]
        self._losses += len(settled)
        return settled


def _same(one: Failure, other: Failure) -> bool:
    """Whether two failures are the same. Messages may differ, by a memory address for example."""
    return (one.error, one.epoch) == (other.error, other.epoch)


def _not_repeatable(suspicions: Sequence[Suspicion]) -> Failure:
    last = suspicions[-1].failure
    return Failure(
        FailureKind.INFRASTRUCTURE,
        "NotRepeatable",
        "no failure happened twice: " + "; ".join(map(str, suspicions)),
        last.epoch,
        last.traceback,
    )


@dataclass
class _NodeLoss:
    trial: str
    proven: bool
    """Whether the machine is known to be at fault. If not, the method may be."""


class NodeHealth:
    """The losses of each node, and the nodes that the run avoids."""

    def __init__(self) -> None:
        self.unfit: dict[str, str] = {}
        """Nodes that can run no trial, with the reason. They are never used."""
        self.avoided: set[str] = set()
        """Nodes that lost too many attempts. They are used only if no other node can run a
        trial."""
        self._in_a_row: defaultdict[str, list[_NodeLoss]] = defaultdict(list)

    def lost(self, node: str, trial_id: str) -> None:
        """Count an attempt that the node lost."""
        if node:
            self._in_a_row[node].append(_NodeLoss(trial_id, proven=True))

    def suspect(self, node: str, trial_id: str) -> None:
        """Count a failure that the node or the method caused."""
        if node:
            self._in_a_row[node].append(_NodeLoss(trial_id, proven=False))

    def prove(self, node: str, trial_id: str) -> None:
        """Note that the node caused a suspected failure."""
        for loss in self._in_a_row.get(node, ()):
            if loss.trial == trial_id and not loss.proven:
                loss.proven = True
                return

    def succeeded(self, node: str) -> None:
        """Reset the node's losses: a trial finished on it, or a failure was the method's."""
        self._in_a_row.pop(node, None)

    def loses(self, node: str) -> bool:
        """Whether the node has lost so many attempts in a row that the run should avoid it."""
        return _many(loss for loss in self._in_a_row.get(node, ()) if loss.proven)

    def held(self) -> set[str]:
        """Return the nodes that trials avoid until the suspicions against them are resolved."""
        return {node for node, losses in self._in_a_row.items() if _many(losses)}


def _many(losses: Iterable[_NodeLoss]) -> bool:
    trials = [loss.trial for loss in losses]
    return len(trials) >= LOSSES_IN_A_ROW and len(set(trials)) >= TRIALS_IN_A_ROW
