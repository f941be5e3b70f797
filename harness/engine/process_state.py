"""Capture the state of a process before a trial, and restore it after the trial.

A trial on a warm worker must equal the same trial in a fresh process. So a worker captures its
state before a trial and restores afterwards what the trial has changed. If it detects a change that
it cannot restore, the worker runs no further trial. The state is what Python, numpy and torch offer
to be set for the whole process, and the functions and classes of the modules in `_PATCHED`. It does
not include what other modules, those of the workload among them, keep in their variables.
`--isolate` starts a process for each trial instead. Nothing here imports a library: only the loaded
ones are checked.
"""

import _signal  # type: ignore[import-not-found]
import _thread
import builtins
import copyreg
import decimal
import faulthandler
import gc
import importlib.machinery
import locale
import logging
import multiprocessing
import os
import random
import resource
import signal
import socket
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import (
    Callable,
    Iterable,
    Iterator,
    Mapping,
    MutableMapping,
    Reversible,
    Sequence,
)
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from itertools import chain
from operator import is_, is_not
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

_SOCKETS = 64
"""How many new sockets and pipes a trial may leave open. Ray's own come and go."""

_SHARED_MEMORY = "/dev/shm/"  # noqa: S108 - only compared with

_SEEDS = 2**32
"""Seeds of global generators are below this number, as numpy requires."""


@dataclass(frozen=True)
class _Part:
    """One part of the state: how to read, compare and restore it."""

    name: str
    read: Callable[[], Any]
    write: Callable[[Any], object] | None = None
    """Restores a value that was read; None if that is impossible."""
    changed: Callable[[Any, Any], bool] = lambda before, after: bool(before != after)
    """Whether the trial has changed this part, from its values before and after."""
    enough: bool = True
    """Whether the process is clean again once this part is restored. If not, the worker runs no
    further trial."""
    imports: Callable[[Any, Any], bool] = lambda before, after: False
    """Whether the import of a module may cause this change. Such a change stays, because the module
    stays loaded."""
    grows: bool = False
    """Whether modules that are imported later belong to this part too."""
    lasts: bool = True
    """Whether nothing but a trial changes it. Then the next trial takes over what was read after
    the last one. The others may be changed by Ray when it begins a task, or from outside."""


def _always(before: object, after: object) -> bool:
    return True


def _directory() -> tuple[str, int, int]:
    status = os.stat(".")
    return os.getcwd(), status.st_dev, status.st_ino


def _environment_write(before: Mapping[str, str]) -> None:
    for name in set(os.environ) - set(before):
        del os.environ[name]
    for name, value in before.items():
        if os.environ.get(name) != value:
            os.environ[name] = value


def _umask() -> int:
    """Return the umask. Reading it sets it: for a moment new files are private, never public."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


_SIGNALS = tuple(sorted(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}))


def _handlers() -> tuple[Any, ...]:
    """Return the handlers, not as `signal.getsignal` does, which looks for an enum's member."""
    return tuple(map(_signal.getsignal, _SIGNALS))


def _handlers_write(before: Sequence[Any]) -> None:
    for number, handler in zip(_SIGNALS, before, strict=True):
        if _signal.getsignal(number) is not handler:
            signal.signal(number, handler)


_TIMERS = (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)


def _timers() -> tuple[bool, ...]:
    return tuple(any(signal.getitimer(timer)) for timer in _TIMERS)


def _timers_write(before: Sequence[bool]) -> None:
    for timer, running in zip(_TIMERS, before, strict=True):
        if not running:
            signal.setitimer(timer, 0)


_LIMITS = tuple(
    sorted({value for name, value in vars(resource).items() if name.startswith("RLIMIT_")})
)


def _limits() -> tuple[tuple[int, int], ...]:
    return tuple(map(resource.getrlimit, _LIMITS))


def _limits_write(before: Sequence[tuple[int, int]]) -> None:
    for limit, values in zip(_LIMITS, before, strict=True):
        if resource.getrlimit(limit) != values:
            resource.setrlimit(limit, values)


def _collection_write(before: tuple[bool, Any, int]) -> None:
    (gc.enable if before[0] else gc.disable)()
    gc.set_threshold(*before[1])
    gc.set_debug(before[2])


