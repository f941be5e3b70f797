"""Choose how many trials of an experiment run as one pack."""

import logging
import math
import os
import pickle
import resource
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from harness.engine.interface import ClusterNodes, Sink, request
from harness.options import Options
from harness.plan import Job
from harness.record import Failure
from harness.source import (
    available_gpu_memory_bytes,
    available_memory_bytes,
    peak_gpu_memory_bytes,
)
from harness.variables import Variables, trial_environment
from harness.workload import Arrays, Context, Packing, Row, Workload

_log = logging.getLogger(__name__)

AUTO = "auto"

_GAIN = 1.1
"""A pack must be this much faster than single trials to be chosen, so that noise chooses none."""

_EPOCHS = 2
"""Epochs that are timed, after one that compiles and fills caches."""

_SHARE = 0.5
"""Share of a node's available memory, and of a GPU's, that the packs on it may use together."""

_LEAST_BYTES = 16 * 1024**2
"""Least memory that a trial of a pack is taken to need: it may fit into what another has freed."""

_FORM = "pack of "


@dataclass(frozen=True)
class Measured:
    """What the first epochs of an experiment showed."""

    size: int
    """The size to run; 1 is no pack."""
    text: str
    """The measurement in words."""


class MeasuringTasks(Protocol):
    """Measures packs on workers."""

    def measure(
        self,
        jobs: Sequence[Sequence[Job]],
        *,
        avoided: Collection[str],
        going: Callable[[], bool],
    ) -> Sequence[Measured]:
        """Time single trials and packs of the jobs of each experiment, and return the choices.

        A measurement that makes no progress for as long as a trial may, ends with single trials.

        Args:
            jobs: the jobs of each experiment; no pack is larger.
            avoided: Ray's ids of the nodes on which nothing must run.
            going: whether to go on. If not, all that is not measured yet runs as single trials.
        """


def pack_sizes(
    jobs: Sequence[Job],
    workloads: Mapping[str, Workload],
    options: Options,
    *,
    sink: Sink,
    tasks: MeasuringTasks,
    nodes: ClusterNodes,
    going: Callable[[], bool],
) -> tuple[dict[str, int], list[str]]:
    """Return the size of the packs of each experiment whose trials run in packs.

    With 'auto', an experiment that has checkpoints keeps the size of its packs, because they cannot
    be resumed in packs of another size. No other pack gets so large that workers stay idle.

    Args:
        jobs: the trials that are left.
        workloads: workloads by name.
        options: the options of the run.
        sink: has the checkpoints.
        tasks: measures.
        nodes: the cluster's nodes.
        going: whether the run goes on.

    Returns:
        The sizes by experiment, and a line for each choice that was measured.
    """
    if options.pack == "1":
        return {}, []
    experiments: defaultdict[str, list[Job]] = defaultdict(list)
    for job in jobs:
        if isinstance(workloads[job.spec.program], Packing):
            experiments[job.experiment].append(job)
    if options.pack != AUTO:
        return dict.fromkeys(experiments, int(options.pack)), []
    sizes: dict[str, int] = {}
    open_: dict[str, list[Job]] = {}
    alike = Counter(map(request, jobs))
    for name, group in experiments.items():
        asked = request(group[0])
        most = math.ceil(alike[asked] / max(1, nodes.slots(asked)))
        if (kept := _kept_size(group, sink)) is not None:
            sizes[name] = kept
        elif min(most, len(group)) > 1:
            open_[name] = group[:most]
    found = tasks.measure(list(open_.values()), avoided=nodes.unfit(), going=going)
    notes = []
    for name, choice in zip(open_, found, strict=True):
        sizes[name] = choice.size
        notes.append(f"{name}: {choice.text}")
    return {name: size for name, size in sizes.items() if size > 1}, notes


def _kept_size(jobs: Sequence[Job], sink: Sink) -> int | None:
    """Return the size of the packs that the checkpoints come from; None if there are none."""
    for job in jobs:
        if checkpoint := sink.resume_point(job):
            _, found, size = checkpoint.form.rpartition(_FORM)
            return int(size) if found and size.isdecimal() else 1
    return None


