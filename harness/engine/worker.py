"""Run a trial or a pack on a worker, and send its messages in batches."""

import logging
import pickle
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextvars import copy_context
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

from harness.engine.interface import OfTrial
from harness.engine.nodes import Software
from harness.engine.process_state import ProcessState, watch_imports
from harness.engine.trial_output import artifacts
from harness.plan import Job
from harness.record import (
    ArtifactPart,
    Checkpoint,
    CheckpointPart,
    Failure,
    FailureKind,
    FileSlice,
    Finished,
    Json,
    Message,
    Output,
    Printed,
    Source,
    Started,
    WorkloadCode,
)
from harness.source import package_digest, workload_digest
from harness.trial import RESUMED, attempt, attempt_pack, failure
from harness.workload import ARTIFACTS, Arrays, Workload

_log = logging.getLogger(__name__)

EVERY_S = 0.5
"""Longest time that messages wait before they are sent, in seconds, unless an epoch is longer."""

SHORT_S = 0.05
"""What takes less than this, in seconds, is not sent before the rest. To send a batch takes up to a
millisecond, and a worker's loss costs no more than this time."""

_AT_ONCE = (Started, Checkpoint, CheckpointPart, ArtifactPart)

_seen: dict[tuple[str, str], Arrays] = {}
"""The data sets that this process has read, by name and digest."""

_last: dict[str, ProcessState] = {}
"""The state that the last trial has left in this process; none if it is not clean."""

_short: set[str] = set()
"""The experiment of this process's last trial, if that took less than SHORT_S."""


@dataclass(frozen=True)
class Call:
    """One attempt at a trial or a pack, as it is sent to a worker."""

    jobs: tuple[Job, ...]
    source: Source
    software: Software
    """The driver's versions."""
    device: str
    options: Mapping[str, Json]
    checkpoints: tuple[Checkpoint | None, ...]
    """Where each trial resumes."""
    checkpoint_interval_s: float
    workload_code: WorkloadCode | None = None
    """The workload's code on the driver. The worker records the digest of its own files."""
    pack: int = 0
    """Size of the pack; 0 for a trial by itself."""


def stream(
    call: Call,
    workload: bytes | Failure,
    *data: Arrays,
    folder: Path,
    parts: Iterable[bytes] = (),
    printed: Callable[[], Sequence[Output]] = lambda: (),
) -> Generator[list[Message | OfTrial], None, bool]:
    """Run the attempt, and yield its messages in batches.

    Args:
        call: what to run.
        workload: the pickled workload; or the reason why it could not be prepared, which is then
            the trial's outcome.
        data: the data sets that the spec names, in its order.
        folder: the attempt's own folder.
        parts: the payload of a single trial's checkpoint, if it is a file.
        printed: returns what the trial has printed since the last call.

    Returns:
        Whether this process may run another trial: all of this attempt finished, and what they
        changed in the process was restored.
    """
    source = replace(call.source, digest=package_digest())
    messages = _messages(call, workload, data, source, folder=folder, parts=parts)
    watch_imports()
    # The trial's id seeds the global generators, so that they are equal in every process.
    state = ProcessState(int(call.jobs[0].spec.id[:8], 16), _last.pop("state", None))
    finished = 0
    shared = _shared(call, printed) if call.pack else printed
    epochs = None if call.pack else call.jobs[0].epochs
    began_s, short = time.monotonic(), call.jobs[0].experiment in _short
    _short.clear()
    for batch in batches(_in_context(messages), epochs=epochs, short=short):
        finished += sum(isinstance(message_of(each), Finished) for each in batch)
        ends = [
            n for n, each in enumerate(batch) if isinstance(message_of(each), Finished | Failure)
        ]
        # Hold back what a pack prints until all its trials have started, so that each gets it.
        waits = call.pack and not ends and isinstance(message_of(batch[-1]), Started)
        at = min(ends, default=len(batch))  # an end is the last message of its trial
        yield [*batch[:at], *(() if waits else shared()), *batch[at:]]
    try:
        left = state.restore()
    except Exception:  # noqa: BLE001 - the trial may have broken anything that this needs
        _log.exception("%s: the process cannot be put back", call.jobs[0].spec.id)
        return False
    if left:
        _log.info("%s left behind: %s", call.jobs[0].spec.id, ", ".join(left))
    clean = finished == len(call.jobs) and not left
    if clean:
        _last["state"] = state
    whole = not call.pack and call.checkpoints[0] is None  # a resumed one may have little left
    if whole and time.monotonic() - began_s < SHORT_S:
        _short.add(call.jobs[0].experiment)
    return clean