_HOOKS = (
    *((sys, name) for name in ("stdin", "stdout", "stderr", "argv", "path", "path_hooks")),
    *((sys, name) for name in ("meta_path", "modules", "excepthook", "displayhook")),
    *((sys, name) for name in ("unraisablehook", "breakpointhook", "tracebacklimit")),
    (threading, "excepthook"),
    (os, "environ"),
)


def _hooks() -> tuple[Any, ...]:
    """Return attributes that a trial may replace as a whole, and copies of the lists among them."""
    held = [getattr(module, name, None) for module, name in _HOOKS]
    return tuple((id(thing), thing, [*thing] if type(thing) is list else ()) for thing in held)


def _hooks_write(before: Sequence[tuple[int, Any, Sequence[Any]]]) -> None:
    for (module, name), (_, thing, items) in zip(_HOOKS, before, strict=True):
        setattr(module, name, thing)
        if type(thing) is list:
            thing[:] = items


def _hooks_changed(before: Sequence[Any], after: Sequence[Any]) -> bool:
    return any(was[0] != now[0] or was[2] != now[2] for was, now in zip(before, after, strict=True))


def _streams() -> tuple[Any, ...]:
    """Return whether standard input, output and error are open, and where they lead."""
    found: list[Any] = [getattr(stream, "closed", None) for stream in (sys.stdout, sys.stderr)]
    for number in range(3):
        try:
            status = os.fstat(number)
            found.append((status.st_dev, status.st_ino))
        except OSError:
            found.append(None)
    return tuple(found)


def _warnings_write(before: Sequence[Any]) -> None:
    warnings.resetwarnings()  # tells the interpreter that its caches are stale
    warnings.filters[:] = before  # type: ignore[index]


def _logging() -> tuple[Any, ...]:
    root = logging.root
    return root.level, root.manager.disable, tuple(root.handlers)


def _logging_write(before: tuple[Any, ...]) -> None:
    logging.root.setLevel(before[0])
    logging.disable(before[1])
    logging.root.handlers[:] = before[2]


def _refill(table: MutableMapping[Any, Any], before: Mapping[Any, Any]) -> None:
    table.clear()
    table.update(before)