def measured(
    jobs: Sequence[Job],
    device: str,
    options: Mapping[str, object],
    variables: Variables,
    workload: bytes | Failure,
    *data: Arrays,
) -> Iterator[Measured | None]:
    """Time the first epochs of a single trial and of packs in this process, and throw them away.

    The largest pack holds every job, or as many as its share of the memory allows.

    Args:
        jobs: the jobs of one experiment, at least two.
        device: 'cpu' or 'cuda'.
        options: the workload's options.
        variables: the driver's variables that the workload reads.
        workload: the pickled workload, or why it could not be prepared.
        data: the data sets, in the spec's order.

    Yields:
        None as a sign of progress, at the beginning and after every epoch; the choice at the end.
    """
    yield None
    if isinstance(workload, Failure):
        yield Measured(1, "single trials; its workload cannot be prepared")
        return
    first = jobs[0]
    with trial_environment(variables), tempfile.TemporaryDirectory() as folder:
        loaded: Workload = pickle.loads(workload)  # noqa: S301 - the driver has pickled it
        assert isinstance(loaded, Packing)  # noqa: S101 - only these are measured
        parameters = loaded.parameters.model_validate(dict(first.spec.parameters))

        def context(job: Job) -> Context:
            return Context(
                job.spec.seed,
                dict(zip(first.spec.data, data, strict=True)),
                device,
                job.resources.threads,
                options,
                job.spec.length,
                Path(tempfile.mkdtemp(dir=folder)),
            )

        def alone() -> _Timed:
            run = loaded.start(parameters, context(first))
            return _Timed(lambda: [run.epoch()], first.epochs)

        def packed(size: int) -> _Timed:
            pack = loaded.start_pack(parameters, [context(job) for job in jobs[:size]], size)
            return _Timed(lambda: pack.epoch(range(size)), first.epochs)

        alone_s = yield from alone().shortest_s()
        memory = _Memory(first)
        try:
            best_s, best = (yield from packed(2).shortest_s()) / 2, 2
        except Exception as error:  # noqa: BLE001 - no memory, or whatever the workload raises
            yield Measured(1, f"single trials; packs fail with {type(error).__name__}: {error}")
            return
        size = 2
        try:
            while (larger := memory.next_size(size, len(jobs))) > size:
                packed(larger).epoch()
                yield None
                if not memory.suffices():
                    break
                size = larger
        except Exception as error:  # noqa: BLE001 - as above
            _log.info("a pack of %d fails: %s", larger, error)
        if size > 2:
            best_s, best = min(
                (best_s, best), ((yield from packed(size).shortest_s()) / size, size)
            )
    gain = alone_s / best_s
    told = f"{gain:.1f} times the speed of single trials"
    if gain < _GAIN:
        yield Measured(1, f"single trials; a pack of {best} has {told}")
    else:
        yield Measured(best, f"packs of {best}, {told}")


class _Timed:
    """A trial or a pack whose epochs are timed.

    Args:
        epoch: runs the next epoch, and returns the result of each trial.
        last: the last epoch of the run.
    """

    def __init__(self, epoch: Callable[[], Sequence[object]], last: int) -> None:
        self._epoch, self._last = epoch, last
        self._taken_s: list[float] = []
        self._over = False

    def epoch(self) -> None:
        """Run the next epoch. A trial that fails ends the measurement: its time says nothing."""
        began_s = time.perf_counter()
        results = self._epoch()
        self._taken_s.append(time.perf_counter() - began_s)
        for result in results:
            if isinstance(result, Exception):
                raise result
        number = len(self._taken_s)
        self._over = all(
            result is None or (result.epoch if isinstance(result, Row) else number) >= self._last
            for result in results
        )

    def shortest_s(self) -> Generator[None, None, float]:
        """Run a few epochs, as far as the run has them, and return the shortest time of one."""
        while not self._over and len(self._taken_s) <= _EPOCHS:
            self.epoch()
            yield
        return min(self._taken_s[1:] or self._taken_s)


class _Memory:
    """What packs add to the memory of the trial that ran before them in this process.

    Args:
        job: one of the pack's jobs.
    """

    def __init__(self, job: Job) -> None:
        self._before = _peaks_bytes()
        slots = max(1.0, (os.cpu_count() or 1) / max(job.resources.cpus, 0.01))
        self._room = [_SHARE * available_memory_bytes() / slots]
        """What one pack may add if the node is full of packs: of the machine's memory, and of the
        GPU's."""
        if gpu := available_gpu_memory_bytes():
            free, total = gpu
            self._room.append(_SHARE * min(free, total * min(1.0, job.resources.gpus)))
        self._last = 0, [0] * len(self._room)
        """The size before, and what it had added."""

    def next_size(self, size: int, most: int) -> int:
        """Return the next size to try after a pack of `size`; no larger one if none fits.

        What a trial adds is what the trials since the last size have added. The next size is at
        most double, because the first trials of a pack may fit into memory that the single trial
        has freed, and then seem to need none.
        """
        smaller, before = self._last
        added = self._added()
        self._last = size, added
        fits = (
            size + int((room - now) / max(_LEAST_BYTES, (now - then) / (size - smaller)))
            for now, then, room in zip(added, before, self._room, strict=False)
        )
        return min([most, 2 * size, *fits])

    def suffices(self) -> bool:
        """Whether the packs so far took no more than they may."""
        return all(now <= room for now, room in zip(self._added(), self._room, strict=False))

    def _added(self) -> list[int]:
        return [now - then for now, then in zip(_peaks_bytes(), self._before, strict=False)]


def _peaks_bytes() -> list[int]:
    """Return this process's largest memory so far, and its tensors' largest memory on the GPU."""
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    gpu = peak_gpu_memory_bytes()
    return [own] if gpu is None else [own, gpu]
