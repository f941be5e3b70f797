"""What runs on a worker: one trial, its messages sent in batches."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from socket import gethostname

from harness.engine.software import Software, software
from harness.plan import Job
from harness.record import (
    Checkpoint,
    Failure,
    FailureKind,
    Json,
    Message,
    Source,
    Started,
    WorkloadCode,
)
from harness.source import package_digest, workload_digest
from harness.trial import attempt
from harness.workload import Arrays, Workload

EVERY_S = 0.5
"""Messages wait for one another no longer than this, unless an epoch is longer."""

_seen: dict[tuple[str, str], Arrays] = {}
"""The data sets that this process has read, by name and digest."""


@dataclass(frozen=True)
class Call:
    """One attempt at a trial, as it is sent to a worker."""

    job: Job
    source: Source
    software: Software
    """The driver's."""
    device: str
    options: Mapping[str, Json]
    checkpoint: Checkpoint | None
    checkpoint_interval_s: float
    workload_code: WorkloadCode | None = None
    """As the driver has it; the worker records the digest of its own files."""


def stream(call: Call, workload: Workload, *data: Arrays) -> Iterator[list[Message]]:
    """Run the attempt; `data` are the data sets that the spec names, in its order."""
    if differences := call.software.differences(software()):
        # The nodes were compared at the start; this one has joined since.
        said = f"on {gethostname()}: {'; '.join(differences)}"
        yield [Failure(FailureKind.INFRASTRUCTURE, "ResourceError", said, 0)]
        return
    messages = attempt(
        call.job,
        workload,
        data=_same(call.job.spec.data, data),
        source=replace(call.source, digest=package_digest()),
        workload_code=_code_here(call.workload_code, workload),
        device=call.device,
        options=call.options,
        checkpoint=call.checkpoint,
        checkpoint_interval_s=call.checkpoint_interval_s,
        interruptible=False,
    )
    yield from batches(messages)


def _code_here(code: WorkloadCode | None, workload: Workload) -> WorkloadCode | None:
    """The workload's code as this process has it; a worker knows no distributions' names."""
    return code and replace(code, digest=workload_digest(workload))


def _same(digests: Mapping[str, str], data: Sequence[Arrays]) -> dict[str, Arrays]:
    """The data sets by name, as the very arrays that this process was given first.

    Each task maps the one copy in the object store anew; what a workload has worked out from
    the arrays of one trial it knows again in the next only if they are the same objects.
    """
    pairs = zip(digests.items(), data, strict=True)
    return {key[0]: _seen.setdefault(key, arrays) for key, arrays in pairs}


def batches(
    messages: Iterable[Message], clock: Callable[[], float] = time.monotonic
) -> Iterator[list[Message]]:
    """The messages in order: Started and a checkpoint leave at once, the others in company."""
    batch: list[Message] = []
    sent_s = clock()
    for message in messages:
        batch.append(message)
        if isinstance(message, Started | Checkpoint) or clock() - sent_s >= EVERY_S:
            yield batch
            batch, sent_s = [], clock()
    if batch:
        yield batch
