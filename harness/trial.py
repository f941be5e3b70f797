"""One trial in this process: a spec becomes a stream of records and checkpoints."""

import math
import time
import traceback
from collections.abc import Iterator, Mapping
from socket import gethostname

from harness.errors import StoreError
from harness.outcome import kind_of
from harness.plan import Job
from harness.record import (
    Checkpoint,
    EpochRecord,
    Failure,
    FailureKind,
    FinalRecord,
    Finished,
    Json,
    Message,
    Provenance,
    Source,
    Started,
)
from harness.workload import Arrays, Context, Run, Workload

_LONGEST_TEXT = 10_000
"""Characters of an error's message or traceback that are kept."""


def attempt(
    job: Job,
    workload: Workload,
    *,
    data: Mapping[str, Arrays],
    source: Source,
    device: str = "cpu",
    options: Mapping[str, Json] | None = None,
    checkpoint: Checkpoint | None = None,
    checkpoint_interval_s: float = 30.0,
) -> Iterator[Message]:
    """Run one trial up to its job's epochs, and say what happens as it happens.

    Args:
        job: the trial, and how far to run it.
        workload: the one that the job's spec names.
        data: the data sets that the spec names, by name.
        source: the code that runs, for the record.
        device: 'cpu' or 'cuda'.
        options: choices that change speed and not results, handed on to the workload.
        checkpoint: where to go on from; one of another form is passed over, and the trial
            starts afresh.
        checkpoint_interval_s: seconds between checkpoints; 0 gives one after every epoch.

    Yields:
        Started; then each epoch's record, and a Checkpoint where one is due and after the last
        epoch; then the FinalRecord and Finished. Where the trial fails, a Failure ends the
        stream: of the kind that `harness.outcome` gives the exception (SystemExit too), and
        scientific if a metric is undeclared, missing, NaN or infinite.
    """
    context = Context(job.spec.seed, data, device, job.resources.threads, options or {})
    epoch = checkpoint.epoch if checkpoint else 0
    try:
        run = workload.start(workload.parameters.model_validate(dict(job.spec.parameters)), context)
        epoch = _take_up(run, checkpoint)
        yield Started(epoch, Provenance(gethostname(), source, run.environment))
        for message in _messages(run, workload, epoch, job.epochs, checkpoint_interval_s):
            if isinstance(message, EpochRecord):
                epoch = message.epoch
            yield message
    except (GeneratorExit, KeyboardInterrupt):  # nobody listens any more: no outcome at all
        raise
    except BaseException as error:  # noqa: BLE001 - whatever it raises is its outcome
        yield _failure(kind_of(error), error, epoch)


def _take_up(run: Run, checkpoint: Checkpoint | None) -> int:
    """The epoch from which the run goes on: bit for bit within one form, else from the start."""
    if checkpoint is None or checkpoint.form != run.environment.form:
        return 0
    try:
        run.load(checkpoint.payload)
    except StoreError:  # of other code, say: refused every time, so a retry would not mend it
        return 0
    return checkpoint.epoch


def _messages(
    run: Run, workload: Workload, start: int, epochs: int, interval_s: float
) -> Iterator[Message]:
    """Everything between Started and the end of a run that does not fail."""
    saved_s = time.monotonic()
    for epoch in range(start + 1, epochs + 1):
        began_s = time.perf_counter()
        metrics = _checked(run.epoch(), workload, final=False, when=f"epoch {epoch}")
        yield EpochRecord(epoch, metrics, _now_ms(), time.perf_counter() - began_s)
        if epoch == epochs or time.monotonic() - saved_s >= interval_s:
            yield Checkpoint(epoch, run.environment.form, run.save())
            saved_s = time.monotonic()
    # A run that was resumed beyond what is asked for has those epochs, and ends where it stands.
    reached = max(start, epochs)
    began_s = time.perf_counter()
    metrics = _checked(run.final(), workload, final=True, when=f"final, after epoch {reached}")
    yield FinalRecord(reached, metrics, _now_ms(), time.perf_counter() - began_s)
    yield Finished(reached)


def _checked(
    metrics: Mapping[str, float], workload: Workload, *, final: bool, when: str
) -> dict[str, float]:
    """The metrics as plain numbers.

    Raises:
        ValueError: they are not the ones that the workload declares.
        ArithmeticError: one is NaN or infinite.
    """
    declared = {name for name, metric in workload.metrics.items() if metric.final == final}
    if odd := declared.symmetric_difference(metrics):
        raise ValueError(f"{when}: metrics missing or not declared: {', '.join(sorted(odd))}")
    values = {name: float(value) for name, value in metrics.items()}
    if bad := [f"{name} is {value}" for name, value in values.items() if not math.isfinite(value)]:
        raise ArithmeticError(f"{when}: {', '.join(bad)}")
    return values


def _failure(kind: FailureKind, error: BaseException, epoch: int) -> Failure:
    """A failure as it is recorded; `epoch` is the last one before it."""
    trace = "".join(traceback.format_exception(error))
    return Failure(kind, type(error).__name__, _text(_message(error)), epoch, _text(trace))


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as worse:  # noqa: BLE001 - it has no words for itself
        return f"its message cannot be had: {type(worse).__name__}"


def _text(text: str) -> str:
    """Text that any file can hold, and not too much of it: beginning and end tell most."""
    if len(text) > _LONGEST_TEXT:
        half = _LONGEST_TEXT // 2
        text = f"{text[:half]} […] {text[-half:]}"
    return text.encode(errors="backslashreplace").decode()  # a file's name may be no Unicode


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
