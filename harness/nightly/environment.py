"""What a night ran on, in full: the records hold only what results depend on."""

import os
import platform
import sys
from collections.abc import Mapping
from importlib.metadata import distributions

from harness.record import Source
from harness.report.documents import Document
from harness.source import source


class EnvironmentDocument(Document):
    """Machine, interpreter, source and every installed package with its version."""

    python: str
    platform: str
    machine: str
    cpus: int | None
    source: Source
    packages: Mapping[str, str]


def environment() -> EnvironmentDocument:
    """Describe this process and the machine that it runs on."""
    installed = sorted(distributions(), key=lambda item: str(item.metadata["Name"]).lower())
    return EnvironmentDocument(
        python=sys.version,
        platform=platform.platform(),
        machine=platform.machine(),
        cpus=os.cpu_count(),
        source=source(),
        packages={item.metadata["Name"]: item.version for item in installed},
    )
