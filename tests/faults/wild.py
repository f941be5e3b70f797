"""A workload full of faults, and the outcome that each of them must have.

The rule behind the table:

* METHOD (a scientific failure, exit 1): the workload raises anything that is no machine's error by
  its type, or returns what it must not. It would do so again anywhere.
* MACHINE (an infrastructure failure, exit 4): the process ends, makes no progress, or the error is
  a machine's by its type. It says nothing of the method.
* FINISHED (exit 0): everything else. What a trial changes in its process is its own affair.

In every experiment seed 0 is struck and seed 1 is innocent: it must come to its end unchanged.
"""

import _thread
import ctypes
import decimal
import errno
import gc
import json
import locale
import os
import random
import re
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
import types
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np

from harness.errors import InfrastructureError
from harness.record import Environment
from harness.workload import Arrays, Context, DataSet, Metric, Parameters


class Outcome(Enum):
    """How a trial ends; the value is the exit code of a run of it."""

    FINISHED = 0
    METHOD = 1
    MACHINE = 4


FINISHED, METHOD, MACHINE = Outcome


@dataclass(frozen=True)
class Fault:
    """One fault, and what must come of it."""

    strike: Callable[["WildRun"], Any]
    outcome: Outcome
    where: str
    """The method that is struck; 'epoch' at its third call."""
    hangs: bool = False
    """It is noticed by the deadline alone."""
    workload: str = "wild"


FAULTS: dict[str, Fault] = {}
"""By name."""

STRUCK_EPOCH = 3
EPOCHS = 4
KEEPS: list[Any] = []
"""What a fault leaves in the process for good."""


def fault(
    outcome: Outcome, where: str = "epoch", **more: Any
) -> Callable[[Callable[["WildRun"], Any]], Callable[["WildRun"], Any]]:
    """Put a function into the table under its own name."""

    def enter(strike: Callable[["WildRun"], Any]) -> Callable[["WildRun"], Any]:
        FAULTS[strike.__name__.replace("_", "-")] = Fault(strike, outcome, where, **more)
        return strike

    return enter


class WildParameters(Parameters):
    """`fault` strikes the trial with seed `hit`; `look` records what the process is like."""

    fault: str = ""
    hit: int = 0
    look: str = ""
    """'': nothing; 'process'; 'torch': the process and torch."""


@dataclass
class WildRun:
    """One random walk, struck once."""

    parameters: WildParameters
    context: Context
    rng: random.Random
    environment: Any = None
    place: float = 0.0
    count: int = 0

    def strike(self, where: str) -> Any:
        """Do what the fault does, if it strikes this trial here; returns what it returns."""
        found = FAULTS.get(self.parameters.fault)
        if found and found.where == where and self.parameters.hit == self.context.seed:
            return found.strike(self)
        return None

    def epoch(self) -> Any:
        self.count += 1
        self.place += self.rng.gauss(0.0, 1.0)
        if self.parameters.look:
            # A trial that reads the global generators must find the same in every process.
            self.place += random.random() + float(np.random.rand())
        if self.parameters.look == "torch":
            self.place += _torch_numbers()
        struck = None
        if self.count == STRUCK_EPOCH:
            struck = self.strike("epoch")
            if self.parameters.fault == "load-raises" and self.context.seed == self.parameters.hit:
                raise OSError("once more, from the checkpoint")
        return {"place": self.place} if struck is None else struck

    def final(self) -> Any:
        struck = self.strike("final")
        return {"end": 2 * self.place} if struck is None else struck

    def save(self) -> Any:
        struck = self.strike("save")
        if struck is None:
            return json.dumps([self.rng.getstate(), self.place, self.count]).encode()
        return struck

    def load(self, payload: bytes) -> None:
        self.strike("load")
        (version, internal, gauss), self.place, self.count = json.loads(payload)
        self.rng.setstate((version, tuple(internal), gauss))


@dataclass(frozen=True)
class Wild:
    """The workload."""

    name: str = "wild"
    revision: int = 1
    parameters: type[Parameters] = WildParameters
    metrics: Mapping[str, Metric] = field(
        default_factory=lambda: {
            "place": Metric("steps", "where the walk stands"),
            "end": Metric("steps", "twice where it ended", final=True),
        }
    )
    prefix: bool = True

    def data_sets(self, parameters: Any) -> tuple[DataSet, ...]:
        return ()

    def load_data(self, name: str, cache: Path) -> Arrays:
        raise NotImplementedError

    def start(self, parameters: Any, context: Context) -> WildRun:
        run = WildRun(parameters, context, random.Random(context.seed))
        run.environment = Environment(
            device="cpu",
            threads=context.threads,
            form="plain",
            versions={},
            hardware={"pid": str(os.getpid())},
            settings=look(parameters.look),
            data={},
        )
        struck = run.strike("start")
        if struck is not None:
            run.environment = struck
        return run


