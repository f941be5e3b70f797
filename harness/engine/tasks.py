"""Run attempts at trials as Ray tasks that stream their messages to the driver."""

import math
import re
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from socket import gethostname
from typing import Any

import numpy as np
import ray
from ray import cloudpickle
from ray.exceptions import RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from harness.engine.cluster import awake_s
from harness.engine.interface import Lost, OfTrial, Placed, Refused, Sent, Stream
from harness.engine.nodes import alive, software
from harness.engine.packs import Measured, measured
from harness.engine.trial_output import capture
from harness.engine.worker import Call, for_all, machines_failure, stream
from harness.engine.worker_process import (
    MANY_CALLS,
    MIB,
    attempt_folder,
    retire,
    session_folder,
    settings,
)
from harness.errors import HarnessError
from harness.options import Options
from harness.plan import Job
from harness.record import (
    ArtifactPart,
    Checkpoint,
    CheckpointPart,
    Failure,
    FailureKind,
    FileSlice,
)
from harness.source import source, workload_code
from harness.trial import failure
from harness.variables import Variables, carried, trial_environment
from harness.workload import Arrays, Workload

_GATHER_S = 0.006
"""How long the driver lets messages gather once the first has come, in seconds. To ask Ray for each
message alone, and to store it alone, takes longer when trials are short."""

_MEASURING_POLL_S = 0.2

UNREAD = 16
"""Number of batches by which a worker may be ahead of the driver."""

_NODE_ID = "ray.io/node-id"
"""The label in which Ray keeps every node's id."""

_FRESH = {"HARNESS_FRESH_PROCESS": "1"}
"""An environment variable that gives a task a process in which nothing has run before. Ray gives a
task a worker that was started with the task's environment. Only tasks that need a fresh process set
this variable, and each of them ends its worker."""


def placed_stream(
    call: Call,
    home: str,
    variables: Variables,
    workload: bytes | Failure,
    *data: Arrays,
) -> Iterator[Sequence[Sent]]:
    """Run one attempt on the worker, which runs no further trial unless this one left it clean.

    Args:
        call: the attempt.
        home: Ray's id of the driver's node, which has the checkpoint's payload if it is a file.
        variables: the driver's environment variables that the workload reads. They are an argument
            because Ray shows a runtime environment's variables in its logs, state and dashboard.
        workload: the pickled workload, or the reason why it could not be prepared. `stream`
            unpickles it rather than Ray, because that imports its module, whose code may do
            anything.
        data: the data sets that the spec names, in its order.
    """
    yield [Placed(ray.get_runtime_context().get_node_id(), gethostname())]
    if differences := call.software.differences(software()):
        # The nodes were compared at the start, so this one has joined since.
        yield [Refused("; ".join(differences))]
        return
    clean = False
    try:
        with ExitStack() as stack:
            try:
                folder = stack.enter_context(attempt_folder(session_folder()))
                printed = stack.enter_context(capture(session_folder()).on())
            except OSError as error:  # this node's disk is full, say
                why = machines_failure(error, "the trial's folder cannot be made")
                yield list(for_all(call.checkpoints, why))
                return
            stack.enter_context(trial_environment(variables, hide=True))
            parts = _fetched(call.checkpoints[0], home)
            clean = yield from stream(
                call, workload, *data, folder=folder, parts=parts, printed=printed
            )
    finally:
        if not clean:
            retire()


def _fetched(checkpoint: Checkpoint | None, home: str) -> Iterator[bytes]:
    """Yield the parts of a checkpoint that is a file on the driver's node.

    A task there reads them a few ahead, so that neither the driver nor Ray holds the whole file.
    """
    if checkpoint and isinstance(checkpoint.payload, FileSlice):
        at_home = _parts.options(
            scheduling_strategy=NodeAffinitySchedulingStrategy(home, soft=False),
            _generator_backpressure_num_objects=UNREAD,
        )
        yield from map(ray.get, at_home.remote(checkpoint.payload))