def _children() -> frozenset[int]:
    """Return the ids of this process's children, running or ended."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return frozenset()  # the usual case, and a fast check
    found: list[int] = []
    for task in Path("/proc/self/task").iterdir():
        with suppress(OSError):  # a thread that has ended
            found += map(int, (task / "children").read_text().split())
    return frozenset(found)


def _end_children(before: frozenset[int]) -> None:
    """Kill the children that a trial has left, so that they take no core from the next trial."""
    for pid in _children() - before:
        with suppress(OSError):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def _descriptors() -> frozenset[str]:
    """Return the numbers of all open descriptors, without the one that lists them."""
    numbers = []
    for number in os.listdir("/proc/self/fd"):
        try:  # `suppress` takes longer than the call
            os.fstat(int(number))
        except OSError:
            continue
        numbers.append(number)
    return frozenset(numbers)


def _descriptors_changed(before: frozenset[str], after: frozenset[str]) -> bool:
    """Whether files or devices were left open, or many sockets and pipes.

    A few sockets and pipes are allowed, because Ray's own come and go.
    """
    targets = []
    for number in after - before:
        with suppress(OSError):  # closed meanwhile
            targets.append(os.readlink(f"/proc/self/fd/{number}"))
    files = [each for each in targets if each.startswith("/") and not _is_of_ray(each)]
    return bool(files) or len(targets) > _SOCKETS


def _is_of_ray(path: str) -> bool:
    """Whether a file is one of Ray's logs, or memory of Ray's object store."""
    return path.startswith(_SHARED_MEMORY) or f"{os.sep}session_" in path


def _arithmetic() -> tuple[bool, bool, bool]:
    """Return how the processor rounds here, and whether it keeps subnormal numbers."""
    smallest, third = sys.float_info.min, 3.0
    return smallest / 2 > 0, 1 / third * third == 1, 1 + sys.float_info.epsilon / 2 == 1


_PATCHED = (
    *("builtins", "copy", "json", "math", "os", "os.path", "pathlib", "pickle", "random"),
    *("statistics", "sys", "threading", "time"),
    *("harness.record", "harness.returned_values", "harness.trial"),
    *("numpy", "numpy.fft", "numpy.linalg", "numpy.random"),
    *("numpy._core._methods", "numpy._core.fromnumeric"),
    *("torch", "torch.autograd", "torch.fft", "torch.linalg"),
    *("torch.nn", "torch.nn.functional", "torch.nn.init", "torch.nn.utils"),
    *("torch.optim", "torch.optim.adam", "torch.optim.adamw", "torch.optim.lr_scheduler"),
    *("torch.optim.optimizer", "torch.optim.sgd", "torch.utils.data"),
)
"""Modules whose functions, classes, methods and constants a trial may have replaced. The bases of
their classes belong to them."""

_WATCHED = frozenset(name.partition(".")[0] for name in _PATCHED)
"""The packages of these modules."""


_FOLLOWING = ("Storage",)
"""Names that torch itself replaces when its default dtype changes, and restores with it."""

_IMMUTABLE_TYPE = 1 << 8
"""The flag of classes that are written in C. Their methods cannot be replaced."""


class _Attributes:
    """Reads what workloads may replace in the modules of `_PATCHED` and in their classes.

    Most trials replace nothing there. Then the result is the same object as before, because to copy
    and to compare it would take longer than all other parts together.
    """

    def __init__(self) -> None:
        self._modules: list[Any] = []
        self._found: dict[Any, Mapping[str, Any]] = {}
        self._views: tuple[list[Iterable[Any]], list[Reversible[str]]] = ([], [])
        """Views of the values and names in each module and class. They show what these are now."""
        self._values: list[Any] = []
        """What `_now` returned when the variables were read."""

    def __call__(self) -> Mapping[Any, Mapping[str, Any]]:
        """Return the functions, classes, methods and constants by module or class."""
        modules = list(filter(None, map(sys.modules.get, _PATCHED)))
        same = len(modules) == len(self._modules) and all(map(is_, modules, self._modules))
        if not same or not all(map(is_, self._now(), self._values)):
            self._modules, self._found, self._views = modules, {}, ([], [])
            for module in modules:
                for value in self._read(module).values():
                    for base in value.__mro__ if isinstance(value, type) else ():
                        if base not in self._found and not base.__flags__ & _IMMUTABLE_TYPE:
                            self._read(base)
            self._values = [*self._now()]
        return self._found

    def _now(self) -> Iterable[Any]:
        """Return all values, the last name of each owner, and `_END`, so that no end is missed.

        The values are compared by identity, because what wraps a function may compare equal to it.
        They are all compared, not just the code, and without their names: to compare these too
        takes a third longer. A value that gets another name moves to the end of its owner. So the
        order changes, or the last name does, unless whoever renames it also sets all later
        variables anew.
        """
        values, names = self._views
        return chain(chain.from_iterable(values), map(next, map(reversed, names)), _END)

    def _read(self, owner: Any) -> Mapping[str, Any]:
        held = {name: value for name, value in vars(owner).items() if _is_code(value)}
        self._found[owner] = held
        values, names = self._views
        values.append(vars(owner).values())
        names.append(vars(owner).keys())
        return held


_END = (object(),)

_ATTRIBUTES = _Attributes()


def _replaced(
    before: Mapping[Any, Mapping[str, Any]], after: Mapping[Any, Mapping[str, Any]]
) -> Iterator[tuple[Any, str, Any]]:
    """Find functions, classes, methods and constants that were replaced, removed or hidden.

    A new name hides a method that the class inherits, or a builtin that the module uses.

    Yields:
        The module or class, the name, and its present value.
    """
    for owner, held in before.items():
        now = after.get(owner, vars(owner))  # a replaced class is reported with its module
        for name, value in held.items():
            new = now.get(name)
            if new is not value and name not in _FOLLOWING and not _is_hook_of_torch(new, value):
                yield owner, name, new
        if now is not held:
            for name in now.keys() - held.keys():
                new, value = now[name], _hidden(owner, name)
                if _is_code(new) and value is not None and not _is_hook_of_torch(new, value):
                    yield owner, name, new


def _hidden(owner: Any, name: str) -> Any:
    """Return what the name would mean without the owner's own variable; None if nothing."""
    if not isinstance(owner, type):
        return vars(builtins).get(name)
    return next((vars(base)[name] for base in owner.__mro__[1:] if name in vars(base)), None)