class _Unpicklable(Wild):
    """Cannot be sent to a worker."""

    def __reduce__(self) -> Any:
        raise TypeError("not to be pickled")


class _Unloadable(Wild):
    """Cannot be read on a worker."""

    def __reduce__(self) -> Any:
        return _load, ()


def _load() -> Any:
    raise RuntimeError("not to be unpickled")


WILD = Wild()
WORKLOADS: dict[str, Wild] = {
    "wild": WILD,
    "wild_unpicklable": _Unpicklable("wild_unpicklable"),
    "wild_unloadable": _Unloadable("wild_unloadable"),
}


def look(what: str) -> dict[str, Any]:
    """What a trial can see of its process; equal in every process that is fresh."""
    if not what:
        return {}
    seen = {
        "directory": os.getcwd(),
        # Torch's parts add some as they are imported, and warnings filters of their own.
        "variables": {k: v for k, v in os.environ.items() if not k.startswith("TORCH")},
        "time zone": list(time.tzname),
        "signals": [str(signal.getsignal(number)) for number in (signal.SIGINT, signal.SIGALRM)],
        "ignored": signal.getsignal(signal.SIGTERM) is signal.SIG_IGN,
        "timer": any(signal.getitimer(signal.ITIMER_REAL)),
        "locale": locale.setlocale(locale.LC_ALL),
        "limits": list(resource.getrlimit(resource.RLIMIT_NOFILE)),
        "priority": os.getpriority(os.PRIO_PROCESS, 0),
        "cores": sorted(os.sched_getaffinity(0)),
        "recursion": sys.getrecursionlimit(),
        "path": [*sys.path],
        "program": sys.argv[:1],
        "streams": [sys.stdout.closed, sys.stderr.closed, *map(_is_open, range(3))],
        "hook": sys.excepthook.__name__,
        "collection": gc.isenabled(),
        "strict": any(each[0] == "error" and each[2] is Warning for each in warnings.filters),
        "precision": decimal.getcontext().prec,
        "numpy errors": np.geterr(),
        "numpy prints": str(np.float64(1) / 3 * np.ones(2)),
        "threads": sorted(each.name for each in threading.enumerate()),
        "clock": time.time() > 1e9,
        "json": json.dumps([1]),
        "smallest": sys.float_info.min / 2 > 0,
        "umask": _umask(),
        "hash": hash("walk"),
    }
    if what == "torch":
        seen["torch"] = _look_at_torch()
    return seen


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _look_at_torch() -> list[str]:
    import torch  # noqa: PLC0415 - takes seconds

    torch_c = torch._C
    seen = [
        torch.get_default_dtype(),
        torch.tensor(0.0).device,
        torch.get_num_threads(),
        torch.get_num_interop_threads(),
        torch.is_grad_enabled(),
        torch.is_anomaly_enabled(),
        torch.are_deterministic_algorithms_enabled(),
        torch.get_float32_matmul_precision(),
        torch.backends.cudnn.benchmark,
        torch.backends.cudnn.deterministic,
        torch_c._get_fp32_precision_getter("cuda", "matmul"),
        torch_c._get_fp32_precision_getter("cuda", "conv"),
        torch.is_autocast_enabled("cpu"),
        torch.rand.__name__,
    ]
    return [str(each) for each in seen]


def _torch_numbers() -> float:
    """Numbers that depend on the default dtype, the global generator and the precision."""
    import torch  # noqa: PLC0415 - takes seconds

    return float(torch.tensor(0.1) * 3) + float(torch.rand(3).sum())


# What a method raises.


@fault(METHOD)
def raises(run: WildRun) -> Any:
    raise RuntimeError("the walk tripped")


@fault(METHOD)
def keyboard_interrupt(run: WildRun) -> Any:
    raise KeyboardInterrupt("from the method")


@fault(METHOD)
def generator_exit(run: WildRun) -> Any:
    raise GeneratorExit


