"""Which exceptions are the machine's: a table of what machines and methods raise."""

import asyncio
import concurrent.futures.process
import errno
import http.client
import multiprocessing
import sqlite3
import subprocess
import urllib.error
from collections.abc import Callable
from email.message import Message
from pathlib import Path
from typing import NoReturn

import aiohttp
import grpc
import pytest
import requests
import torch
import torch.distributed

from harness.errors import Exit, InfrastructureError
from harness.record import FailureKind
from harness.trial import kind_of


class MuteError(RuntimeError):
    def __str__(self) -> str:
        raise SystemExit(5)


MACHINE = [
    InfrastructureError("the licence server does not answer"),
    OSError(errno.ENOSPC, "No space left on device"),
    OSError(errno.EMFILE, "Too many open files"),
    FileNotFoundError("gone from the network disk"),
    ConnectionResetError("peer"),
    BrokenPipeError("child"),
    TimeoutError("late"),
    concurrent.futures.TimeoutError("late"),
    urllib.error.HTTPError("http://data", 503, "Unavailable", Message(), None),
    requests.HTTPError("503"),
    requests.exceptions.ConnectionError("refused"),
    http.client.IncompleteRead(b""),
    aiohttp.ServerDisconnectedError(),
    grpc.RpcError("UNAVAILABLE"),
    sqlite3.OperationalError("database is locked"),
    ImportError("libcudnn.so.9"),
    ModuleNotFoundError("not_on_this_node"),
    MemoryError(),
    EOFError("pipe"),
    concurrent.futures.process.BrokenProcessPool("a child died"),
    multiprocessing.AuthenticationError("digest"),
    subprocess.CalledProcessError(-9, "simulate"),
    subprocess.CalledProcessError(137, "sh -c simulate"),
    subprocess.TimeoutExpired("simulate", 3.0),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
    torch.AcceleratorError("CUDA error: uncorrectable ECC error encountered"),
    torch.distributed.DistBackendError("NCCL error in: ProcessGroupNCCL.cpp"),
    torch.distributed.DistNetworkError("the client socket has timed out"),
    RuntimeError("CUDA error: an illegal memory access was encountered"),
    RuntimeError("CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`"),
    RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR"),
    RuntimeError("NCCL error: unhandled system error"),
    RuntimeError("No CUDA GPUs are available"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory"),
    RuntimeError("DataLoader worker (pid(s) 71) exited unexpectedly"),
    RuntimeError("can't start new thread"),
    ExceptionGroup("workers", [ValueError("late"), OSError(errno.EIO, "Input/output error")]),
]

METHOD = [
    RuntimeError("the walk tripped"),
    RuntimeError("mat1 and mat2 shapes cannot be multiplied (3x4 and 5x6)"),
    RuntimeError("CUDA error: device-side assert triggered"),
    torch.AcceleratorError("CUDA error: device-side assert triggered"),
    ArithmeticError("epoch 3: mi_bits is nan"),
    ValueError("OSError: words alone prove nothing"),
    AssertionError("No space left on device"),
    KeyError("weights"),
    sqlite3.IntegrityError("UNIQUE constraint failed"),
    RecursionError("too deep"),
    MuteError(),
    KeyboardInterrupt("from the method"),
    GeneratorExit(),
    SystemExit(3),
    asyncio.CancelledError("given up"),
    subprocess.CalledProcessError(1, "simulate"),
    ExceptionGroup("seeds", [ValueError("bad")]),
]


@pytest.mark.parametrize("error", MACHINE, ids=lambda error: repr(error)[:60])
def test_errors_of_the_machine_are_infrastructure(error: BaseException) -> None:
    assert kind_of(error) is FailureKind.INFRASTRUCTURE


@pytest.mark.parametrize("error", METHOD, ids=lambda error: type(error).__name__)
def test_every_other_error_is_the_method_s(error: BaseException) -> None:
    assert kind_of(error) is FailureKind.SCIENTIFIC


def wrapped() -> NoReturn:
    try:
        raise ConnectionResetError("data server")
    except OSError as error:
        raise RuntimeError("no batch") from error


def wrapped_twice() -> NoReturn:
    try:
        wrapped()
    except RuntimeError as error:
        raise ValueError("no epoch") from error


def raised_while_the_disk_was_full() -> NoReturn:
    try:
        raise OSError(errno.ENOSPC, "No space left on device")
    except OSError:
        raise RuntimeError("no checkpoint")  # noqa: B904 - the case under test


def raised_on_the_way_around_a_missing_cache() -> NoReturn:
    try:
        Path("/nonexistent/cache").read_bytes()
    except FileNotFoundError:
        raise ArithmeticError("mi_bits is nan")  # noqa: B904 - the case under test


def raised_on_the_way_around_a_missing_package() -> NoReturn:
    try:
        raise ModuleNotFoundError("fast_fft")
    except ImportError:
        raise ArithmeticError("mi_bits is nan")  # noqa: B904 - the case under test


def caused_by_a_missing_file() -> NoReturn:
    try:
        Path("/nonexistent/weights").read_bytes()
    except FileNotFoundError as error:
        raise RuntimeError("no weights") from error


def context_taken_back() -> NoReturn:
    try:
        raise ConnectionResetError("data server")
    except OSError:
        raise ValueError("a negative learning rate") from None


def in_a_circle() -> NoReturn:
    one, other = ValueError("one"), ValueError("other")
    one.__cause__, other.__cause__ = other, one
    raise one


@pytest.mark.parametrize(
    ("act", "kind"),
    [
        (wrapped, FailureKind.INFRASTRUCTURE),
        (wrapped_twice, FailureKind.INFRASTRUCTURE),
        (raised_while_the_disk_was_full, FailureKind.INFRASTRUCTURE),
        (caused_by_a_missing_file, FailureKind.INFRASTRUCTURE),
        (raised_on_the_way_around_a_missing_cache, FailureKind.SCIENTIFIC),
        (raised_on_the_way_around_a_missing_package, FailureKind.SCIENTIFIC),
        (context_taken_back, FailureKind.SCIENTIFIC),
        (in_a_circle, FailureKind.SCIENTIFIC),
    ],
)
def test_an_error_counts_as_what_caused_it(act: Callable[[], NoReturn], kind: FailureKind) -> None:
    with pytest.raises(Exception) as caught:  # noqa: PT011 - each raises another
        act()
    assert kind_of(caught.value) is kind


def test_what_a_workload_says_of_its_machine_exits_as_infrastructure() -> None:
    assert InfrastructureError.exit_code is Exit.INCOMPLETE
