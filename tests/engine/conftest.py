from collections.abc import Iterator

import pytest

from harness import engine


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """Not for the session: files that start Ray themselves may run between those of this folder."""
    with engine.cluster(cpus=2, gpus=2):
        yield