class Tasks:
    """Starts attempts. It puts each workload and data set into Ray's object store once.

    Args:
        workloads: workloads by `TrialSpec.program`, which is the name of an installed one. Workers
            must be able to import their modules.
        load_data: loads a workload's data set by name.
        options: the options of the run.
    """

    def __init__(
        self,
        workloads: Mapping[str, Workload],
        load_data: Callable[[Workload, str], Arrays],
        options: Options,
    ) -> None:
        self._workloads = workloads
        self._load_data = load_data
        self._options = options
        self._source = source()
        self._code = {name: workload_code(each) for name, each in workloads.items()}
        self._variables: dict[str, Variables] = {}
        """The environment variables that each experiment's workload reads, with this process's
        values."""
        self._home = ray.get_runtime_context().get_node_id()
        self._remotes: dict[tuple[int, bool], Any] = {}
        """Remote functions by the number of threads, and by whether their process is fresh. Ray
        writes a function's environment down once, but those of `options` for each task."""
        self._workload_refs: dict[str, Any] = {}
        """References by `TrialSpec.program`."""
        self._data_refs: dict[tuple[str, str], Any] = {}
        """References by name and digest, so that workloads that read the same data set share it."""
        self._large = False
        """Whether the last message read was large. The sink must take it before the next is read,
        and if it was a part of a file, more of them wait."""

    def start(
        self,
        jobs: Sequence[Job],
        checkpoints: Sequence[Checkpoint | None],
        *,
        pack: int,
        fresh: bool,
        avoided: Collection[str],
    ) -> Stream:
        """Queue one attempt; see `harness.engine.interface.AttemptTasks`."""
        job = jobs[0]
        resources = job.resources
        call = Call(
            jobs=tuple(jobs),
            source=self._source,
            software=software(),
            device="cuda" if resources.gpus else "cpu",
            options=self._options.workload,
            checkpoints=tuple(checkpoints),
            checkpoint_interval_s=self._options.checkpoint_interval_s,
            workload_code=self._code[job.spec.program],
            pack=pack,
        )
        seeds = ", ".join(str(each.spec.seed) for each in jobs)
        task = self._remote(resources.threads, fresh=fresh).options(
            name=f"{job.experiment} seed{'s' if len(jobs) > 1 else ''} {seeds}",
            num_cpus=resources.cpus,
            num_gpus=resources.gpus,
            label_selector=_outside(avoided),
            _generator_backpressure_num_objects=UNREAD,
        )
        return task.remote(call, self._home, *self._prepared(job))

    def _remote(self, threads: int, *, fresh: bool) -> Any:
        """Return the remote function for trials of so many threads."""
        key = threads, fresh
        if key not in self._remotes:
            self._remotes[key] = ray.remote(
                max_calls=1 if fresh or self._options.isolate else MANY_CALLS,
                max_retries=0,
                num_returns="streaming",
                runtime_env={"env_vars": settings(threads) | (_FRESH if fresh else {})},
            )(placed_stream)
        return self._remotes[key]

    def _prepared(self, job: Job) -> list[Any]:
        """Return the job's variables, workload and data sets, as arguments of the task.

        If the workload raises here, only its own trials fail: a worker sends the error as their
        outcome. The error counts as infrastructure, because nothing of the method has run.
        """
        try:
            return [self._carried(job), *self._shared(job)]
        except (KeyboardInterrupt, HarnessError, RayError):
            raise
        except BaseException as error:  # noqa: BLE001 - the workload's own code, which may even exit
            return [Variables(), replace(failure(error, 0), kind=FailureKind.INFRASTRUCTURE)]

    def measure(
        self,
        jobs: Sequence[Sequence[Job]],
        *,
        avoided: Collection[str],
        going: Callable[[], bool],
    ) -> Sequence[Measured]:
        """Time packs on workers; see `harness.engine.packs.MeasuringTasks`."""
        streams = {self._measuring(group, avoided): group[0] for group in jobs}
        found: dict[Stream, Measured] = {}
        heard_s: dict[Stream, float] = {}
        while (left := [each for each in streams if each not in found]) and going():
            ready, _ = ray.wait(left, num_returns=len(left), timeout=_MEASURING_POLL_S)
            for each in ready:
                heard_s[each] = awake_s()
                if choice := _choice(each):
                    found[each] = choice
            for each in left:
                limit_s = streams[each].resources.deadline_s or self._options.deadline_s
                if each not in found and awake_s() - heard_s.get(each, math.inf) > limit_s:
                    self.cancel([each])
                    why = f"nothing was heard for {limit_s:g} s while packs were measured"
                    found[each] = Measured(1, f"single trials; {why}")
        self.cancel([each for each in streams if each not in found])
        stopped = Measured(1, "single trials; packs were not measured to the end")
        return [found.get(each, stopped) for each in streams]

    def _measuring(self, group: Sequence[Job], avoided: Collection[str]) -> Stream:
        """Queue the measurement of one experiment."""
        asked = group[0].resources
        task = _measured.options(
            num_cpus=asked.cpus,
            num_gpus=asked.gpus,
            label_selector=_outside(avoided),
            runtime_env={"env_vars": settings(asked.threads)},
        )
        device = "cuda" if asked.gpus else "cpu"
        return task.remote(group, device, self._options.workload, *self._prepared(group[0]))

    def ready(self, streams: Sequence[Stream], *, timeout_s: float) -> Sequence[Stream]:
        """Wait until a stream can be read, and return all streams that can be read."""
        if not streams or (self._large and not timeout_s):
            return []
        if timeout_s:
            ready, _ = ray.wait(list(streams), num_returns=1, timeout=timeout_s)
            if ready and not self._large:
                time.sleep(_GATHER_S)
            self._large = False
        ready, _ = ray.wait(list(streams), num_returns=len(streams), timeout=0)
        return ready

    def read(self, stream: Stream, *, placed: bool) -> Sequence[Sent]:
        """Return the next messages of a ready stream. `placed`: it has already sent Placed."""
        try:
            messages: Sequence[Sent] = ray.get(next(stream))
        except StopIteration:
            return [Lost("StreamEnded", "the worker ended without a last word")]
        except RayError as error:
            if not isinstance(error, RayTaskError) or isinstance(error.cause, RayError):
                return [Lost(type(error).__name__, str(error))]
            if placed:
                raise  # a workload's exceptions come as messages, so this is our bug
            return [_unloaded(error)]
        self._large |= any(map(_is_large, messages))
        return messages

    def cancel(self, streams: Sequence[Stream], *, wait_s: float = 0.0) -> None:
        """End these attempts by force. Wait up to `wait_s` seconds until they have ended."""
        for each in streams:
            ray.cancel(each, force=True)
        if streams and wait_s:
            ends = [each.completed() for each in streams]
            ray.wait(ends, num_returns=len(ends), timeout=wait_s)

    def _carried(self, job: Job) -> Variables:
        if job.experiment not in self._variables:
            workload = self._workloads[job.spec.program]
            parameters = workload.parameters.model_validate(dict(job.spec.parameters))
            self._variables[job.experiment] = carried([(job.experiment, workload, parameters)])
        return self._variables[job.experiment]

    def _shared(self, job: Job) -> list[Any]:
        """Return references to the job's workload and to its data sets, in the spec's order."""
        workload = self._workloads[job.spec.program]
        program = job.spec.program
        if program not in self._workload_refs:
            self._workload_refs[program] = ray.put(
                cloudpickle.dumps(workload)  # type: ignore[no-untyped-call]
            )
        for key in job.spec.data.items():
            if key not in self._data_refs:
                self._data_refs[key] = ray.put(_plain(self._load_data(workload, key[0])))
        data = [self._data_refs[key] for key in job.spec.data.items()]
        return [self._workload_refs[program], *data]


