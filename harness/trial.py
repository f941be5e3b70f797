"""Run one trial in this process: turn a spec into a stream of records and checkpoints."""

import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from socket import gethostname
from tempfile import TemporaryDirectory

from harness import returned_values
from harness.errors import StoreError
from harness.outcome import kind_of
from harness.plan import Job
from harness.record import (
    Checkpoint,
    CheckpointFile,
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
    WorkloadCode,
)
from harness.returned_values import InvalidValueError
from harness.workload import Arrays, Context, Run, Workload

RESUMED = "resumed-checkpoint"
"""Name of the file in the attempt's folder that holds the checkpoint to resume from."""

_LONGEST_TEXT = 10_000
"""Longest message or traceback of an error that is kept, in characters."""


def attempt(
    job: Job,
    workload: Workload,
    *,
    data: Mapping[str, Arrays],
    source: Source,
    workload_code: WorkloadCode | None = None,
    device: str = "cpu",
    options: Mapping[str, Json] | None = None,
    checkpoint: Checkpoint | None = None,
    checkpoint_interval_s: float = 30.0,
    interruptible: bool = True,
    folder: Path | None = None,
) -> Iterator[Message]:
    """Run one trial up to its job's epochs, and yield what happens as it happens.

    A workload cannot end the stream early, and cannot put into it what cannot be stored. Whatever
    it raises becomes a Failure, and whatever it returns is checked before it is yielded.

    Args:
        job: the trial, and how far to run it.
        workload: the workload that the job's spec names.
        data: the data sets that the spec names, by name.
        source: the harness's code, for the record.
        workload_code: the workload's own code, for the record.
        device: 'cpu' or 'cuda'.
        options: options of the workload that change speed and not results.
        checkpoint: where to resume. A checkpoint of another form is ignored, and the trial starts
            afresh.
        checkpoint_interval_s: seconds between checkpoints; 0 gives one after every epoch.
        interruptible: whether a KeyboardInterrupt comes from the user and ends the trial without a
            Failure. On a worker nobody presses Ctrl-C, so there the workload has raised it.
        folder: the attempt's own folder. None makes a temporary one.

    Yields:
        Started. Then each epoch's record, and a Checkpoint when one is due and after the last
        epoch. If its payload is a file, the file may change once the next message is asked for.
        Then the FinalRecord and Finished. If the trial fails, a Failure ends the stream.
        `harness.outcome` derives its kind from the exception (SystemExit too). The kind is
        scientific if a value that the workload returns is missing, of another type, NaN or
        infinite.
    """
    with ExitStack() as stack:
        if folder is None:
            made = TemporaryDirectory(prefix="harness-trial-", ignore_cleanup_errors=True)
            folder = Path(stack.enter_context(made))
        context = Context(
            seed=job.spec.seed,
            data=data,
            device=device,
            threads=job.resources.threads,
            options=options or {},
            epochs=job.spec.length,
            folder=folder,
        )
        messages = _messages(
            job,
            workload,
            context,
            source=source,
            workload_code=workload_code,
            checkpoint=checkpoint,
            interval_s=checkpoint_interval_s,
        )
        epoch = checkpoint.epoch if checkpoint else 0
        while True:
            # The yield is outside the `try`, because the consumer causes what is thrown in there.
            try:
                message = next(messages)
            except StopIteration:
                return
            except BaseException as error:
                if interruptible and isinstance(error, KeyboardInterrupt):
                    raise
                message = failure(error, epoch)
            if isinstance(message, Started):
                epoch = message.resumed_from
            elif isinstance(message, EpochRecord):
                epoch = message.epoch
            yield message
            if isinstance(message, Failure):
                return


def _messages(
    job: Job,
    workload: Workload,
    context: Context,
    *,
    source: Source,
    workload_code: WorkloadCode | None,
    checkpoint: Checkpoint | None,
    interval_s: float,
) -> Iterator[Message]:
    """Yield the messages of a trial. Raises whatever the workload raises."""
    run = workload.start(workload.parameters.model_validate(dict(job.spec.parameters)), context)
    environment = returned_values.environment(run.environment)
    epoch = _take_up(run, environment.form, checkpoint, context.folder)
    yield Started(epoch, Provenance(gethostname(), source, environment, workload_code))
    saved_s = time.monotonic()
    while epoch < job.epochs:
        began_s = time.perf_counter()
        value = run.epoch()
        with _timed(f"epoch {epoch + 1}"):
            row = returned_values.row(value, workload, after=epoch, last=job.epochs)
        epoch = row.epoch if row else job.epochs
        if row:
            seconds = float(time.perf_counter() - began_s)
            yield EpochRecord(epoch, row.metrics, _now_ms(), seconds)
        if epoch == job.epochs or time.monotonic() - saved_s >= interval_s:
            yield Checkpoint(epoch, environment.form, returned_values.payload(run.save()))
            saved_s = time.monotonic()
    # A run that resumes beyond the requested epochs keeps them, and ends there.
    reached = max(epoch, job.epochs)
    began_s = time.perf_counter()
    value = run.final()
    with _timed(f"final, after epoch {reached}"):
        metrics = returned_values.metrics(value, workload, final=True)
    yield FinalRecord(reached, metrics, _now_ms(), float(time.perf_counter() - began_s))
    yield Finished(reached)


def _take_up(run: Run, form: str, checkpoint: Checkpoint | None, folder: Path) -> int:
    """Load the checkpoint if it has the run's form, and return the epoch to go on from."""
    if checkpoint is None or checkpoint.form != form:
        return 0
    payload = checkpoint.payload
    try:
        run.load(_file(payload, folder) if isinstance(payload, CheckpointFile) else payload)
    except StoreError:  # other code wrote it, say; a retry would fail in the same way
        return 0
    return checkpoint.epoch


def _file(payload: CheckpointFile, folder: Path) -> Path:
    """Return a file that holds the payload and nothing else. Copy it into the folder if needed."""
    if payload.path.parent == folder:
        return payload.path
    copy = folder / RESUMED
    with copy.open("wb") as file:
        file.writelines(payload.parts())
    return copy


@contextmanager
def _timed(when: str) -> Iterator[None]:
    """Let an error's message begin with `when`, the time when the values were taken."""
    try:
        yield
    except (InvalidValueError, ArithmeticError) as error:
        raise type(error)(f"{when}: {error}") from None


def failure(error: BaseException, epoch: int) -> Failure:
    """Return the Failure that records an exception of a workload.

    Args:
        error: the exception. Its own methods may raise too.
        epoch: the last epoch that was recorded before it.
    """
    try:
        kind = kind_of(error)
    except BaseException:  # noqa: BLE001 - the error's own code, which may even exit
        kind = FailureKind.SCIENTIFIC
    return Failure(
        kind,
        _text("type", lambda: type(error).__name__),
        _text("message", lambda: str(error)),
        epoch,
        _text("traceback", lambda: "".join(traceback.format_exception(error))),
    )


def _text(what: str, read: Callable[[], str]) -> str:
    """Return a text of an error that can be stored. A long text loses its middle."""
    try:
        text = read()
        if len(text) > _LONGEST_TEXT:
            half = _LONGEST_TEXT // 2
            text = f"{text[:half]} […] {text[-half:]}"
        return text.encode(errors="backslashreplace").decode()  # a file's name may not be Unicode
    except BaseException as worse:  # noqa: BLE001 - the error's own code, which may even exit
        return f"its {what} cannot be had: {type(worse).__name__}"


def _now_ms() -> int:
    return int(time.time_ns()) // 1_000_000
