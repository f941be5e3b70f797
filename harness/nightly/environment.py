"""What a night ran on, in full: the records hold only what results depend on."""

import os
import platform
import sys
from dataclasses import asdict
from importlib.metadata import distributions

from harness.record import Json
from harness.source import source


def environment() -> dict[str, Json]:
    """Machine, interpreter, source and every installed package with its version."""
    return {
        "python": sys.version,
        "platform": platform.platform(),
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
        "source": asdict(source()),
        "packages": {
            item.metadata["Name"]: item.version
            for item in sorted(distributions(), key=lambda item: str(item.metadata["Name"]).lower())
        },
    }