def _choice(stream: Stream) -> Measured | None:
    """Read the next message of a measurement that can be read. Return its choice if it is over."""
    try:
        said: Measured | None = ray.get(next(stream))
    except (StopIteration, RayError) as error:  # the worker is lost, or the workload raised
        why = getattr(error, "cause", None) or error
        return Measured(1, f"single trials; measuring failed with {type(why).__name__}: {why}")
    return said


def _outside(avoided: Collection[str]) -> dict[str, str] | None:
    """Return the label selector of a task that must not run on these nodes."""
    return {_NODE_ID: f"!in({','.join(sorted(avoided))})"} if avoided else None


_measured: Any = ray.remote(max_calls=1, max_retries=0, num_returns="streaming")(measured)

# Its process ends with it: it has the environment of the trial that asks, and a trial that needs a
# fresh process must not get a used one.
_parts: Any = ray.remote(num_cpus=0, max_retries=0, max_calls=1, num_returns="streaming")(
    FileSlice.parts
)


def _is_large(sent: Sent) -> bool:
    """Whether it is part of a file, or a checkpoint in memory of more than a MiB."""
    message = sent.message if isinstance(sent, OfTrial) else sent
    if isinstance(message, Checkpoint):
        return not isinstance(message.payload, FileSlice) and len(message.payload) > MIB
    return isinstance(message, CheckpointPart | ArtifactPart)


_RAISED_AT = re.compile(r"\(pid=\d+, ip=(?P<ip>[^,)]+)")


def _unloaded(error: RayTaskError) -> Refused | Lost:
    """Return the end of a task that its worker could not load, as when a package is missing."""
    why = f"cannot load the trial: {error.cause}"
    # What Ray raises has the type of the cause too, and then no attribute with the address.
    found = _RAISED_AT.search(str(error))
    ip = found["ip"] if found else ""
    nodes = [node["NodeID"] for node in alive() if node["NodeManagerAddress"] == ip]
    return Refused(why, nodes[0]) if len(nodes) == 1 else Lost(type(error.cause).__name__, why)


def _plain(arrays: Arrays) -> Arrays:
    """Return the arrays as plain numpy arrays on the same memory.

    Ray hands on only plain numpy arrays without a copy. Each task would get its own, writable copy
    of a memory map.
    """
    return {name: array.view(np.ndarray) for name, array in arrays.items()}
