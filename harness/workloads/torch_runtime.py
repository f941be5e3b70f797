"""Sets torch up for a deterministic trial, describes the environment, and seeds random streams.

Any workload that uses torch may use this module. A warm worker process runs many trials one after
another. So each trial sets all global state itself, and relies on nothing that an earlier trial
left.
"""

import os
import platform
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from harness.errors import ResourceError
from harness.record import Environment, Json
from harness.source import cpu_name, table_value


def configure(device: str, threads: int) -> torch.device:
    """Make torch deterministic and exact, set the number of threads, and return the device.

    Raises:
        ResourceError: the device is neither 'cpu' nor 'cuda', or it is 'cuda' and torch finds no
            GPU.
    """
    if device not in ("cpu", "cuda"):
        raise ResourceError(f"no device {device!r}; this workload runs on 'cpu' or 'cuda'")
    if device == "cuda":
        # cuBLAS reads this at its first use. Without it the order of some sums changes.
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
    """Use deterministic kernels and full float32 precision. This does not start CUDA."""
    torch.use_deterministic_algorithms(True)
    # Filling new tensors only helps to find reads of unset memory, and it slows every step.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    # No TF32. torch's type stubs do not have these names yet.
    torch.backends.fp32_precision = "ieee"  # type: ignore[attr-defined]
    torch.backends.cuda.matmul.fp32_precision = "ieee"
    torch.backends.cudnn.conv.fp32_precision = "ieee"  # type: ignore[attr-defined]


def describe_runtime(
    device: torch.device, threads: int, form: str, data: Mapping[str, str]
) -> Environment:
    """Describe where and how a trial runs, for its record.

    Args:
        device: the device that `configure` returned.
        threads: number of CPU threads.
        form: name of the form of the step; a checkpoint is resumed in the same form only.
        data: digest of each data set as it was read, by name.
    """
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
        # torch's version is a class of its own. As one, it would make readers import torch.
        "torch": str(torch.__version__),
        "numpy": np.__version__,
    }
    if device.type == "cuda":
        versions |= {"cuda": str(torch.version.cuda), "cudnn": str(torch.backends.cudnn.version())}
    return versions


def _hardware(device: torch.device) -> Mapping[str, str]:
    hardware = {
        "cpu": cpu_name() or platform.processor() or "unknown",
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "system": platform.platform(),
    }
    if device.type == "cuda":
        hardware["gpu"] = torch.cuda.get_device_name()
        hardware["gpu_driver"] = (
            table_value(Path("/proc/driver/nvidia/version"), "NVRM version") or "unknown"
        )
    return hardware


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


def generator(seed: int, stream: int, epoch: int = 0) -> torch.Generator:
    """Return a new CPU generator, independent of those of all other streams and epochs.

    Derive every random number of a trial from such a generator, and keep none from one epoch to
    the next. Then a checkpoint need not hold a generator, the draw of an epoch does not depend on
    the number of epochs before it, and a run is a prefix of every longer run.

    Args:
        seed: the trial's.
        stream: number of the use. The numbers determine the results: never renumber them.
        epoch: number of the epoch; 0 for what is drawn once.
    """
    return torch.Generator().manual_seed(generator_seed(seed, stream, epoch))


def generator_seed(seed: int, stream: int, epoch: int = 0) -> int:
    """Return the seed of `generator`: 32 bits, all that torch's Mersenne Twister accepts."""
    sequence = np.random.SeedSequence(entropy=seed, spawn_key=(stream, epoch))
    return int(sequence.generate_state(1, np.uint32)[0])
