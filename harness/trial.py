"""Run a trial, or a pack of them, in this process: turn specs into records and checkpoints.

An exception that a trial raises is blamed on the machine or on the method, by the exception alone.
In doubt it is the machine, because a machine's failure must never decide a verdict. A failure of
the method is only a suspicion until the driver has seen the same failure twice
(`harness.engine.driver`).
"""

import concurrent.futures
import http.client
import multiprocessing
import re
import subprocess
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from socket import gethostname
from tempfile import TemporaryDirectory

from harness import returned_values
from harness.errors import HarnessError, StoreError
from harness.plan import Job
from harness.record import (
    Checkpoint,
    EpochRecord,
    Failure,
    FailureKind,
    FileSlice,
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
from harness.source import (
    cpu_seconds,
    forget_peak_memory,
    peak_gpu_memory_bytes,
    peak_memory_bytes,
)
from harness.workload import Arrays, Context, Packing, Run, Workload

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
        `harness.trial` derives its kind from the exception (SystemExit too). The kind is
        scientific if a value that the workload returns is missing, of another type, NaN or
        infinite.
    """
    with ExitStack() as stack:
        if folder is None:
            made = TemporaryDirectory(prefix="harness-trial-", ignore_cleanup_errors=True)
            folder = Path(stack.enter_context(made))
        context = _context(job, data, device, options, folder)
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
        yield from _until_failure(messages, epoch, interruptible=interruptible)


def attempt_pack(
    jobs: Sequence[Job],
    workload: Workload,
    *,
    size: int,
    data: Mapping[str, Arrays],
    source: Source,
    workload_code: WorkloadCode | None = None,
    device: str = "cpu",
    options: Mapping[str, Json] | None = None,
    checkpoints: Sequence[Checkpoint | None],
    checkpoint_interval_s: float = 30.0,
    folder: Path,
) -> Iterator[tuple[int | None, Message]]:
    """Run trials of one experiment as a pack, and yield what happens to each of them.

    Every trial sends what `attempt` sends, and ends by itself: its failure is its own, unless the
    pack as a whole fails. Nobody knows then whose failure it is.

    Args:
        jobs: the trials. Their specs differ in their seeds only.
        workload: the workload that they name; it has `start_pack`.
        size: the pack's size K, which may exceed the number of trials.
        data: as in `attempt`.
        source: as in `attempt`.
        workload_code: as in `attempt`.
        device: as in `attempt`.
        options: as in `attempt`.
        checkpoints: where each trial resumes.
        checkpoint_interval_s: as in `attempt`.
        folder: the attempt's own folder, in which each trial gets one.

    Yields:
        The trial's index in `jobs`, and its message. If the pack as a whole fails, that failure
        comes last, with None for the index.
    """
    live: dict[int, _Trial] = {}
    try:
        assert isinstance(workload, Packing)  # noqa: S101 (the engine makes packs of these only)
        parameters = workload.parameters.model_validate(dict(jobs[0].spec.parameters))
        contexts = []
        for job in jobs:
            own = folder / job.spec.id
            own.mkdir()
            contexts.append(_context(job, data, device, options, own))
        pack = workload.start_pack(parameters, contexts, size)
        for index, (context, job, run) in enumerate(zip(contexts, jobs, pack.runs, strict=True)):
            live[index] = _Trial(
                job, workload, run, context.folder, checkpoint_interval_s, packed=True
            )
    except BaseException as error:  # noqa: BLE001 - the workload's own code, which may even exit
        yield None, failure(error, 0)
        return

    def told(
        index: int, messages: Iterator[Message], resumed: Checkpoint | None = None
    ) -> Iterator[tuple[int, Message]]:
        epoch = resumed.epoch if resumed else live[index].epoch
        for message in _until_failure(messages, epoch, interruptible=False):
            if isinstance(message, Failure | Finished):
                del live[index]
            yield index, message

    for index, checkpoint in enumerate(checkpoints):
        begun = live[index].begin(checkpoint, source, workload_code)
        yield from told(index, begun, checkpoint)
    while live:
        for index in [index for index, trial in live.items() if trial.over]:
            yield from told(index, live[index].end())
        members = list(live)
        began_s = time.perf_counter()
        try:
            results = list(pack.epoch(members)) if members else []
            if len(results) != len(members):
                raise InvalidValueError(f"{len(results)} results for {len(members)} trials")
        except BaseException as error:  # noqa: BLE001 - the workload's own code, which may even exit
            yield None, failure(error, 0)
            return
        seconds = (time.perf_counter() - began_s) / max(1, len(members))
        for index, result in zip(members, results, strict=True):
            yield from told(index, live[index].record(result, seconds))


def _context(
    job: Job,
    data: Mapping[str, Arrays],
    device: str,
    options: Mapping[str, Json] | None,
    folder: Path,
) -> Context:
    return Context(
        seed=job.spec.seed,
        data=data,
        device=device,
        threads=job.resources.threads,
        options=options or {},
        epochs=job.spec.length,
        folder=folder,
    )


def _until_failure(
    messages: Iterator[Message], epoch: int, *, interruptible: bool
) -> Iterator[Message]:
    """Yield the messages. Whatever they raise becomes a Failure, which ends them.

    Args:
        messages: the messages of a trial.
        epoch: the last epoch that is recorded before them.
        interruptible: as in `attempt`.
    """
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
    cpu_began_s, measured = cpu_seconds(), forget_peak_memory()
    run = workload.start(workload.parameters.model_validate(dict(job.spec.parameters)), context)
    trial = _Trial(job, workload, run, context.folder, interval_s, measured=measured)
    yield from trial.begin(checkpoint, source, workload_code)
    trial.cpu_began_s = None if trial.epoch else cpu_began_s
    while not trial.over:
        began_s = time.perf_counter()
        value = run.epoch()
        yield from trial.record(value, time.perf_counter() - began_s)
    yield from trial.end()


class _Trial:
    """A running trial, and the messages about what it does. They raise what the workload raises.

    Args:
        job: the trial, and how far to run it.
        workload: its workload.
        run: its run at epoch 0.
        folder: its own folder.
        interval_s: seconds between checkpoints.
        packed: whether it runs in a pack.
        measured: whether the process's memory is this trial's alone, and its peak began with it.
    """

    def __init__(
        self,
        job: Job,
        workload: Workload,
        run: Run,
        folder: Path,
        interval_s: float,
        *,
        packed: bool = False,
        measured: bool = False,
    ) -> None:
        self._packed, self._measured = packed, measured
        self._job, self._workload, self._run = job, workload, run
        self._folder, self._interval_s = folder, interval_s
        self.epoch = 0
        """The last epoch that was recorded."""
        self.cpu_began_s: float | None = None
        """The process's CPU time when the trial began; None if it is not this trial's alone, or not
        all of it."""

    @property
    def over(self) -> bool:
        """Whether no epoch is left to run."""
        return self.epoch >= self._job.epochs

    def begin(
        self, checkpoint: Checkpoint | None, source: Source, code: WorkloadCode | None
    ) -> Iterator[Message]:
        """Resume from the checkpoint, and yield Started."""
        self.epoch = checkpoint.epoch if checkpoint else 0
        environment = returned_values.plain_environment(self._run.environment)
        self._form = environment.form
        self.epoch = _take_up(self._run, self._form, checkpoint, self._folder)
        yield Started(self.epoch, Provenance(gethostname(), source, environment, code))
        self._saved_s = time.monotonic()

    def record(self, value: object, seconds: float) -> Iterator[Message]:
        """Yield the record of what `epoch` returned, and a checkpoint if one is due."""
        if isinstance(value, Exception):  # a pack returns what it cannot raise for one trial
            raise value
        began_s = time.perf_counter()
        last = self._job.epochs
        with _timed(f"epoch {self.epoch + 1}"):
            row = returned_values.row(value, self._workload, after=self.epoch, last=last)
        self.epoch = row.epoch if row else last
        if row:
            taken_s = float(seconds + time.perf_counter() - began_s)
            yield EpochRecord(row.epoch, row.metrics, _now_ms(), taken_s)
        if self.over or time.monotonic() - self._saved_s >= self._interval_s:
            payload = returned_values.payload(self._run.save())
            if self._packed and isinstance(payload, FileSlice):
                raise InvalidValueError(
                    "checkpoint: must be bytes in a pack, got a Path; run without --pack"
                )
            yield Checkpoint(self.epoch, self._form, payload)
            self._saved_s = time.monotonic()

    def end(self) -> Iterator[Message]:
        """Yield the final estimates, and Finished."""
        # A run that resumed beyond the requested epochs keeps them, and ends there.
        began_s = time.perf_counter()
        value = self._run.final()
        with _timed(f"final, after epoch {self.epoch}"):
            metrics = returned_values.plain_metrics(value, self._workload, final=True)
        taken_s = float(time.perf_counter() - began_s)
        cpu_s = None if self.cpu_began_s is None else cpu_seconds() - self.cpu_began_s
        yield FinalRecord(
            self.epoch,
            metrics,
            _now_ms(),
            taken_s,
            peak_memory_bytes=self._peak_memory_bytes(),
            cpu_seconds=cpu_s,
            peak_gpu_memory_bytes=None if self._packed else peak_gpu_memory_bytes(),
        )
        yield Finished(self.epoch)

    def _peak_memory_bytes(self) -> int | None:
        if hasattr(self._run, "peak_memory_bytes"):
            return returned_values.plain_size(self._run.peak_memory_bytes)
        return peak_memory_bytes() if self._measured else None


def _take_up(run: Run, form: str, checkpoint: Checkpoint | None, folder: Path) -> int:
    """Load the checkpoint if it has the run's form, and return the epoch to go on from."""
    if checkpoint is None or checkpoint.form != form:
        return 0
    payload = checkpoint.payload
    try:
        run.load(_file(payload, folder) if isinstance(payload, FileSlice) else payload)
    except StoreError:  # other code wrote it, say; a retry would fail in the same way
        return 0
    return checkpoint.epoch


def _file(payload: FileSlice, folder: Path) -> Path:
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


_MACHINE: tuple[type[BaseException], ...] = (
    HarnessError,  # no GPU, no data, no disk space: the user can fix these
    OSError,  # full disk, too many files, network, timeout, HTTP by urllib or requests
    ImportError,  # missing or broken on this node: the driver could import the workload
    MemoryError,
    EOFError,  # the other end of a pipe died, or a file was cut off
    http.client.HTTPException,
    concurrent.futures.BrokenExecutor,
    multiprocessing.ProcessError,
    subprocess.TimeoutExpired,
)

_MACHINE_BY_NAME = frozenset(
    {
        "torch.OutOfMemoryError",
        "torch.AcceleratorError",
        "torch.distributed.DistError",
        "urllib3.exceptions.HTTPError",
        "httpx.HTTPError",
        "aiohttp.client_exceptions.ClientError",
        "grpc.RpcError",
        "sqlite3.OperationalError",  # locked, disk full, not readable
    }
)
"""Machine errors of packages that may not be installed, as module and class name."""

_MACHINE_BY_TEXT = re.compile(
    r"""
    CUDA\ (error|out\ of\ memory|driver|initialization|unknown\ error) | cuda\ runtime\ error
    | CU(BLAS|DNN|SOLVER|SPARSE|FFT|RAND)_STATUS_ | CUFFT_ | cu(BLAS|DNN|SOLVER|SPARSE|FFT)\ error
    | NCCL\ (error|communicator) | ncclInternalError | ncclSystemError | ncclUnhandledCudaError
    | HIP\ (error|out\ of\ memory) | MPS\ backend\ out\ of\ memory | uncorrectable\ ECC
    | No\ CUDA\ GPUs\ are\ available | Found\ no\ NVIDIA\ driver
    | DefaultCPUAllocator:\ (can't\ allocate|not\ enough)\ memory | RESOURCE_EXHAUSTED
    | No\ space\ left\ on\ device | Too\ many\ open\ files | Input/output\ error
    | PytorchStream(Writer|Reader)\ failed | unable\ to\ (mmap|open\ shared\ memory)
    | received\ \d+\ items\ of\ ancdata | can't\ start\ new\ thread
    | DataLoader\ worker\ .*(exited\ unexpectedly|killed\ by\ signal)
    """,
    re.VERBOSE | re.DOTALL,
)
"""Messages of a RuntimeError that mean a machine's failure. Torch and its libraries have no class
of their own for it."""

_METHOD_BY_TEXT = re.compile("device-side assert")
"""An index out of range on a GPU. Torch raises it as a CUDA error, but the method is wrong."""

_CONTROL_FLOW = (FileNotFoundError, FileExistsError, NotADirectoryError, ImportError)
"""Exceptions that programs catch to ask a question ("is the cache there?"). An error that is raised
while one of these is handled counts as a new error, unless it names the first one as its cause."""

_SHELL_SIGNALS = range(129, 160)
"""Exit codes with which a shell reports that a signal (1 to 31) killed its command."""


def kind_of(error: BaseException) -> FailureKind:
    """Return whether the machine or the method caused an exception that ended a trial.

    The machine caused it if the error itself, or an error that led to it, is a machine error. In
    `raise … from error`, `error` always counts. An error that was being handled counts only if it
    is not usual control flow. In a group one such member is enough.
    """
    machine = any(_is_machine(each) for each in _causes(error))
    return FailureKind.INFRASTRUCTURE if machine else FailureKind.SCIENTIFIC


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield the error and everything that led to it, each one once."""
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        each = waiting.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        if isinstance(each, BaseExceptionGroup):
            waiting.extend(each.exceptions)
        if each.__cause__ is not None:
            waiting.append(each.__cause__)
        elif not each.__suppress_context__ and not isinstance(each.__context__, _CONTROL_FLOW):
            waiting.extend(filter(None, [each.__context__]))


def _is_machine(error: BaseException) -> bool:
    """Whether this error itself is a machine error, whatever led to it."""
    text = _message_of(error) if isinstance(error, RuntimeError) else ""
    if _METHOD_BY_TEXT.search(text):
        return False
    if isinstance(error, subprocess.CalledProcessError):
        return error.returncode < 0 or error.returncode in _SHELL_SIGNALS
    names = {f"{each.__module__}.{each.__qualname__}" for each in type(error).__mro__}
    return (
        isinstance(error, _MACHINE)
        or not _MACHINE_BY_NAME.isdisjoint(names)
        or _MACHINE_BY_TEXT.search(text) is not None
    )


def _message_of(error: BaseException) -> str:
    """Return the error's message, or '' if it cannot be read."""
    try:
        return str(error)
    except BaseException:  # noqa: BLE001 - a workload's own class may raise anything, SystemExit too
        return ""