def _is_code(value: object) -> bool:
    """Whether it is a function, a class, a method, a property, or a constant such as pi."""
    return callable(value) or isinstance(value, classmethod | property | float)


def _is_hook_of_torch(new: object, before: object) -> bool:
    """Whether torch wrapped an optimizer's `step` itself, as it does once for each class.

    It does so when the first optimizer of the class is made. The wrapper only serves torch's
    profiler and hooks, so it may stay.
    """
    module = getattr(new, "__globals__", {}).get("__name__")  # functools.wraps leaves it alone
    return module == "torch.optim.optimizer" and getattr(new, "__wrapped__", None) is before


def _attributes_changed(before: Mapping[Any, Any], after: Mapping[Any, Any]) -> bool:
    """Whether something was replaced or removed. Modules may add names on an import."""
    return any(True for _ in _replaced(before, after))


def _attributes_by_import(before: Mapping[Any, Any], after: Mapping[Any, Any]) -> bool:
    """Whether modules replaced only functions of their own package, as torch does."""
    return all(_package(owner) == _package(now) for owner, _, now in _replaced(before, after))


def _package(thing: Any) -> str:
    """Return the top-level package of a module, or of the module of a class or function."""
    name = thing.__name__ if isinstance(thing, ModuleType) else getattr(thing, "__module__", "")
    return str(name).partition(".")[0]


_IN_PLACE = ("__code__", "__defaults__", "__kwdefaults__")
"""What can be set in a function that stays the same object."""

_changed_in_place: list[tuple[FunctionType, str, Any]] = []
"""What the running trial has set in functions of the packages of `_PATCHED`, and what was there."""


def _notice_in_place(event: str, args: tuple[Any, ...]) -> None:
    """Hear of each attribute that Python lets nobody set unnoticed. An audit hook."""
    if event != "object.__setattr__" or not _WATCH.runs_a_trial():
        return
    function, name, _ = args
    if name in _IN_PLACE and isinstance(function, FunctionType) and _package(function) in _WATCHED:
        _changed_in_place.append((function, name, getattr(function, name)))


def _in_place_write(before: int) -> None:
    while len(_changed_in_place) > before:
        setattr(*_changed_in_place.pop())


def _attributes_write(before: Mapping[Any, Mapping[str, Any]]) -> None:
    for owner, name, _ in list(_replaced(before, _ATTRIBUTES())):
        if name in before[owner]:
            setattr(owner, name, before[owner][name])
        else:
            delattr(owner, name)


class _Modules:
    """Reads the modules that are loaded. The result is the same object while they are the same."""

    def __init__(self) -> None:
        self._found: dict[str, Any] = {}
        self._flat: list[Any] = []
        """What `_now` returned when the modules were read."""

    def __call__(self) -> Mapping[str, Any]:
        """Return the modules by name."""
        if not self._flat or not all(map(is_, self._now(), self._flat)):
            self._found, self._flat = dict(sys.modules), [*self._now()]
        return self._found

    def _now(self) -> Iterable[Any]:
        """Return the modules without their names; see `_Attributes._now`."""
        return chain(sys.modules.values(), [next(reversed(sys.modules))], _END)


def _modules_changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Whether a module was replaced or removed."""
    return any(map(is_not, before.values(), map(after.get, before)))


def _environment_by_import(before: Mapping[str, str], after: Mapping[str, str]) -> bool:
    """Whether the only change is that torch's own variables were added."""
    same = all(after.get(name) == value for name, value in before.items())
    return same and all(name.startswith("TORCH") for name in set(after) - set(before))


