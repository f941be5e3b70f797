"""Choose how many trials of an experiment run as one pack."""

import os
import pickle
import resource
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from harness.engine.interface import Sink
from harness.options import Options
from harness.plan import Job
from harness.record import Failure
from harness.variables import Variables, trial_environment
from harness.workload import Arrays, Context, Packing, Workload

AUTO = "auto"

_GAIN = 1.1
"""A pack must be this much faster than single trials to be chosen, so that noise chooses none."""

_EPOCHS = 2
"""Epochs that are timed, after one that compiles and fills caches."""

_MEMORY = 0.5
"""Share of a node's available memory that the packs on it may use together."""

_LEAST_BYTES = 16 * 1024**2
"""Least memory that a further trial of a pack is taken to need: a second trial may fit into what
the first has freed."""

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

    def measure(self, jobs: Sequence[Sequence[Job]]) -> Sequence[Measured]:
        """Time single trials and packs of the jobs of each experiment, and return the choices."""


def pack_sizes(
    jobs: Sequence[Job],
    workloads: Mapping[str, Workload],
    options: Options,
    *,
    sink: Sink,
    tasks: MeasuringTasks,
) -> tuple[dict[str, int], list[str]]:
    """Return the size of the packs of each experiment whose trials run in packs.

    With 'auto', an experiment that has checkpoints keeps the size of its packs, because they cannot
    be resumed in packs of another size.

    Args:
        jobs: the trials that are left.
        workloads: workloads by name.
        options: the options of the run.
        sink: has the checkpoints.
        tasks: measures.

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
    for name, group in experiments.items():
        if (kept := _kept_size(group, sink)) is not None:
            sizes[name] = kept
        elif len(group) > 1:
            open_[name] = group
    notes = []
    for name, found in zip(open_, tasks.measure(list(open_.values())), strict=True):
        sizes[name] = found.size
        notes.append(f"{name}: {found.text}")
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
) -> Measured:
    """Time the first epochs of a single trial and of packs in this process, and throw them away.

    The largest pack holds every job, or as many as its share of the memory allows. What a pack of
    two adds to the peak of a single trial tells how much each further trial takes.

    Args:
        jobs: the jobs of one experiment.
        device: 'cpu' or 'cuda'.
        options: the workload's options.
        variables: the driver's variables that the workload reads.
        workload: the pickled workload, or why it could not be prepared.
        data: the data sets, in the spec's order.
    """
    if isinstance(workload, Failure):
        return Measured(1, "single trials; its workload cannot be prepared")
    first = jobs[0]
    with trial_environment(variables), tempfile.TemporaryDirectory() as folder:
        loaded: Workload = pickle.loads(workload)  # noqa: S301 - the driver has pickled it
        assert isinstance(loaded, Packing)  # noqa: S101 - only these are measured
        parameters = loaded.parameters.model_validate(dict(first.spec.parameters))
        contexts = [
            Context(
                job.spec.seed,
                dict(zip(first.spec.data, data, strict=True)),
                device,
                job.resources.threads,
                options,
                job.spec.length,
                Path(folder),
            )
            for job in jobs
        ]
        alone_s = _seconds(loaded.start(parameters, contexts[0]).epoch)

        def packed_s(size: int) -> float:
            pack = loaded.start_pack(parameters, contexts[:size], size)
            return _seconds(lambda: _all_fine(pack.epoch(range(size)))) / size

        before = _peak_bytes()
        try:
            best, best_s = 2, packed_s(2)
            each = max(_LEAST_BYTES, _peak_bytes() - before)
            most = min(len(jobs), 2 + int(_memory_bytes(first) // each))
            if most > 2:
                most_s = packed_s(most)
                best, best_s = min((best_s, best), (most_s, most))[::-1]
        except Exception as error:  # noqa: BLE001 - no memory, or whatever the workload raises
            return Measured(1, f"single trials; packs fail with {type(error).__name__}: {error}")
    gain = alone_s / best_s
    told = f"{gain:.1f} times the speed of single trials"
    if gain < _GAIN:
        return Measured(1, f"single trials; a pack of {best} has {told}")
    return Measured(best, f"packs of {best}, {told}")


def _all_fine(results: Sequence[object]) -> None:
    """Raise the first failure of a pack's trials: such a pack's time says nothing."""
    for result in results:
        if isinstance(result, Exception):
            raise result


def _seconds(epoch: Callable[[], object]) -> float:
    """Return the shortest time of an epoch."""
    epoch()
    taken = []
    for _ in range(_EPOCHS):
        began_s = time.perf_counter()
        epoch()
        taken.append(time.perf_counter() - began_s)
    return min(taken)


def _peak_bytes() -> int:
    """Return this process's largest memory so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _memory_bytes(job: Job) -> float:
    """Return the memory that one pack may add, if the node is full of packs."""
    available = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    slots = max(1.0, (os.cpu_count() or 1) / max(job.resources.cpus, 0.01))
    return _MEMORY * available / slots
