"""One trial in this process: a spec becomes a stream of records and checkpoints."""

import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from socket import gethostname

from harness import returned_values
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
    WorkloadCode,
)
from harness.returned_values import InvalidValueError
from harness.workload import Arrays, Context, Run, Workload

_LONGEST_TEXT = 10_000
"""Characters of an error's message or traceback that are kept."""


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
) -> Iterator[Message]:
    """Run one trial up to its job's epochs, and yield what happens as it happens.

    Nothing that the workload does ends the stream early or puts into it what cannot be stored:
    whatever it raises becomes a Failure, and whatever it returns is checked before it is yielded.

    Args:
        job: the trial, and how far to run it.
        workload: the one that the job's spec names.
        data: the data sets that the spec names, by name.
        source: the code of the harness that runs, for the record.
        workload_code: the workload's own code, for the record.
        device: 'cpu' or 'cuda'.
        options: choices that change speed and not results, handed on to the workload.
        checkpoint: where to go on from; one of another form is passed over, and the trial
            starts afresh.
        checkpoint_interval_s: seconds between checkpoints; 0 gives one after every epoch.
        interruptible: a KeyboardInterrupt comes from the user, and ends the trial without a
            Failure. On a worker nobody presses Ctrl-C: there the workload has raised it.

    Yields:
        Started; then each epoch's record, and a Checkpoint where one is due and after the last
        epoch; then the FinalRecord and Finished. Where the trial fails, a Failure ends the
        stream: of the kind that `harness.outcome` gives the exception (SystemExit too), and
        scientific if a value that the workload returns is missing, of another type, NaN or
        infinite.
    """
    context = Context(
        seed=job.spec.seed,
        data=data,
        device=device,
        threads=job.resources.threads,
        options=options or {},
        epochs=job.spec.length,
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
        # The yield is outside: what is thrown in there comes from the consumer.
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
    """Yield the messages of a trial; raises whatever the workload raises."""
    run = workload.start(workload.parameters.model_validate(dict(job.spec.parameters)), context)
    environment = returned_values.environment(run.environment)
    start = _take_up(run, environment.form, checkpoint)
    yield Started(start, Provenance(gethostname(), source, environment, workload_code))
    saved_s = time.monotonic()
    for epoch in range(start + 1, job.epochs + 1):
        began_s = time.perf_counter()
        metrics = _checked(run.epoch(), workload, final=False, when=f"epoch {epoch}")
        yield EpochRecord(epoch, metrics, _now_ms(), float(time.perf_counter() - began_s))
        if epoch == job.epochs or time.monotonic() - saved_s >= interval_s:
            yield Checkpoint(epoch, environment.form, returned_values.payload(run.save()))
            saved_s = time.monotonic()
    # A run that was resumed beyond what is asked for has those epochs, and ends where it stands.
    reached = max(start, job.epochs)
    began_s = time.perf_counter()
    metrics = _checked(run.final(), workload, final=True, when=f"final, after epoch {reached}")
    yield FinalRecord(reached, metrics, _now_ms(), float(time.perf_counter() - began_s))
    yield Finished(reached)


def _take_up(run: Run, form: str, checkpoint: Checkpoint | None) -> int:
    """Load the checkpoint if it has the run's form, and return the epoch to go on from."""
    if checkpoint is None or checkpoint.form != form:
        return 0
    try:
        run.load(checkpoint.payload)
    except StoreError:  # of other code, say: refused every time, so a retry would not mend it
        return 0
    return checkpoint.epoch


def _checked(metrics: object, workload: Workload, *, final: bool, when: str) -> dict[str, float]:
    """Check the metrics; an error's message begins with when they were taken."""
    try:
        return returned_values.metrics(metrics, workload, final=final)
    except (InvalidValueError, ArithmeticError) as error:
        raise type(error)(f"{when}: {error}") from None


def failure(error: BaseException, epoch: int) -> Failure:
    """Describe what a workload raised, as it is recorded.

    Args:
        error: its own methods may raise; they are not trusted.
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
    """A text of an error, shortened to its beginning and end, without what no file can hold."""
    try:
        text = read()
        if len(text) > _LONGEST_TEXT:
            half = _LONGEST_TEXT // 2
            text = f"{text[:half]} […] {text[-half:]}"
        return text.encode(errors="backslashreplace").decode()  # a file's name may be no Unicode
    except BaseException as worse:  # noqa: BLE001 - the error's own code, which may even exit
        return f"its {what} cannot be had: {type(worse).__name__}"


def _now_ms() -> int:
    return int(time.time_ns()) // 1_000_000
