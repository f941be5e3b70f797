"""The experiment that the command tests by default, with its committed records."""

import logging
from collections.abc import Iterator

import pytest

from harness.selftest import Subject
from harness.session.selftest import choose_subject
from tests.conftest import REPOSITORY


@pytest.fixture(scope="session")
def subject() -> Subject:
    return choose_subject([REPOSITORY / "experiments"])


@pytest.fixture
def quiet() -> Iterator[None]:
    """Damage that is planted is warned of, as it should be."""
    logger = logging.getLogger("harness.store")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    yield
    logger.setLevel(before)
