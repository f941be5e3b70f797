"""Sets torch up for a trial, and describes the device, threads and versions for its record.

A warm process runs many trials one after another. So a trial sets everything global itself, and
assumes nothing about what the last one left.
"""

import os
import platform
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from harness.errors import ResourceError
from harness.record import Environment, Json


def configure(device: str, threads: int) -> torch.device:
    """Make torch deterministic and exact, on `threads` threads, and return the device.

    Raises:
        ResourceError: 'cuda' is asked for and no GPU is there, or it is no device known here.
    """
    if device not in ("cpu", "cuda"):
        raise ResourceError(f"no device {device!r}; this workload runs on 'cpu' or 'cuda'")
    if device == "cuda":
        # cuBLAS reads it when it is first used; without it some of its sums change order.
        os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"
        if not torch.cuda.is_available():
            raise ResourceError("a GPU was asked for, and torch sees none in this process")
    torch.set_num_threads(threads)
    torch.set_default_dtype(torch.float32)
    torch.set_default_device(None)
    torch.set_grad_enabled(True)
    _make_exact()
    return torch.device(device)


def _make_exact() -> None:
    """Deterministic kernels and full float32; none of this starts CUDA."""
    torch.use_deterministic_algorithms(True)
    # Filling what `empty` returns only shows reads of unset memory, at a cost on every step.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    # Not TF32. torch's stubs do not know these names yet.
    torch.backends.fp32_precision = "ieee"  # type: ignore[attr-defined]
    torch.backends.cuda.matmul.fp32_precision = "ieee"
    torch.backends.cudnn.conv.fp32_precision = "ieee"  # type: ignore[attr-defined]


def describe(device: torch.device, threads: int, form: str, data: Mapping[str, str]) -> Environment:
    """Describe where and how a trial runs, for its record."""
    name = torch.cuda.get_device_name() if device.type == "cuda" else "cpu"
    plural = "" if threads == 1 else "s"
    return Environment(
        device=name,
        threads=threads,
        form=f"{name}/{threads} thread{plural}/{form}",
        versions=_versions(device),
        hardware=_hardware(device),
        settings=_settings(),
        data=dict(data),
    )


def _versions(device: torch.device) -> Mapping[str, str]:
    versions = {
        "python": platform.python_version(),
        # As it is, it has a class of torch's own: to read a record a driver would import torch.
        "torch": str(torch.__version__),
        "numpy": np.__version__,
    }
    if device.type == "cuda":
        versions |= {"cuda": str(torch.version.cuda), "cudnn": str(torch.backends.cudnn.version())}
    return versions


def _hardware(device: torch.device) -> Mapping[str, str]:
    hardware = {
        "cpu": _line_after("/proc/cpuinfo", "model name") or platform.processor() or "unknown",
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "system": platform.platform(),
    }
    if device.type == "cuda":
        hardware["gpu"] = torch.cuda.get_device_name()
        hardware["gpu_driver"] = (
            _line_after("/proc/driver/nvidia/version", "NVRM version") or "unknown"
        )
    return hardware


def _line_after(path: str, key: str) -> str | None:
    """The value of the first `key : value` line of one of Linux's tables, where there is one."""
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return None
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(key)), None)


def _settings() -> Mapping[str, Json]:
    return {
        "dtype": str(torch.get_default_dtype()),
        "deterministic_algorithms": torch.are_deterministic_algorithms_enabled(),
        "cudnn_deterministic": torch.backends.cudnn.deterministic,
        "cudnn_benchmark": torch.backends.cudnn.benchmark,
        "fp32_precision": torch.backends.cuda.matmul.fp32_precision,
        "mkldnn": torch.backends.mkldnn.enabled,
        "cublas_workspace": os.environ.get("CUBLAS_WORKSPACE_CONFIG"),
    }
