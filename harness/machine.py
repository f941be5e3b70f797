"""What this machine is, and how much of its memory a trial has used, as Linux says it."""

from pathlib import Path

_PROC = Path("/proc")


def table_value(path: Path, key: str) -> str | None:
    """Return the value of the first line `key : value` of a table; None if it has none."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return None
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(key)), None)


def cpu_name() -> str | None:
    """Return the model of the CPU; None if it is unknown."""
    return table_value(_PROC / "cpuinfo", "model name")


def gpu_names(proc: Path = _PROC) -> str | None:
    """Return the models of the machine's NVIDIA GPUs, each once; None if there are none."""
    files = sorted(proc.glob("driver/nvidia/gpus/*/information"))
    found = dict.fromkeys(filter(None, (table_value(file, "Model") for file in files)))
    return ", ".join(found) or None


def forget_peak_memory() -> bool:
    """Let the peak of this process's memory begin here. Returns whether that worked."""
    try:
        (_PROC / "self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def peak_memory_bytes() -> int | None:
    """Return this process's largest resident memory since its peak began; None if unknown."""
    peak = table_value(_PROC / "self/status", "VmHWM")
    return int(peak.removesuffix(" kB")) * 1024 if peak else None
