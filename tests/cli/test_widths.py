"""Test that no table of a command cuts an id, a verdict or a state at any terminal width."""

import io
import os
from collections.abc import Callable
from contextlib import redirect_stdout
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from harness.cli import compare, plan, selftest, status
from harness.cli import list as list_
from harness.manifest import Experiment, load
from harness.plan import Selection
from harness.selftest import CaseResult
from harness.session import Session
from harness.session.status import Progress
from harness.store import Store
from harness.verdict import Outcome
from tests.compare.test_compare import compared, side
from tests.nightly.simulation import MANIFEST, REGISTRY

LONG = "a-control-with-many-hyphens-in-its-name"  # an id is never broken, so it needs 40 columns

Words = list[str]


@cache
def experiments() -> tuple[Experiment, ...]:
    with TemporaryDirectory() as folder:
        for name in ("walk", LONG):
            text = MANIFEST.format(name=name, control="true", scale=float(len(name)))
            (Path(folder) / f"{name}.yaml").write_text(text)
        return load([Path(folder)], REGISTRY)


def show_comparison() -> Words:
    sides = [side([0.0, 0.1]), side([0.0, 0.2]), side([1.0, 1.1]), side([])]
    comparisons = [compared(sides[0], other) for other in sides]
    compare._show(comparisons, Console())
    return [word for item in comparisons for word in (item.id, item.standing)]


def show_selftest() -> Words:
    results = [
        CaseResult("a planted fault", True, f"{one} or {other}", None)
        for one, other in zip(Outcome, reversed(Outcome), strict=True)
    ]
    selftest._show({"stored": results, "trained": results}, Console())
    return [result.verdict for result in results] + ["NO"]


def show_list() -> Words:
    with patch.object(list_, "load_experiments", lambda _: experiments()):
        list_.list_([])
    return [item.id for item in experiments()] + ["(control)"]


def show_plan() -> Words:
    with TemporaryDirectory() as folder, patch("harness.workloads.registry", lambda: REGISTRY):
        plan.show_plan(experiments(), Selection(), Store(Path(folder)))
    return [item.id for item in experiments()]


def show_status() -> Words:
    with TemporaryDirectory() as folder:
        session = Session(experiments(), Selection(), Store(Path(folder)), registry=REGISTRY)
        status._show_experiments(session, Console())
    return [item.id for item in experiments()] + " ".join(Progress).split()


def show_trials() -> Words:
    with TemporaryDirectory() as folder:
        session = Session(experiments(), Selection(), Store(Path(folder)), registry=REGISTRY)
        status._show_trials(session, Console())
        trials = [trial for by_seed in session.trials.values() for trial in by_seed.values()]
    return [item.id for item in experiments()] + trials


@pytest.mark.parametrize(
    "show", [show_comparison, show_selftest, show_list, show_plan, show_status, show_trials]
)
@settings(max_examples=25, deadline=None)
@given(width=st.integers(40, 200))
def test_no_width_cuts_an_id_a_verdict_or_a_state(show: Callable[[], Words], width: int) -> None:
    shown = io.StringIO()
    with patch.dict(os.environ, {"COLUMNS": str(width)}), redirect_stdout(shown):
        words = show()
    text = shown.getvalue()
    table = [line for line in text.splitlines() if line.strip()]
    assert max(map(cell_len, table)) <= width
    for word in set(words):
        assert text.count(word) >= words.count(word)
