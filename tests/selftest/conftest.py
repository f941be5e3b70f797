"""The bench on which the command itself plants, without the records that it reads."""

import logging
from collections.abc import Iterator

import pytest

from harness.cli.selftest import DEFAULT_EXPERIMENTS, bench_of
from harness.selftest import Bench
from tests.conftest import REPOSITORY


@pytest.fixture(scope="session")
def bench() -> Bench:
    return bench_of(REPOSITORY / DEFAULT_EXPERIMENTS)


@pytest.fixture
def quiet() -> Iterator[None]:
    """Damage that is planted is warned of, as it should be."""
    logger = logging.getLogger("harness.store")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    yield
    logger.setLevel(before)