_PROCESS = (
    # These come first, because the parts below use them.
    _Part("hooks and import paths", _hooks, _hooks_write, _hooks_changed, imports=_always),
    _Part(
        "replaced functions",
        _ATTRIBUTES,
        _attributes_write,
        _attributes_changed,
        enough=False,
        imports=_attributes_by_import,
        grows=True,
    ),
    _Part(
        "functions changed in place",
        lambda: len(_changed_in_place),
        _in_place_write,
    ),
    _Part(
        "modules",
        _Modules(),
        sys.modules.update,
        _modules_changed,
        enough=False,
    ),
    _Part(
        "pickling",
        lambda: dict(copyreg.dispatch_table),
        lambda before: _refill(copyreg.dispatch_table, before),
        imports=_always,
    ),
    _Part(
        "how processes start",
        lambda: multiprocessing.get_start_method(allow_none=True),
        lambda before: multiprocessing.set_start_method(before, force=True),
    ),
    _Part("resource limits", _limits, _limits_write, lasts=False),
    _Part("working directory", _directory, lambda before: os.chdir(before[0]), lasts=False),
    _Part(
        "environment variables",
        lambda: dict(os.environ),
        _environment_write,
        imports=_environment_by_import,
        lasts=False,
    ),
    _Part("time zone", lambda: (time.tzname, time.timezone), lambda before: time.tzset()),
    _Part("umask", _umask, os.umask),
    _Part("signal handlers", _handlers, _handlers_write, lasts=False),
    _Part(
        "blocked signals",
        lambda: signal.pthread_sigmask(signal.SIG_BLOCK, []),
        lambda before: signal.pthread_sigmask(signal.SIG_SETMASK, before),
    ),
    _Part("timers", _timers, _timers_write, lasts=False),
    _Part(
        "priority",
        lambda: os.getpriority(os.PRIO_PROCESS, 0),
        lambda before: os.setpriority(os.PRIO_PROCESS, 0, before),
        lasts=False,
    ),
    _Part(
        "processor affinity",
        lambda: os.sched_getaffinity(0),
        lambda before: os.sched_setaffinity(0, before),
        lasts=False,
    ),
    _Part("user", lambda: (os.getresuid(), os.getresgid())),
    _Part(
        "locale",
        lambda: locale.setlocale(locale.LC_ALL),
        lambda before: locale.setlocale(locale.LC_ALL, before),
    ),
    _Part("recursion limit", sys.getrecursionlimit, sys.setrecursionlimit),
    _Part("size of a thread's stack", threading.stack_size, threading.stack_size),
    _Part("switch interval", sys.getswitchinterval, sys.setswitchinterval),
    _Part("longest number", sys.get_int_max_str_digits, sys.set_int_max_str_digits),
    _Part("tracing", lambda: (sys.gettrace(), sys.getprofile())),
    _Part(
        "garbage collection",
        lambda: (gc.isenabled(), gc.get_threshold(), gc.get_debug()),
        _collection_write,
    ),
    _Part("collector's callbacks", lambda: list(gc.callbacks), imports=_always),
    _Part("warnings filters", lambda: list(warnings.filters), _warnings_write, imports=_always),
    _Part("logging", _logging, _logging_write, imports=_always),
    _Part("socket timeout", socket.getdefaulttimeout, socket.setdefaulttimeout),
    _Part(
        "temporary folder",
        lambda: tempfile.tempdir,
        lambda before: setattr(tempfile, "tempdir", before),
        imports=_always,  # Python chooses it when it is first needed
    ),
    _Part("decimal's defaults", lambda: repr(decimal.DefaultContext)),
    _Part("standard streams", _streams, lasts=False),
    _Part("floating-point mode", _arithmetic),
    _Part(
        "threads",
        # Python's own count includes threads that a trial started without `threading`.
        lambda: (frozenset(threading.enumerate()), _thread._count()),
        changed=lambda before, after: bool(after[0] - before[0]) or after[1] > before[1],
        imports=_always,
        lasts=False,
    ),
    _Part(
        "child processes",
        _children,
        _end_children,
        changed=lambda before, after: bool(after - before),
        enough=False,
        lasts=False,
    ),
    _Part(
        "open files",
        _descriptors,
        changed=_descriptors_changed,
        imports=_always,
        lasts=False,
    ),
)


def _numpy_parts(np: Any) -> Iterator[_Part]:
    """Yield the parts of the state that numpy keeps."""
    yield _Part("numpy's errors", np.geterr, lambda before: np.seterr(**before))
    yield _Part("numpy's error call", np.geterrcall, np.seterrcall)
    yield _Part(
        "numpy's printing", np.get_printoptions, lambda before: np.set_printoptions(**before)
    )
    yield _Part("numpy's buffer", np.getbufsize, np.setbufsize)
    yield _Part(
        "numpy's generator",
        np.random.get_bit_generator,
        np.random.set_bit_generator,
        changed=lambda before, after: before is not after,
    )


