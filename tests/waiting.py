"""Wait for something that another process or thread is to do, however busy the machine is.

Tests state what must happen, not how soon: the limits are there so that a hang is a failure.
"""

import subprocess
import time
from collections.abc import Callable

import pytest

LIMIT_S = 120.0
"""For one thing that a process does."""

HANG_S = 900.0
"""For a whole command. One that starts Ray thrice took 156 s on a slow processor left to it."""


def eventually(condition: Callable[[], object], limit_s: float = LIMIT_S) -> bool:
    """Poll until the condition holds. False if it does not within the limit."""
    end_s = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > end_s:
            return False
        time.sleep(0.02)
    return True


def wait_until(
    condition: Callable[[], object],
    what: str,
    *,
    process: "subprocess.Popen[str] | subprocess.Popen[bytes] | None" = None,
    limit_s: float = LIMIT_S,
) -> None:
    """Poll until the condition holds, and fail the test if it never does.

    Args:
        condition: what is waited for.
        what: the same in words, for the failure.
        process: whose work it is; the test fails as soon as this has ended without it.
        limit_s: for how long.
    """

    def over() -> bool:
        return bool(condition()) or (process is not None and process.poll() is not None)

    if not eventually(over, limit_s):
        pytest.fail(f"{what}: not within {limit_s:.0f} s")
    if not condition():
        pytest.fail(f"{what}: the process ended before, with exit code {process.returncode}")