def _shared(call: Call, printed: Callable[[], Sequence[Output]]) -> Callable[[], Iterator[OfTrial]]:
    """Return a function that yields what the pack has printed since the last call.

    Nobody knows which of its trials has printed it, so it goes to all, and begins with a line that
    says so.
    """
    seeds = ", ".join(str(job.spec.seed) for job in call.jobs)
    line = f"[seeds {seeds} run in one process, so this is what they all print]\n".encode()
    explained = set(Printed) if len(call.jobs) == 1 else set[Printed]()

    def new() -> Iterator[OfTrial]:
        for output in printed():
            head = output.head if output.stream in explained else line + output.head
            explained.add(output.stream)
            yield OfTrial(None, replace(output, head=head))

    return new


def message_of(sent: Message | OfTrial) -> Message:
    """Return the message itself, whichever trial of a pack sent it."""
    return sent.message if isinstance(sent, OfTrial) else sent


def _messages(
    call: Call,
    workload: bytes | Failure,
    data: Sequence[Arrays],
    source: Source,
    *,
    folder: Path,
    parts: Iterable[bytes],
) -> Iterator[Message | OfTrial]:
    """Yield the attempt's messages, or a failure if its workload cannot be unpickled."""
    if isinstance(workload, Failure):
        yield from for_all(call.checkpoints, workload)
        return
    loaded: Workload
    try:
        loaded = pickle.loads(workload)  # noqa: S301 - the driver has pickled it
        code = _code_here(call.workload_code, loaded)
    except BaseException as error:  # noqa: BLE001 - its own code, which may even exit
        # The driver could import it, so this node lacks something. The method has not run.
        yield from for_all(
            call.checkpoints, machines_failure(error, "the workload cannot be loaded")
        )
        return
    arrays = _same(call.jobs[0].spec.data, data)
    if call.pack:
        pack = attempt_pack(
            call.jobs,
            loaded,
            size=call.pack,
            data=arrays,
            source=source,
            workload_code=code,
            device=call.device,
            options=call.options,
            checkpoints=call.checkpoints,
            checkpoint_interval_s=call.checkpoint_interval_s,
            folder=folder,
        )
        for index, message in pack:
            if index is not None and isinstance(message, Finished | Failure):
                left = artifacts(folder / call.jobs[index].spec.id / ARTIFACTS)
                yield from (OfTrial(index, each) for each in left)
            yield OfTrial(index, message)
        return
    try:
        checkpoint = _received(call.checkpoints[0], folder, parts)
    except Exception as error:  # noqa: BLE001 - a full disk, or whatever Ray raises
        yield from for_all(
            call.checkpoints, machines_failure(error, "the checkpoint cannot be fetched")
        )
        return
    messages = attempt(
        call.jobs[0],
        loaded,
        data=arrays,
        source=source,
        workload_code=code,
        device=call.device,
        options=call.options,
        checkpoint=checkpoint,
        checkpoint_interval_s=call.checkpoint_interval_s,
        interruptible=False,
        folder=folder,
    )
    for message in messages:
        if isinstance(message, Finished | Failure):
            yield from artifacts(folder / ARTIFACTS)
        yield message
        if isinstance(message, Checkpoint) and isinstance(message.payload, FileSlice):
            try:
                yield from map(CheckpointPart, message.payload.parts())
            except (OSError, EOFError) as error:
                yield machines_failure(error, "the checkpoint cannot be sent", message.epoch)
                return


