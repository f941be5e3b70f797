"""The machine on which figures were taken, in words."""

import os
import platform
from importlib.metadata import version
from pathlib import Path

from harness.source import source


def describe() -> dict[str, str]:
    """CPU, cores, versions and commit."""
    code = source()
    return {
        "cpu": _cpu(),
        "cores": str(os.cpu_count()),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        **{name: version(name) for name in ("torch", "ray", "mlflow")},
        "commit": code.commit_name[:12] + (" and changes" if code.dirty else ""),
    }


def _cpu() -> str:
    """The model's name, with the instructions that torch goes by: some clouds say no more."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or "unknown")
