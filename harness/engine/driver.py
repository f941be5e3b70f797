"""The driver's loop: start trials, receive their messages, and retry failed attempts.

`harness.engine.retries` decides what follows a failure, and this module carries it out. The driver
reaches Ray through `harness.engine.tasks` and `harness.engine.nodes`, which tests replace.
"""

import logging
import re
import threading
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from types import MappingProxyType
from typing import Protocol

import ray

from harness.engine.cluster import awake_s, watching_head
from harness.engine.interface import (
    AttemptTasks,
    ClusterNodes,
    Lost,
    OfTrial,
    Placed,
    Refused,
    Request,
    Sink,
    Stream,
    request,
)
from harness.engine.nodes import Nodes, require
from harness.engine.packs import pack_sizes
from harness.engine.retries import NodeHealth, Suspicion, TrialAttempts, backoff_s
from harness.engine.tasks import Tasks
from harness.options import Options
from harness.plan import Job
from harness.record import (
    EpochRecord,
    Failure,
    FailureKind,
    FinalRecord,
    Finished,
    Message,
    Output,
    Overruled,
    PastFailure,
    Started,
)
from harness.workload import Arrays, Workload

_log = logging.getLogger(__name__)

_POLL_S = 0.2

_MOST_MESSAGES = 1000
"""About how many messages the sink gets at a time, at most."""

_LOOK_S = 2.0
"""How often the driver checks whether some node can run the waiting trials, in seconds."""

_OF_MEMORY = re.compile("memory", re.IGNORECASE)
"""Matches the name or the message of the out-of-memory errors of Python, torch and Ray."""

_NODE_RETURN_S = 60.0
"""How long trials wait for a node that left a cluster of fixed size, in seconds."""


def run(
    jobs: Sequence[Job],
    sink: Sink,
    *,
    workloads: Mapping[str, Workload],
    load_data: Callable[[Workload, str], Arrays],
    options: Options | None = None,
    stop: threading.Event | None = None,
) -> tuple[str, ...]:
    """Run every job to its end on the cluster that this process is connected to.

    Args:
        jobs: the jobs to run. They start in order as the cluster has room, and a few wait ahead.
        sink: receives the messages.
        workloads: workloads by `TrialSpec.program`, which is the name of an installed one. Each is
            pickled once, and workers import its module.
        load_data: loads a workload's data set by name. It is called once for each data set, and the
            arrays are shared.
        options: the options of the run.
        stop: once it is set, nothing more starts, running attempts are cancelled, and `run`
            returns.

    Returns:
        A line for each size of packs that was measured, and for each node that the run avoided,
        with the reason.

    Raises:
        ResourceError: a job asks for more than any node has, and then no job starts; or the
            cluster's head is gone, and then the sink has all messages that arrived before.
    """
    options = options or Options()
    nodes = Nodes()
    require(jobs, nodes, wait_s=options.node_wait_s)
    tasks = Tasks(workloads, load_data, options)
    stopped = stop or threading.Event()
    with watching_head(ray.get_runtime_context().gcs_address) as head:

        def going() -> bool:
            head.answers()  # raises once the head is gone
            return not stopped.is_set()

        packs, notes = pack_sizes(
            jobs, workloads, options, sink=sink, tasks=tasks, nodes=nodes, going=going
        )
        driver = Driver(jobs, sink, tasks=tasks, nodes=nodes, options=options, packs=packs)
        driver.run(head, stopped)
    return (*notes, *driver.notes)


class Head(Protocol):
    """The cluster's head, as the driver sees it."""

    def answers(self) -> bool:
        """Return whether the head answered lately.

        Raises:
            ResourceError: it has not answered for too long.
        """

    def gone(self) -> bool:
        """Return whether the head has not answered for too long."""


