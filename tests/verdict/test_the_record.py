"""What the committed records say hinges on every single number that a paper reports."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from harness import workloads
from harness.manifest import Claim, Experiment, load
from harness.plan import Selection
from harness.session import CommittedUse, Session
from harness.store import Store
from harness.verdict import Case, ClaimResult, judge
from tests.conftest import FIRST_PAPER

FOUND = load(FIRST_PAPER, workloads.registry())


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Session:
    return Session(
        FOUND, Selection(), Store(tmp_path_factory.mktemp("nothing")), CommittedUse.ALWAYS
    )


@pytest.mark.parametrize("experiment", FOUND, ids=lambda each: each.id)
@pytest.mark.parametrize("sign", [-1, 1])
def test_a_reported_value_farther_off_than_tolerance_and_three_spreads_does_not_stand(
    session: Session, experiment: Experiment, sign: int
) -> None:
    standing = []
    for claim, result in _reported(session, experiment):
        by = result.tolerance + 3 * (result.spread or 0.0) + 1e-9
        reported = _printed(claim, (result.measured or 0.0) + sign * by, away=sign)
        moved = _with(claim, result.epoch, reported)
        results = _results(session, _replaced(experiment, claim, moved))
        (there,) = (each for each in results if each.name == result.name)
        standing += [there.name] if there.verdict.holds else []
    assert not standing


def _reported(session: Session, experiment: Experiment) -> Iterator[tuple[Claim, ClaimResult]]:
    """Each number of the listing, and what the seeds gave."""
    results = _results(session, experiment)
    for claim in experiment.manifest.claims:
        rows = list(claim.reported) if isinstance(claim.reported, Mapping) else [None]
        for row in rows:
            (result,) = (each for each in results if (each.claim, each.epoch) == (claim.name, row))
            yield claim, result


def _results(session: Session, experiment: Experiment) -> tuple[ClaimResult, ...]:
    """By itself: what gates an experiment says nothing of a row."""
    selection = session.selection
    case = Case(experiment, selection.seeds_of(experiment), selection.epochs_of(experiment))
    (verdict,) = judge([case], lambda _, seed: session.trial(experiment, seed))
    return tuple(verdict.results)


def _printed(claim: Any, value: float, *, away: int) -> float:
    """The nearest number that the listing could show, on that side."""
    decimals = getattr(claim, "decimals", None)
    if decimals is None:
        return value
    unit = 10.0**-decimals
    return round(unit * (math.ceil if away > 0 else math.floor)(value / unit), decimals)


def _with(claim: Any, epoch: int | None, reported: float) -> Claim:
    moved = reported if epoch is None else {**claim.reported, epoch: reported}
    return claim.model_copy(update={"reported": moved})


def _replaced(experiment: Experiment, claim: Claim, moved: Claim) -> Experiment:
    claims = tuple(moved if each is claim else each for each in experiment.manifest.claims)
    manifest = experiment.manifest.model_copy(update={"claims": claims})
    return experiment.model_copy(update={"manifest": manifest})
