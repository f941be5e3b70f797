"""Decide what follows a failed attempt: another attempt and where, or the trial's outcome.

Everything here is pure: it knows neither Ray nor the clock. The rules:

* A failure of the method (it raised, or a metric is NaN or infinite) is the trial's outcome only if
  it happens twice: the same error after the same epoch, in a fresh process from the last durable
  checkpoint, on another node where one can run the trial. Until then it is a suspicion.
* If a later attempt gets past that epoch, the suspected failure was the machine's. It goes into the
  trial's history and counts as a loss.
* If the next attempt fails in another way, that failure is a suspicion too. After three suspicions
  of which no two agree, or once the retries for losses are used up, the trial ends as lost to
  infrastructure ("NotRepeatable"), and the message names every failure. So a trial that does not
  repeat itself is never blamed on the method, and is incomplete rather than reproduced.
* An attempt that is lost to infrastructure is repeated `retries` times at most, after a wait that
  doubles. A node on which a trial is lost twice is avoided for that trial.
* A node that loses three attempts in a row, of at least two trials and with no success between, is
  avoided for the rest of the run, as long as another node can run the trials.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from harness.record import Failure, FailureKind

MOST_SUSPICIONS = 3
"""Failures of the method that no other attempt has repeated, before the trial is given up."""

LOSSES_OF_A_TRIAL = 2
"""Losses of one trial on one node after which the trial avoids the node."""

LOSSES_IN_A_ROW, TRIALS_IN_A_ROW = 3, 2
"""Losses of a node, and of how many trials at least, after which the run avoids it."""

_BACKOFF_MAX_S = 60.0


def backoff_s(number: int, first_s: float) -> float:
    """Seconds to wait after attempt `number`, counted from 1; `first_s` after the first."""
    return float(min(_BACKOFF_MAX_S, first_s * 2 ** (number - 1)))


@dataclass(frozen=True)
class Suspicion:
    """A failure that may be the method's, if it happens again."""

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
        retries: further attempts after losses to infrastructure.
    """

    def __init__(self, retries: int) -> None:
        self._retries = retries
        self.number = 1
        """Of the attempt that runs or comes next."""
        self.suspicions: list[Suspicion] = []
        """Failures that no attempt has repeated or got past yet."""
        self.avoided: set[str] = set()
        """Nodes that this trial avoids, where it can."""
        self._losses = 0
        self._lost_on: Counter[str] = Counter()

    def lost(self, failure: Failure, node: str, *, avoid: bool = False) -> Failure | None:
        """Take in a loss to infrastructure; `avoid` if the node is to be avoided at once.

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
        """Take in a failure of the method.

        Returns:
            As of `lost`; of kind SCIENTIFIC if the failure has happened twice.
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
        """Take in that an attempt has recorded an epoch, or its `final` estimates after it.

        Returns:
            The suspicions that this settles: those failures were the machine's.
        """
        reached = epoch if final else epoch - 1
        settled = [each for each in self.suspicions if each.failure.epoch <= reached]
        self.suspicions = [each for each in self.suspicions if each.failure.epoch > reached]
        self._losses += len(settled)
        return settled


def _same(one: Failure, other: Failure) -> bool:
    """Whether two failures are one: messages may differ, by an address in memory for example."""
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
    """Whether the machine is known to be at fault; a suspicion may still be the method's."""


class NodeHealth:
    """What the nodes have done to the run's trials, and which nodes the run avoids."""

    def __init__(self) -> None:
        self.unfit: dict[str, str] = {}
        """Nodes on which no trial can run, with the reason: never used."""
        self.avoided: set[str] = set()
        """Nodes that lost too many attempts: used only where no other can run a trial."""
        self._in_a_row: defaultdict[str, list[_NodeLoss]] = defaultdict(list)

    def lost(self, node: str, trial_id: str) -> None:
        """Take in an attempt that the node lost."""
        if node:
            self._in_a_row[node].append(_NodeLoss(trial_id, proven=True))

    def suspect(self, node: str, trial_id: str) -> None:
        """Take in a failure that is the node's or the method's."""
        if node:
            self._in_a_row[node].append(_NodeLoss(trial_id, proven=False))

    def prove(self, node: str, trial_id: str) -> None:
        """Take in that a suspected failure was the node's."""
        for loss in self._in_a_row.get(node, ()):
            if loss.trial == trial_id and not loss.proven:
                loss.proven = True
                return

    def succeeded(self, node: str) -> None:
        """Take in that the node did its work: a trial finished, or a failure was the method's."""
        self._in_a_row.pop(node, None)

    def loses(self, node: str) -> bool:
        """Whether the node has lost so many attempts in a row that the run should avoid it."""
        return _many(loss for loss in self._in_a_row.get(node, ()) if loss.proven)

    def held(self) -> set[str]:
        """The nodes that look bad for now: trials wait elsewhere until the suspicions settle."""
        return {node for node, losses in self._in_a_row.items() if _many(losses)}


def _many(losses: Iterable[_NodeLoss]) -> bool:
    trials = [loss.trial for loss in losses]
    return len(trials) >= LOSSES_IN_A_ROW and len(set(trials)) >= TRIALS_IN_A_ROW
