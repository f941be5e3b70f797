"""Decide whether the machine or the method caused an exception that a trial raised.

The decision uses the exception alone, so it is a pure function. In doubt it blames the machine,
because a machine's failure must never decide a verdict. A failure of the method is only a suspicion
until the driver has seen the same failure twice (`harness.engine.driver`).
"""

import concurrent.futures
import http.client
import multiprocessing
import re
import subprocess
from collections.abc import Iterator

from harness.errors import HarnessError
from harness.record import FailureKind

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
    text = _text(error) if isinstance(error, RuntimeError) else ""
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


def _text(error: BaseException) -> str:
    """Return the error's message, or '' if it cannot be read."""
    try:
        return str(error)
    except BaseException:  # noqa: BLE001 - a workload's own class may raise anything, SystemExit too
        return ""