@dataclass(eq=False)
class _Trial:
    """An unfinished trial and its attempts so far."""

    job: Job
    attempts: TrialAttempts
    epoch: int = 0
    """The last epoch that the driver has heard of from the latest attempt."""
    alone: bool = False
    """Whether it runs in a pack by itself from now on, because a pack with it has failed."""
    unpacked: bool = False
    """Whether it runs in no pack from now on, because a pack with nothing else has failed."""
    lost_at: int = -1
    """The epoch at which the last pack with it was lost."""

    @property
    def suspected(self) -> bool:
        """Whether its method may have failed, alone or with others."""
        return self.alone or bool(self.attempts.suspicions)


@dataclass(eq=False)
class _Attempt:
    """One attempt at one trial, or at the trials of a pack. It runs on a node or waits for one."""

    job: Job
    """The trial's job, or that of the pack's first trial."""
    trials: dict[int, _Trial]
    """The trials that have not ended, by their place in the pack."""
    stream: Stream
    blamed: bool = False
    """Whether the node has been blamed for a loss or a failure in this attempt. It is blamed once,
    however many trials the pack has."""
    node: str = ""
    """Ray's id of the node on which it runs; empty while it waits for a worker."""
    host: str = ""
    heard_s: float | None = None
    """When the last message came; None while it waits for a worker."""