def for_all(checkpoints: Sequence[Checkpoint | None], why: Failure) -> Iterator[OfTrial]:
    """Yield the failure for each trial, at the epoch from which it would have gone on."""
    for index, checkpoint in enumerate(checkpoints):
        yield OfTrial(index, replace(why, epoch=checkpoint.epoch if checkpoint else 0))


def machines_failure(error: BaseException, what: str, epoch: int = 0) -> Failure:
    """Return the failure of a machine, which says what it kept from happening."""
    why = failure(error, epoch)
    return replace(why, kind=FailureKind.INFRASTRUCTURE, message=f"{what}: {why.message}")


def _received(
    checkpoint: Checkpoint | None, folder: Path, parts: Iterable[bytes]
) -> Checkpoint | None:
    """Return the checkpoint with its payload in the attempt's folder, if it is a file."""
    if checkpoint is None or not isinstance(checkpoint.payload, FileSlice):
        return checkpoint
    file = folder / RESUMED
    with file.open("wb") as opened:
        opened.writelines(parts)
    return replace(checkpoint, payload=replace(checkpoint.payload, path=file, offset=0))


_T = TypeVar("_T")
_M = TypeVar("_M", bound=Message | OfTrial)


def _in_context(messages: Iterator[_T]) -> Iterator[_T]:
    """Yield the messages. Their changes of context variables (decimal's, say) stay among them."""
    context = copy_context()
    while True:
        try:
            message = context.run(next, messages)
        except StopIteration:
            return
        yield message


def _code_here(code: WorkloadCode | None, workload: Workload) -> WorkloadCode | None:
    """Return the workload's code with the digest of its files in this process.

    The names and versions come from the driver, because a worker has only the files.
    """
    return code and replace(code, digest=workload_digest(workload))


def _same(digests: Mapping[str, str], data: Sequence[Arrays]) -> dict[str, Arrays]:
    """Return the data sets by name, always as the same array objects in this process.

    Each task maps the one copy in the object store anew. A workload can use what it computed from
    the arrays of one trial in the next trial only if they are the same objects.
    """
    pairs = zip(digests.items(), data, strict=True)
    # As read-only views: a trial cannot take out what the next one needs.
    return {key[0]: _seen.setdefault(key, MappingProxyType(arrays)) for key, arrays in pairs}


def batches(
    messages: Iterable[_M],
    clock: Callable[[], float] = time.monotonic,
    *,
    epochs: int | None = None,
    short: bool = False,
) -> Iterator[list[_M]]:
    """Group the messages in order. Those of `_AT_ONCE` leave at once; others may wait.

    Args:
        messages: the messages of a trial or of a pack.
        clock: a clock in seconds.
        epochs: the trial's number of epochs. If they took less than SHORT_S, the checkpoint after
            the last one leaves with the final estimate. None for a pack.
        short: whether the trial is expected to take less than SHORT_S. Then Started leaves with
            the message that follows it, however long that takes.
    """
    batch: list[_M] = []
    sent_s = started_s = clock()
    for each in messages:
        batch.append(each)
        message, now_s = message_of(each), clock()
        waited_s = now_s - sent_s
        if isinstance(message, Started):
            started_s = now_s
            if short and waited_s < SHORT_S:
                continue
        elif _is_last_checkpoint(message, epochs) and now_s - started_s < SHORT_S:
            continue
        longest_s = SHORT_S if isinstance(message_of(batch[0]), Started) else EVERY_S
        if isinstance(message, _AT_ONCE) or waited_s >= longest_s:
            yield batch
            batch, sent_s = [], clock()
    if batch:
        yield batch


def _is_last_checkpoint(message: Message, epochs: int | None) -> bool:
    """Whether it is the checkpoint after the last epoch, in memory: a file may still change."""
    return (
        isinstance(message, Checkpoint)
        and message.epoch == epochs
        and not isinstance(message.payload, FileSlice)
    )
