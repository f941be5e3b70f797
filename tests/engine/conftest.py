from collections.abc import Iterator

import pytest

from harness import engine


@pytest.fixture(scope="session")
def cluster() -> Iterator[None]:
    with engine.cluster(cpus=2, gpus=2):
        yield
