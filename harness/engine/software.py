"""What has to be the same on driver and workers, lest a result depend on where a trial ran."""

import platform
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version

from harness.source import package_digest


@dataclass(frozen=True)
class Software:
    """The versions in one process; the harness's own is the digest of its files."""

    python: str
    torch: str
    ray: str
    harness: str

    def differences(self, there: "Software") -> list[str]:
        """What another process has otherwise, in words: its version and ours."""
        pairs = zip(asdict(self).items(), asdict(there).values(), strict=True)
        return [
            f"{name} {theirs[:12]} there and {ours[:12]} here"
            for (name, ours), theirs in pairs
            if ours != theirs
        ]


@cache
def software() -> Software:
    """This process's."""
    return Software(platform.python_version(), _version("torch"), _version("ray"), package_digest())


def _version(package: str) -> str:
    """As it was installed: importing torch to ask it takes seconds on each node."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "missing"
