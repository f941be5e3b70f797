"""Compare software versions of driver and workers: a result must not depend on the node."""

import platform
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version

from harness.source import package_digest


@dataclass(frozen=True)
class Software:
    """The versions in one process. The harness's version is the digest of its files."""

    python: str
    torch: str
    ray: str
    harness: str

    def differences(self, other: "Software") -> list[str]:
        """Describe each version in which another process differs from this one."""
        pairs = zip(asdict(self).items(), asdict(other).values(), strict=True)
        return [
            f"{name} {theirs[:12]} there and {ours[:12]} here"
            for (name, ours), theirs in pairs
            if ours != theirs
        ]


@cache
def software() -> Software:
    """Return the versions in this process."""
    return Software(platform.python_version(), _version("torch"), _version("ray"), package_digest())


def _version(package: str) -> str:
    """Return the installed version. Importing torch to ask it would take seconds on each node."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "missing"