@fault(METHOD)
def stop_iteration(run: WildRun) -> Any:
    raise StopIteration


@fault(METHOD)
def system_exit(run: WildRun) -> Any:
    sys.exit(0)


@fault(METHOD)
def odd_exception(run: WildRun) -> Any:
    raise type("Odd", (BaseException,), {})("odd")


@fault(METHOD)
def recursion(run: WildRun) -> Any:
    return recursion(run)


class _Unprintable:
    def __str__(self) -> str:
        raise ValueError("no text")

    __repr__ = __str__


class _Exiting:
    def __repr__(self) -> str:
        sys.exit(5)


class _ExitingError(Exception):
    __str__ = __repr__ = _Exiting.__repr__


@fault(METHOD)
def unprintable(run: WildRun) -> Any:
    raise RuntimeError(_Unprintable())


@fault(METHOD)
def text_that_exits(run: WildRun) -> Any:
    raise _ExitingError


@fault(METHOD, "start")
def raises_at_start(run: WildRun) -> Any:
    raise RuntimeError("at the start")


@fault(METHOD, "save")
def save_raises(run: WildRun) -> Any:
    raise RuntimeError("cannot be saved")


@fault(METHOD, "final")
def final_raises(run: WildRun) -> Any:
    raise RuntimeError("no estimate")


# Errors of a machine, by their type.


@fault(MACHINE)
def disk_full(run: WildRun) -> Any:
    raise OSError(errno.ENOSPC, "No space left on device", "checkpoint.pt")


@fault(MACHINE)
def too_many_files(run: WildRun) -> Any:
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    KEEPS.extend(os.open(os.devnull, os.O_RDONLY) for _ in range(300))


@fault(MACHINE)
def missing_module(run: WildRun) -> Any:
    import not_on_this_node  # noqa: F401, PLC0415 - that is the fault