def _torch_parts(torch: Any) -> Iterator[_Part]:
    """Yield the parts of the state that torch keeps, by their names in this version of torch."""
    c = torch._C

    def flag(getter: str, setter: str) -> Iterator[_Part]:
        if hasattr(c, getter) and hasattr(c, setter):  # not every version has every flag
            yield _Part(f"torch's {getter.lstrip('_')}", getattr(c, getter), getattr(c, setter))

    yield _Part("torch's default dtype", torch.get_default_dtype, torch.set_default_dtype)
    yield _Part("torch's default device", lambda: _torch_device(torch), torch.set_default_device)
    yield _Part("torch's threads", torch.get_num_threads, torch.set_num_threads)
    yield _Part("torch's threads between operations", torch.get_num_interop_threads)
    yield _Part("torch's gradients", torch.is_grad_enabled, torch.set_grad_enabled)
    yield _Part("torch's inference mode", torch.is_inference_mode_enabled)
    yield from flag("_is_multithreading_enabled", "_set_multithreading_enabled")
    yield _Part(
        "torch's hooks of saved tensors", lambda: c._autograd._top_saved_tensors_default_hooks(True)
    )
    yield _Part(
        "torch's checks of distributions",
        lambda: torch.distributions.Distribution._validate_args,
        torch.distributions.Distribution.set_default_validate_args,
    )
    for owner, name in (
        (torch.__future__, "overwrite_module_params_on_conversion"),
        (torch.__future__, "swap_module_params_on_conversion"),
        (torch.serialization, "default_load_endianness"),
        (torch.serialization, "default_mmap_options"),
        (torch.multiprocessing, "sharing_strategy"),
    ):
        yield _Part(f"torch's {name}", getattr(owner, f"get_{name}"), getattr(owner, f"set_{name}"))
    yield _Part("torch's operators", lambda: len(torch.library._impls), imports=_always)
    yield _Part(
        "torch's anomaly detection",
        lambda: (torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()),
        lambda before: torch.autograd.set_detect_anomaly(*before),
    )
    yield _Part(
        "torch's deterministic algorithms",
        lambda: (
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
        ),
        lambda before: torch.use_deterministic_algorithms(before[0], warn_only=before[1]),
    )
    for name in _TORCH_FLAGS:
        yield from flag(f"_get_{name}", f"_set_{name}")
    for name in _TORCH_SDP:
        yield from flag(f"_get_{name}_sdp_enabled", f"_set_sdp_use_{name}")
    yield _Part(
        "torch's matrix precision",
        torch.get_float32_matmul_precision,
        torch.set_float32_matmul_precision,
    )
    yield _Part("torch's float32 precision", lambda: _precisions(c), lambda b: _precise(c, b))
    yield _Part(
        "torch's reduced precision",
        lambda: (
            c._get_cublas_allow_fp16_reduced_precision_reduction(),
            c._get_cublas_allow_bf16_reduced_precision_reduction(),
        ),
        lambda before: (
            c._set_cublas_allow_fp16_reduced_precision_reduction(*before[0]),
            c._set_cublas_allow_bf16_reduced_precision_reduction(*before[1]),
        ),
    )
    yield _Part(
        "torch's autocast",
        lambda: [
            *((torch.is_autocast_enabled(d), torch.get_autocast_dtype(d)) for d in _DEVICES),
            torch.is_autocast_cache_enabled(),
        ],
    )
    yield _Part("torch's function modes", c._len_torch_function_stack)
    yield _Part("torch's dispatch modes", c._len_torch_dispatch_stack)
    hooks = _global_hooks()
    yield _Part("torch's global hooks", lambda: sum(map(len, hooks)))
    yield _Part(
        "torch's printing",
        lambda: dict(vars(torch._tensor_str.PRINT_OPTS)),
        lambda before: vars(torch._tensor_str.PRINT_OPTS).update(before),
    )


_DEVICES = ("cpu", "cuda")