class Driver:
    """The state of one call of `run`.

    Args:
        jobs: the jobs to run.
        sink: receives the messages.
        tasks: starts attempts.
        nodes: the cluster's nodes.
        options: the options of the run.
        packs: the size of the packs of each experiment whose trials run in packs.
        clock: a monotonic clock in seconds. It leaves out the time in which this process was
            stopped.
    """

    def __init__(
        self,
        jobs: Sequence[Job],
        sink: Sink,
        *,
        tasks: AttemptTasks,
        nodes: ClusterNodes,
        options: Options,
        packs: Mapping[str, int] = MappingProxyType({}),
        clock: Callable[[], float] = awake_s,
    ) -> None:
        self._sink = sink
        self._tasks = tasks
        self._nodes = nodes
        self._options = options
        self._clock = clock
        self._packs = packs
        self._queues: defaultdict[Request, deque[list[Job]]] = defaultdict(deque)
        """Jobs that have not started, as attempts will run them, by what they request. A job that
        waits for a GPU delays no others."""
        for together in self._together(jobs):
            self._queues[request(together[0])].append(together)
        self._running: dict[Stream, _Attempt] = {}
        self._batch: list[tuple[Job, Message]] = []
        """Messages that were read and that the sink has not got yet."""
        self._again: list[tuple[float, _Trial]] = []
        """Trials to retry, each with the time of its next attempt."""
        self._health = NodeHealth()
        self._health.unfit.update(nodes.unfit())
        self._ahead = nodes.ahead()
        self._looked_s = clock()
        self._nowhere_since: dict[Request, float] = {}
        """Requests that no node can meet, each with the time since when."""
        self.notes = tuple(
            f"{nodes.name(node)}: {why}; no trial runs on this node"
            for node, why in self._health.unfit.items()
        )
        """The nodes that the run avoids, each with the reason."""

    def run(self, head: Head, stop: threading.Event) -> None:
        """Run until no trial is left, or until `stop` is set."""
        try:
            while not stop.is_set():
                if head.answers():
                    self._hand_out()
                if self._running:
                    self._take_in()
                    self._check_progress()
                elif self._again or any(self._queues.values()):
                    stop.wait(_POLL_S)
                else:
                    return
        finally:
            if not head.gone():
                self._tasks.cancel(list(self._running), wait_s=self._options.stop_s)

    def _hand_out(self) -> None:
        """Start attempts, so that a few wait for a worker. Retries come first."""
        self._give_up_without_nodes()
        for trials in self._due():
            self._start(trials)
        waiting = Counter(request(each.job) for each in self._waiting())
        for asked, queue in self._queues.items():
            while queue and waiting[asked] < self._ahead:
                jobs = queue.popleft()
                self._start([_Trial(job, TrialAttempts(self._options.retries)) for job in jobs])
                waiting[asked] += 1

    def _together(self, jobs: Iterable[Job]) -> Iterator[list[Job]]:
        """Put the jobs of each experiment that runs in packs together, and every other by itself.

        A pack stands where its first job stood.
        """
        open_packs: dict[str, list[Job]] = {}
        groups: list[list[Job]] = []
        for job in jobs:
            group = open_packs.get(job.experiment)
            if group is None or len(group) == self._packs[job.experiment]:
                group = []
                groups.append(group)
                if job.experiment in self._packs:
                    open_packs[job.experiment] = group
            group.append(job)
        return iter(groups)

    def _due(self) -> list[list[_Trial]]:
        """Remove the failed trials whose retry is due, and return them as attempts will run them.

        The trials of a lost pack run as a pack again. A trial whose method may have failed runs in
        a pack by itself, so that the others do not wait in a fresh process.
        """
        if not self._again:
            return []
        now_s = self._clock()
        due = [trial for when_s, trial in self._again if when_s <= now_s]
        self._again = [entry for entry in self._again if entry[0] > now_s]
        lost = {each.job.spec.id: each for each in due if not each.suspected}
        packs = self._together(trial.job for trial in lost.values())
        return [
            *([trial] for trial in due if trial.suspected),
            *([lost[job.spec.id] for job in jobs] for jobs in packs),
        ]

    def _waiting(self) -> list[_Attempt]:
        return [attempt for attempt in self._running.values() if not attempt.node]

    def _start(self, trials: Sequence[_Trial]) -> None:
        checkpoints = [self._sink.resume_point(trial.job) for trial in trials]
        for trial, checkpoint in zip(trials, checkpoints, strict=True):
            trial.epoch = checkpoint.epoch if checkpoint else 0
        job = trials[0].job
        stream = self._tasks.start(
            [trial.job for trial in trials],
            checkpoints,
            pack=0 if trials[0].unpacked else self._packs.get(job.experiment, 0),
            fresh=any(trial.attempts.suspicions for trial in trials),
            avoided=self._avoided(trials),
        )
        self._running[stream] = _Attempt(job, dict(enumerate(trials)), stream)

    def _avoided(self, trials: Sequence[_Trial]) -> Collection[str]:
        """Return the nodes that the trials' next attempt avoids.

        It never uses an unfit node. It avoids the other nodes on the list only if some node remains
        that can run the trial.
        """
        never = set(self._health.unfit)
        own = set().union(*(trial.attempts.avoided for trial in trials))
        rather_not = own | self._health.avoided | self._health.held()
        for some in (rather_not, own):
            if some and self._nodes.can_meet(request(trials[0].job), without=never | some):
                return never | some
        return never

    def _take_in(self) -> None:
        """Wait for messages, and give the sink all that have arrived, so that it writes once."""
        ready = self._tasks.ready(list(self._running), timeout_s=_POLL_S)
        try:
            while ready:
                for stream in ready:
                    # The loss of another attempt may have just cancelled this one.
                    if attempt := self._running.get(stream):
                        self._next(attempt)
                # Read on at once: if a worker is lost, so is what it has sent and nobody has read.
                more = [stream for stream in ready if stream in self._running]
                few = len(self._batch) < _MOST_MESSAGES
                ready = self._tasks.ready(more, timeout_s=0) if few else []
        finally:
            self._deliver()

    def _deliver(self) -> None:
        """Give the sink what was read, also before it hears of a retry that came later."""
        if self._batch:
            batch, self._batch = self._batch, []
            self._sink.receive(batch)

    def _next(self, attempt: _Attempt) -> None:
        """Read the attempt's next messages, act on ends, and keep what is to be recorded."""
        for sent in self._tasks.read(attempt.stream, placed=bool(attempt.node)):
            attempt.heard_s = self._clock()
            kept: Sequence[tuple[Job, Message]] = ()
            match sent:
                case Placed():
                    attempt.node, attempt.host = sent.node, sent.host
                case Refused():
                    self._refused(attempt, sent)
                case Lost():
                    kept = self._lost_whole(attempt, sent.error, sent.message)
                case OfTrial(index, message) if index is not None:
                    kept = self._hear(attempt, index, message)
                case OfTrial(_, Output() as printed):
                    kept = [(trial.job, printed) for trial in attempt.trials.values()]
                case OfTrial(_, message):
                    assert isinstance(message, Failure), "nothing else has no trial"  # noqa: S101
                    kept = self._pack_failed(attempt, message)
                case _:
                    kept = self._hear(attempt, 0, sent)
            self._batch += kept

    def _hear(
        self, attempt: _Attempt, index: int, message: Message
    ) -> Sequence[tuple[Job, Message]]:
        """Act on the message of one trial. Return what to record."""
        trial = attempt.trials[index]
        match message:
            case Failure(kind=FailureKind.INFRASTRUCTURE):
                why, trace = (message.error, message.message), message.traceback
                return self._lost(attempt, [index], *why, trace=trace)
            case Failure():
                return [(trial.job, each) for each in self._failed(attempt, index, message)]
            case Started():
                trial.epoch = message.resumed_from
            case EpochRecord():
                trial.epoch = message.epoch
                self._passed(trial, message.epoch, final=False)
            case FinalRecord():
                self._passed(trial, message.epoch, final=True)
            case Finished():
                self._end(attempt, index)
                self._health.succeeded(attempt.node)
        return [(trial.job, message)]

    def _pack_failed(self, attempt: _Attempt, failure: Failure) -> list[tuple[Job, Message]]:
        """Handle the failure of a pack as a whole.

        If the machine caused it, the pack is lost. If not, nobody knows which trial made the pack
        fail, so each is tried in a pack by itself. What fails there too is tried without a pack,
        because the program of the pack may be at fault. What fails without a pack has failed, and
        what does not fail is blamed for nothing.
        """
        if failure.kind is FailureKind.INFRASTRUCTURE:
            why, trace = (failure.error, failure.message), failure.traceback
            return self._lost_whole(attempt, *why, trace=trace)
        trials = [self._end(attempt, index) for index in list(attempt.trials)]
        for trial in trials:
            trial.alone, trial.unpacked = True, len(trials) == 1
            trial.attempts.number += 1
        self._try_again([(trial, replace(failure, epoch=trial.epoch)) for trial in trials])
        return []

    def _lost_whole(
        self, attempt: _Attempt, error: str, message: str, *, trace: str = "", avoid: bool = False
    ) -> list[tuple[Job, Message]]:
        """Handle the loss of a whole attempt. A pack usually runs as a pack again.

        If the pack ran out of memory, or was lost twice before the same epoch, each of its trials
        runs in a pack by itself. Such a pack may need as much memory and time as the full one,
        because it computes every lane. So if it is lost too, its trial runs without a pack.
        """
        trials = attempt.trials.values()
        too_large = _OF_MEMORY.search(f"{error} {message}") is not None
        stuck = all(trial.epoch <= trial.lost_at for trial in trials)
        for trial in trials:
            trial.unpacked |= trial.alone and (too_large or stuck)
            trial.alone |= too_large or stuck
            trial.lost_at = trial.epoch
        return self._lost(attempt, list(attempt.trials), error, message, trace=trace, avoid=avoid)

    def _end(self, attempt: _Attempt, index: int) -> _Trial:
        """Take a trial out of its attempt, which is over once it has none left."""
        trial = attempt.trials.pop(index)
        if not attempt.trials:
            del self._running[attempt.stream]
        return trial

    def _passed(self, trial: _Trial, epoch: int, *, final: bool) -> None:
        """Record the suspected failures that this trial got past as the machine's."""
        if not trial.attempts.suspicions:
            return
        for suspicion in trial.attempts.passed(epoch, final=final):
            self._remember(trial.job, suspicion, Overruled.PASSED)
            self._health.prove(suspicion.node, trial.job.spec.id)
            self._judge_node(suspicion.node, trial.job, suspicion.failure.error)

    def _failed(self, attempt: _Attempt, index: int, failure: Failure) -> list[Message]:
        """Handle a failure of the method: retry to see whether it happens again, or record it."""
        trial = self._end(attempt, index)
        attempts, trial_id = trial.attempts, trial.job.spec.id
        suspects = {suspicion.node for suspicion in attempts.suspicions}
        outcome = attempts.failed(failure, attempt.node, attempt.host)
        if outcome is None:
            if not attempt.blamed:
                self._health.suspect(attempt.node, trial_id)
            attempt.blamed = True
            held = self._health.held()
            never = {*self._health.unfit, *self._health.avoided, *held}
            if attempt.node in held and self._nodes.can_meet(request(attempt.job), without=never):
                self._call_back_waiting()
            self._try_again([(trial, failure)])
            return []
        if outcome.kind is FailureKind.SCIENTIFIC:
            for node in {attempt.node, *suspects}:
                self._health.succeeded(node)  # the method failed, not the node
        else:
            self._remember_all(trial)
        return [outcome]

    def _lost(
        self,
        attempt: _Attempt,
        indices: Sequence[int],
        error: str,
        message: str,
        *,
        trace: str = "",
        avoid: bool = False,
    ) -> list[tuple[Job, Message]]:
        """Handle a loss to infrastructure: retry the trials, or give them up and record the loss.

        Args:
            attempt: the attempt.
            indices: the lost trials, by their place in it.
            error: name of what happened.
            message: what happened.
            trace: the traceback.
            avoid: whether the trials avoid the node at once.
        """
        trials = [self._end(attempt, index) for index in indices]
        if not attempt.blamed:
            self._health.lost(attempt.node, attempt.job.spec.id)
            self._judge_node(attempt.node, attempt.job, error)
        attempt.blamed = True
        again: list[tuple[_Trial, Failure]] = []
        given_up: list[tuple[Job, Message]] = []
        for trial in trials:
            failure = Failure(FailureKind.INFRASTRUCTURE, error, message, trial.epoch, trace)
            outcome = trial.attempts.lost(failure, attempt.node, avoid=avoid)
            if outcome is None:
                again.append((trial, failure))
            else:
                self._remember_all(trial)
                given_up.append((trial.job, outcome))
        self._try_again(again)
        return given_up

    def _try_again(self, failed: Sequence[tuple[_Trial, Failure]]) -> None:
        """Retry trials that failed together. Their waits begin together, so they end together."""
        self._deliver()
        now_s = self._clock()
        for trial, failure in failed:
            number = trial.attempts.number
            wait_s = backoff_s(number - 1, self._options.backoff_s)
            self._again.append((now_s + wait_s, trial))
            self._sink.retrying(trial.job, failure, attempt=number, wait_s=wait_s)

    def _remember_all(self, trial: _Trial) -> None:
        """Record the suspected failures of a trial that ends without an outcome of the method."""
        for suspicion in trial.attempts.suspicions:
            self._remember(trial.job, suspicion, Overruled.UNREPEATED)

    def _remember(self, job: Job, suspicion: Suspicion, why: Overruled) -> None:
        now_ms = time.time_ns() // 1_000_000
        past = PastFailure(suspicion.failure, why, now_ms, suspicion.host, suspicion.attempt)
        self._deliver()
        self._sink.remember(job, past)

    def _judge_node(self, node: str, job: Job, error: str) -> None:
        """Avoid the node from now on if it has lost too many attempts and another can take over.

        A dead node is not mentioned, because nothing can start on it.
        """
        health = self._health
        if node in health.avoided or not health.loses(node) or not self._nodes.has(node):
            return
        others = {*health.unfit, *health.avoided, node}
        if self._nodes.can_meet(request(job), without=others):
            health.avoided.add(node)
            self._note(f"{self._nodes.name(node)}: lost attempts in a row, the last with {error}")
            self._call_back_waiting()

    def _refused(self, attempt: _Attempt, refused: Refused) -> None:
        """Mark the node as unfit and requeue the trial. This costs the trial no attempt."""
        del self._running[attempt.stream]
        node = refused.node or attempt.node
        self._requeue(attempt)
        if node not in self._health.unfit:
            self._health.unfit[node] = refused.why
            self._note(f"{self._nodes.name(node)}: {refused.why}")
            self._call_back_waiting()
            self._looked_s = -_LOOK_S  # check at once whether another node is left

    def _note(self, text: str) -> None:
        note = f"{text}; no further trial runs on this node"
        self.notes = (*self.notes, note)
        _log.warning("%s", note)

    def _call_back_waiting(self) -> None:
        """Cancel and requeue what waits for a worker: Ray might place it on an avoided node."""
        waiting = self._waiting()
        self._tasks.cancel([attempt.stream for attempt in waiting])
        for attempt in waiting:
            del self._running[attempt.stream]
            self._requeue(attempt)

    def _requeue(self, attempt: _Attempt) -> None:
        self._again += [(self._clock(), trial) for trial in attempt.trials.values()]

    def _give_up_without_nodes(self) -> None:
        """Record trials as lost if the cluster has had no node for them for too long."""
        now_s = self._clock()
        if now_s - self._looked_s < _LOOK_S:
            return
        self._looked_s = now_s
        asked = {request(trial.job) for _, trial in self._again}
        asked |= {request(attempt.job) for attempt in self._waiting()}
        asked |= {each for each, queue in self._queues.items() if queue}
        self._nowhere_since = {
            each: self._nowhere_since.get(each, now_s)
            for each in asked
            if not self._nodes.can_meet(each, without=self._health.unfit)
        }
        for each, since_s in self._nowhere_since.items():
            limit_s = self._node_limit_s(each)
            if now_s - since_s >= limit_s:
                self._give_up(each, limit_s)

    def _node_limit_s(self, asked: Request) -> float:
        if self._nodes.may_grow():
            return self._options.node_wait_s
        # If only unfit nodes are left, do not wait: no other node is known to be coming.
        return 0.0 if self._nodes.can_meet(asked) else _NODE_RETURN_S

    def _give_up(self, asked: Request, waited_s: float) -> None:
        """End every trial with this request that has not begun, and record it as lost."""
        unfit = [f"{self._nodes.name(node)}: {why}" for node, why in self._health.unfit.items()]
        message = "; ".join(["no node is left that can run it", *unfit])
        if waited_s:
            message += f", and none has come within {waited_s:g} s"
        _log.error("%s", message)
        failure = Failure(FailureKind.INFRASTRUCTURE, "ResourceError", message, 0)
        ended = [trial for _, trial in self._again if request(trial.job) == asked]
        self._again = [entry for entry in self._again if request(entry[1].job) != asked]
        waiting = [attempt for attempt in self._waiting() if request(attempt.job) == asked]
        self._tasks.cancel([attempt.stream for attempt in waiting])
        for attempt in waiting:
            del self._running[attempt.stream]
            ended += attempt.trials.values()
        for trial in ended:
            self._remember_all(trial)
        queue = self._queues.pop(asked, deque())
        jobs = [*(trial.job for trial in ended), *chain.from_iterable(queue)]
        self._sink.receive([(job, replace(failure)) for job in jobs])

    def _check_progress(self) -> None:
        """Give up attempts that have sent nothing for too long.

        A node that is cut off may go on training. This is harmless, because the driver no longer
        reads what it sends.
        """
        for attempt in list(self._late()):
            if attempt.stream not in self._running:
                continue  # cancelled in the meantime
            self._tasks.cancel([attempt.stream])
            # If the node is cut off, Ray believes for another minute that it is free.
            why = f"nothing was heard for {self._deadline_s(attempt.job):g} s"
            last = self._lost_whole(attempt, "NoProgress", why, avoid=True)
            if last:
                self._sink.receive(last)

    def _late(self) -> Iterator[_Attempt]:
        now_s = self._clock()
        for attempt in self._running.values():
            limit_s = self._deadline_s(attempt.job)
            if attempt.heard_s is not None and now_s - attempt.heard_s > limit_s:
                yield attempt

    def _deadline_s(self, job: Job) -> float:
        """Return the timeout of a trial: its manifest's own, or else that of the run."""
        return job.resources.deadline_s or self._options.deadline_s
