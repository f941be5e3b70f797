"""Nights of walks, of which the command line's registry knows only in these tests."""

import pytest

from harness import workloads
from tests.nightly.simulation import REGISTRY


@pytest.fixture(autouse=True)
def _walks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workloads, "registry", lambda: REGISTRY)