_TORCH_FLAGS = (
    *("cudnn_enabled", "cudnn_benchmark", "cudnn_deterministic", "cublas_allow_fp16_accumulation"),
    *("mkldnn_enabled", "mkldnn_deterministic", "deterministic_fill_uninitialized_memory"),
    *("cpu_allow_fp16_reduced_precision_reduction", "warnAlways", "qengine"),
    *("linalg_preferred_backend", "blas_preferred_backend", "nnpack_enabled"),
    "math_sdp_allow_fp16_bf16_reduction",
)
"""Names of torch's flags, without `_get_` and `_set_`."""

_TORCH_SDP = ("flash", "mem_efficient", "math", "cudnn", "overrideable")

_PRECISIONS = (
    *(("generic", "all"), ("cuda", "all"), ("mkldnn", "all")),
    *((backend, op) for backend in ("cuda", "mkldnn") for op in ("matmul", "conv", "rnn")),
)


def _precisions(c: Any) -> list[str]:
    return [c._get_fp32_precision_getter(*key) for key in _PRECISIONS]


def _precise(c: Any, before: Sequence[str]) -> None:
    """Restore the precisions that were set, and leave the others to torch.

    Torch keeps a precision once it is set, so all of them are cleared first.
    """
    for key in _PRECISIONS:
        c._set_fp32_precision_setter(*key, "none")
    for key, value in zip(_PRECISIONS, before, strict=True):
        if c._get_fp32_precision_getter(*key) != value:
            c._set_fp32_precision_setter(*key, value)


def _torch_device(torch: Any) -> Any:
    """Return the device that was set as the default, or None."""
    mode = getattr(torch._GLOBAL_DEVICE_CONTEXT, "device_context", None)
    return mode.device if mode is not None else None


def _global_hooks() -> list[dict[Any, Any]]:
    """Return the tables of hooks that torch calls for every module and every optimizer."""
    held = chain(*(vars(sys.modules[f"torch.{name}"]).items() for name in _HOOKED))
    return [value for name, value in held if name.startswith("_global") and isinstance(value, dict)]


_HOOKED = ("nn.modules.module", "optim.optimizer")

_LIBRARIES: Mapping[str, Callable[[Any], Iterator[_Part]]] = {
    "numpy": _numpy_parts,
    "torch": _torch_parts,
}

_library_parts: dict[str, tuple[_Part, ...]] = {}
"""The parts of the libraries that this process has imported."""


class ProcessState:
    """The state of the process at the time when this object is made.

    Args:
        seed: seeds the global generators (random's, numpy's, torch's), so that a workload that
            reads them gets the same numbers in every process.
        last: the state that this process had for the last trial, if that trial has left it clean
            and nothing but the harness and Ray has run since.
    """

    def __init__(self, seed: int, last: "ProcessState | None" = None) -> None:
        self._seed = seed % _SEEDS
        self._parts: dict[str, _Part] = {}
        self._before: dict[str, Any] = {}
        self._left: dict[str, None] = {}
        """Names of parts that cannot be restored, in the order in which that was noticed."""
        self._after: dict[str, Any] = {}
        """The parts that can be taken over and that the trial has not changed, as it left them."""
        self._modules = 0
        """How many modules were imported then."""
        # The harness and Ray may have imported modules since, and these belong to the state too.
        if last and last._modules == len(sys.modules):
            self._before.update(last._after)
        self._add(_PROCESS)
        for name in _LIBRARIES:
            self.loaded(name)
        random.seed(self._seed)
        _WATCH.state = self

    def loaded(self, library: str) -> None:
        """Capture the state that a library keeps. Do nothing if the library is not imported."""
        module = sys.modules.get(library)
        if module is None:
            return
        if library not in _library_parts:
            _library_parts[library] = tuple(_LIBRARIES[library](module))
        self._add(_library_parts[library])
        if library == "numpy":
            module.random.seed(self._seed)
        elif library == "torch":
            # Not `torch.manual_seed`, which formats a traceback for each kind of device.
            module._C.default_generator.manual_seed(self._seed)
            _seed_cuda(module, self._seed)

    def _add(self, parts: Iterable[_Part]) -> None:
        for part in parts:
            self._parts[part.name] = part
            if part.name not in self._before:
                self._before[part.name] = _read(part)

    @contextmanager
    def importing(self) -> Iterator[None]:
        """Notice what the import of a module changes in the process.

        A process imports a module only once. So if the import changes the process, the first trial
        here sees another state than the next ones.
        """
        before = {name: _read(part) for name, part in self._parts.items()}
        try:
            yield
        finally:
            for name, part in self._parts.items():
                was, now = before.get(name, self._before[name]), _read(part)
                changed = _changed(part, was, now)
                if not changed and not part.grows:
                    continue
                known = not changed or part.imports(was, now)
                if known and not _changed(part, self._before[name], was):
                    self._before[name] = now
                elif changed:
                    self._left[f"{name}, by an import"] = None

    def restore(self) -> list[str]:
        """Restore what has changed, and name what cannot be restored.

        Returns:
            Names of parts of the state. If there is one, this process must run no other trial.
        """
        _WATCH.state = None
        faulthandler.cancel_dump_traceback_later()  # it may end the process
        for name, part in self._parts.items():
            before, after = self._before[name], _read(part)
            if not _changed(part, before, after):
                if part.lasts:
                    self._after[name] = after
                continue
            if part.write is None:
                gc.collect()  # closes files that only unreachable objects hold
            else:
                with suppress(Exception):
                    part.write(before)
            if not part.enough or _changed(part, before, _read(part)):
                self._left[name] = None
        self._modules = len(sys.modules)
        return list(self._left)


