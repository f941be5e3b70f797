"""What tests share: real data, where it has been fetched."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# How long an example takes says more of the machine than of the code.
settings.register_profile("harness", deadline=None)
settings.load_profile("harness")

REPOSITORY = Path(__file__).parents[1]
FIRST_PAPER = tuple(
    path for path in sorted((REPOSITORY / "experiments").glob("*.yaml")) if path.stem != "psa"
)
"""The manifests of the first paper: one experiment each."""


def pytest_configure() -> None:
    """Take SIGINT as a terminal's programs do: what a shell starts with `&` ignores it.

    The tests' programs inherit that, also those that a fork server starts.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def _heeds_a_closed_terminal() -> Iterator[None]:
    """What `nohup` starts ignores SIGHUP. So do its children, until this fixture is used."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """As many test processes as this process may use cores, at most four.

    pytest-xdist itself counts the machine's cores, also those that `taskset` or a container denies.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(cores or 1, 4)


_LONGEST = (
    "tests/newcomers/test_page.py",
    "tests/cli/test_selftest.py",
    "tests/engine/test_packs.py",
)
"""Files with a test of a minute or more."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first: a process that began one last would end long after the other."""
    items.sort(key=lambda item: not item.nodeid.startswith(_LONGEST))


@pytest.fixture(scope="session")
def mnist_cache() -> Path:
    """The cache folder with MNIST in it: `$HARNESS_DATA`, by default `.data` in the repository.

    Tests fetch nothing. Without it they are skipped, but fail under CI, where it must be there.
    """
    cache = Path(os.environ.get("HARNESS_DATA", REPOSITORY / ".data"))
    if not (cache / "MNIST" / "raw" / "train-images-idx3-ubyte").is_file():
        reason = f"no MNIST in {cache}; fetch it, or name its folder in HARNESS_DATA"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return cache