@fault(MACHINE)
def no_memory(run: WildRun) -> Any:
    """Asks for more and more, where the process may have half a GiB more than it has."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (1 << 29), hard))
    held = []
    while True:
        held.append(bytearray(50 << 20))


@fault(MACHINE)
def says_so_itself(run: WildRun) -> Any:
    raise InfrastructureError("the licence server does not answer")


# What ends the process, or its progress.


@fault(MACHINE)
def vanishes(run: WildRun) -> Any:
    os._exit(0)


@fault(MACHINE)
def segmentation_fault(run: WildRun) -> Any:
    ctypes.string_at(0)


@fault(MACHINE)
def killed(run: WildRun) -> Any:
    os.kill(os.getpid(), signal.SIGKILL)


@fault(MACHINE)
def thread_that_exits(run: WildRun) -> Any:
    threading.Timer(0.1, os._exit, [9]).start()
    time.sleep(30)


@fault(MACHINE, hangs=True)
def hangs(run: WildRun) -> Any:
    time.sleep(3600)


@fault(MACHINE, hangs=True)
def holds_the_interpreter(run: WildRun) -> Any:
    re.match(r"(a+)+$", "a" * 60 + "b")


@fault(MACHINE, hangs=True)
def closes_descriptors(run: WildRun) -> Any:
    os.closerange(3, 1000)
    time.sleep(3600)


# What a method returns.


@fault(METHOD)
def text(run: WildRun) -> Any:
    return {"place": "1.5"}


@fault(METHOD)
def truth_value(run: WildRun) -> Any:
    return {"place": True}


@fault(METHOD)
def complex_number(run: WildRun) -> Any:
    return {"place": 1 + 2j}


@fault(METHOD)
def no_number(run: WildRun) -> Any:
    return {"place": None}


@fault(METHOD)
def huge_number(run: WildRun) -> Any:
    return {"place": 10**400}


@fault(METHOD)
def nan(run: WildRun) -> Any:
    return {"place": float("nan")}


@fault(METHOD)
def not_a_mapping(run: WildRun) -> Any:
    return [("place", 1.0)]


@fault(METHOD)
def bare_number(run: WildRun) -> Any:
    return 5


@fault(METHOD)
def undeclared_metric(run: WildRun) -> Any:
    return {"place": 1.0, "more": 2.0}


@fault(METHOD)
def missing_metric(run: WildRun) -> Any:
    return {}


@fault(METHOD, "final")
def text_in_the_end(run: WildRun) -> Any:
    return {"end": "1.5"}


@fault(FINISHED)
def numpy_scalar(run: WildRun) -> Any:
    return {"place": np.float32(run.place)}


@fault(METHOD, "save")
def save_text(run: WildRun) -> Any:
    return "text"


@fault(METHOD, "save")
def save_view(run: WildRun) -> Any:
    return memoryview(b"abc")


@fault(METHOD, "save")
def save_bytearray(run: WildRun) -> Any:
    return bytearray(b"abc")


@fault(METHOD, "save")
def save_dict(run: WildRun) -> Any:
    return {"a": 1}


@fault(FINISHED, "save")
def save_50_mb(run: WildRun) -> Any:
    return os.urandom(50 << 20)


@fault(METHOD, "load")
def load_raises(run: WildRun) -> Any:
    """The machine fails at the third epoch, and then the checkpoint of the second is of no use."""
    raise RuntimeError("cannot be loaded")


@fault(METHOD, "start")
def environment_missing(run: WildRun) -> Any:
    return 0


@fault(METHOD, "start")
def environment_with_dtype(run: WildRun) -> Any:
    return replace(run.environment, settings={"dtype": np.dtype("float32")})


@fault(METHOD, "start")
def environment_with_function(run: WildRun) -> Any:
    return replace(run.environment, settings={"f": lambda: 0})


@fault(METHOD, "start")
def environment_with_numpy_integer(run: WildRun) -> Any:
    return replace(run.environment, settings={"n": np.int64(3)})


@fault(METHOD, "start")
def environment_with_nan(run: WildRun) -> Any:
    return replace(run.environment, settings={"n": float("nan")})


@fault(METHOD, "start")
def environment_with_number_as_form(run: WildRun) -> Any:
    return replace(run.environment, form=3)


@fault(METHOD, "start")
def environment_with_number_as_version(run: WildRun) -> Any:
    return replace(run.environment, versions={"cuda": 12})


@fault(METHOD, "start")
def environment_without_version(run: WildRun) -> Any:
    return replace(run.environment, versions={"cuda": None})


@fault(METHOD, "start")
def environment_with_surrogate(run: WildRun) -> Any:
    return replace(run.environment, device="caf\udce9")


# What cannot be sent, or not be read there: nothing of the method has run.

FAULTS["cannot-be-pickled"] = Fault(raises, MACHINE, "nowhere", workload="wild_unpicklable")
FAULTS["cannot-be-unpickled"] = Fault(raises, MACHINE, "nowhere", workload="wild_unloadable")


# What is left behind in the process.


@fault(FINISHED)
def directory_changed(run: WildRun) -> Any:
    os.chdir("/")


@fault(FINISHED)
def directory_removed(run: WildRun) -> Any:
    folder = tempfile.mkdtemp()
    os.chdir(folder)
    os.rmdir(folder)


@fault(FINISHED)
def variables_cleared(run: WildRun) -> Any:
    os.environ.clear()
    os.environ["HOME"] = "/nowhere"


@fault(FINISHED)
def variables_deleted(run: WildRun) -> Any:
    del os.environ


@fault(FINISHED)
def time_zone(run: WildRun) -> Any:
    os.environ["TZ"] = "Asia/Tokyo"
    time.tzset()


@fault(FINISHED)
def umask(run: WildRun) -> Any:
    os.umask(0o777)


@fault(FINISHED)
def signals_ignored(run: WildRun) -> Any:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGALRM):
        signal.signal(number, signal.SIG_IGN)


@fault(FINISHED)
def timer(run: WildRun) -> Any:
    signal.signal(signal.SIGALRM, lambda number, frame: os._exit(9))
    signal.setitimer(signal.ITIMER_REAL, 5)


@fault(FINISHED)
def numbers_of_a_locale(run: WildRun) -> Any:
    locale.setlocale(locale.LC_ALL, "C")


@fault(FINISHED)
def few_files(run: WildRun) -> Any:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 200), hard))


@fault(FINISHED)
def nice(run: WildRun) -> Any:
    os.nice(5)


@fault(FINISHED)
def one_core(run: WildRun) -> Any:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


@fault(FINISHED)
def import_paths(run: WildRun) -> Any:
    sys.path = ["/nowhere"]
    sys.argv = ["other"]


@fault(FINISHED)
def streams_closed(run: WildRun) -> Any:
    for stream in (sys.stdout, sys.stderr):
        stream.close()
    os.closerange(1, 3)


@fault(FINISHED)
def streams_replaced(run: WildRun) -> Any:
    sys.stdout = sys.stderr = types.SimpleNamespace(write=len, flush=int, closed=False)  # type: ignore[assignment]


@fault(FINISHED)
def deep_recursion(run: WildRun) -> Any:
    sys.setrecursionlimit(150)


@fault(FINISHED)
def no_collection(run: WildRun) -> Any:
    gc.disable()


@fault(FINISHED)
def hook(run: WildRun) -> Any:
    sys.excepthook = lambda *error: os._exit(9)


@fault(FINISHED)
def warnings_as_errors(run: WildRun) -> Any:
    warnings.simplefilter("error")


@fault(FINISHED)
def few_digits(run: WildRun) -> Any:
    decimal.getcontext().prec = 3


@fault(FINISHED)
def numpy_errors(run: WildRun) -> Any:
    np.seterr(all="raise")
    np.set_printoptions(precision=1)


@fault(FINISHED)
def global_generators(run: WildRun) -> Any:
    random.seed(1)
    np.random.seed(1)


@fault(FINISHED)
def thread_left(run: WildRun) -> Any:
    threading.Thread(target=time.sleep, args=[3600], name="left", daemon=True).start()


@fault(FINISHED)
def bare_thread_left(run: WildRun) -> Any:
    """`threading` does not know it."""
    runs = threading.Event()
    _thread.start_new_thread(lambda: (runs.set(), time.sleep(3600)), ())
    runs.wait()


@fault(FINISHED)
def thread_that_waits(run: WildRun) -> Any:
    """No daemon: the process would wait for it for an hour before it exits."""
    threading.Thread(target=time.sleep, args=[3600], name="waiting").start()


@fault(FINISHED)
def thread_that_exits_later(run: WildRun) -> Any:
    threading.Timer(3, os._exit, [9]).start()


@fault(FINISHED)
def child_left(run: WildRun) -> Any:
    KEEPS.append(subprocess.Popen(["sleep", "3600"]))


@fault(FINISHED)
def file_left_open(run: WildRun) -> Any:
    KEEPS.append(Path(__file__).open())  # noqa: SIM115


@fault(FINISHED)
def clock_replaced(run: WildRun) -> Any:
    time.time = lambda: 0.0


@fault(FINISHED)
def generator_replaced(run: WildRun) -> Any:
    random.random = lambda: 0.5  # type: ignore[method-assign]


@fault(FINISHED)
def method_replaced(run: WildRun) -> Any:
    random.Random.gauss = lambda *_: 7.0  # type: ignore[method-assign, misc, assignment]


@fault(FINISHED)
def json_replaced(run: WildRun) -> Any:
    json.loads = lambda *_: None


@fault(FINISHED)
def module_replaced(run: WildRun) -> Any:
    sys.modules["json"] = types.ModuleType("json")


@fault(FINISHED)
def torch_dtype(run: WildRun) -> Any:
    import torch  # noqa: PLC0415 - takes seconds

    torch.set_default_dtype(torch.float64)


@fault(FINISHED)
def torch_device(run: WildRun) -> Any:
    import torch  # noqa: PLC0415 - takes seconds

    torch.set_default_device("meta")


@fault(FINISHED)
def torch_threads(run: WildRun) -> Any:
    import torch  # noqa: PLC0415 - takes seconds

    torch.set_num_threads(7)


@fault(FINISHED)
def torch_flags(run: WildRun) -> Any:
    import torch  # noqa: PLC0415 - takes seconds

    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.set_float32_matmul_precision("medium")
    torch.backends.cudnn.conv.fp32_precision = "ieee"  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = True
    torch.autograd.set_detect_anomaly(True)
    torch.set_grad_enabled(False)


@fault(FINISHED)
def torch_generator(run: WildRun) -> Any:
    import torch  # noqa: PLC0415 - takes seconds

    torch.manual_seed(1)


@fault(FINISHED)
def torch_function_replaced(run: WildRun) -> Any:
    import torch  # noqa: PLC0415 - takes seconds

    torch.rand = torch.zeros


@fault(FINISHED)
def torch_denormals(run: WildRun) -> Any:
    import torch  # noqa: PLC0415 - takes seconds

    torch.set_flush_denormal(True)


@fault(FINISHED)
def torch_autocast(run: WildRun) -> Any:
    import torch  # noqa: PLC0415 - takes seconds

    torch.autocast("cpu").__enter__()