def _seed_cuda(torch: Any, seed: int) -> None:
    """Seed the generators of all GPUs, now or as soon as the trial initialises CUDA."""

    def seed_all() -> None:
        for generator in torch.cuda.default_generators:
            generator.manual_seed(seed)

    if torch.cuda.is_initialized():
        seed_all()
    elif torch.backends.cuda.is_built():
        # As `torch.cuda.manual_seed_all` does, which formats a traceback each time.
        torch.cuda._lazy_seed_tracker.queue_seed_all(seed_all, [])


_UNREADABLE = "unreadable"


def _read(part: _Part) -> Any:
    try:
        return part.read()
    except Exception:  # noqa: BLE001 - a trial may have broken anything that this needs
        return _UNREADABLE


def _changed(part: _Part, before: Any, after: Any) -> bool:
    if before is after:
        return False
    if before is _UNREADABLE or after is _UNREADABLE:
        return True
    return part.changed(before, after)


class _ImportWatch(MetaPathFinder):
    """An import hook that reports each import to the state of the running trial."""

    def __init__(self) -> None:
        self.state: ProcessState | None = None
        """None while no trial runs."""
        self.listens = False
        """Whether `_notice_in_place` is an audit hook of this process."""
        self._depth = 0
        self._finding = False

    def runs_a_trial(self) -> bool:
        """Whether a trial runs, and not an import of it."""
        return self.state is not None and self._depth == 0

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find the module as the other finders do, and make `_execute` run its import."""
        if (
            self.state is None
            or self._finding
            or threading.current_thread() is not threading.main_thread()
        ):
            return None
        self._finding = True
        try:
            others = (finder for finder in sys.meta_path if finder is not self)
            specs = (finder.find_spec(name, path, target) for finder in others)
            spec = next(filter(None, specs), None)
        finally:
            self._finding = False
        loader = spec.loader if spec else None
        if isinstance(loader, _LOADERS):
            loader.exec_module = partial(self._execute, loader)  # type: ignore[method-assign]
        return spec

    def _execute(self, loader: Any, module: ModuleType) -> None:
        """Execute the module as its loader does, and notice what that changes."""
        del loader.exec_module  # the replacement that `find_spec` has set
        state = self.state
        noticed = state.importing() if state and self._depth == 0 else nullcontext()
        self._depth += 1
        try:
            with noticed:
                loader.exec_module(module)
                if state and module.__name__ in _LIBRARIES:
                    state.loaded(module.__name__)
        finally:
            self._depth -= 1


_LOADERS = (importlib.machinery.SourceFileLoader, importlib.machinery.ExtensionFileLoader)

_WATCH = _ImportWatch()


def watch_imports() -> None:
    """Notice all later imports of this process, and what is changed in functions."""
    if not _WATCH.listens:
        sys.addaudithook(_notice_in_place)  # never to be removed
        _WATCH.listens = True
    if _WATCH not in sys.meta_path:
        sys.meta_path.insert(0, _WATCH)
