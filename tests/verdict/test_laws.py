"""Laws that every verdict keeps, whatever the paper and the seeds."""

from dataclasses import replace
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import stats
from harness.manifest import CurveClaim
from harness.record import StoredTrial
from harness.verdict import Case, Outcome, judge
from tests.verdict.builders import (
    curve,
    experiment,
    failed,
    row,
    trial,
    value,
    verdict_on,
    with_reported,
)

EPOCHS = 4
Study = dict[int, list[float]]
bits = st.floats(0, 4, width=32)
estimates = st.lists(bits, min_size=EPOCHS, max_size=EPOCHS)
studies = st.dictionaries(st.integers(0, 9), estimates, min_size=1, max_size=4).filter(
    lambda study: len({tuple(curve_) for curve_ in study.values()}) == len(study)
)
"""No two seeds are equal, as complete seeds that all are count as one, and a test may fail some
of them: tests/verdict/test_identical_runs.py.
"""
claims = st.builds(
    lambda reported, tolerance: curve(dict(enumerate(reported, 1)), tolerance),
    estimates,
    st.floats(0.01, 2),
)


def trials(study: Study) -> dict[int, StoredTrial | None]:
    return {seed: trial(curve_, test=curve_[-1]) for seed, curve_ in study.items()}


@given(studies, claims)
def test_judging_twice_gives_the_same_verdict(study: Study, claim: CurveClaim) -> None:
    asked = experiment(claim)
    assert verdict_on(asked, trials(study)) == verdict_on(asked, trials(study))


@given(studies, claims, st.randoms(use_true_random=False))
def test_the_order_of_the_seeds_does_not_matter(
    study: Study, claim: CurveClaim, random: Random
) -> None:
    asked, stored = experiment(claim), trials(study)
    seeds = list(study)
    random.shuffle(seeds)
    (shuffled,) = judge([Case(asked, tuple(seeds), EPOCHS)], lambda _, seed: stored[seed])
    assert shuffled == verdict_on(asked, stored)


@given(studies, st.integers(1, EPOCHS), st.sampled_from([-1, 1]), st.floats(0.01, 1))
def test_a_value_moved_by_its_tolerance_and_three_spreads_is_reproduced_no_more(
    study: Study, epoch: int, sign: int, tolerance: float
) -> None:
    means = {at + 1: sum(c[at] for c in study.values()) / len(study) for at in range(EPOCHS)}
    claim = curve(means, tolerance)
    before = verdict_on(experiment(claim), trials(study))
    by = tolerance + 3 * (before.results[epoch - 1].spread or 0.0) + 1e-9
    moved = with_reported(claim, epoch, sign * by)
    after = verdict_on(experiment(moved), trials(study))
    (there,) = (result for result in after.results if result.epoch == epoch)
    assert not there.verdict.holds
    assert not after.verdict.holds


@given(studies, st.integers(1, EPOCHS), st.sampled_from([-1, 1]), st.floats(0.01, 1))
def test_a_value_moved_far_beyond_its_tolerance_fails_that_row_alone(
    study: Study, epoch: int, sign: int, tolerance: float
) -> None:
    """A thousand SDs of the seeds beyond it, which even two seeds take for no chance.

    Two things keep it from failing: one seed is never red, and few seeds that are shown not to be
    normal say nothing about how far off chance may be.
    """
    means = {at + 1: sum(c[at] for c in study.values()) / len(study) for at in range(EPOCHS)}
    claim = curve(means, tolerance)
    before = verdict_on(experiment(claim), trials(study))
    assert before.verdict in (Outcome.REPRODUCED, Outcome.INCONCLUSIVE)
    spread = before.results[epoch - 1].spread
    by = tolerance + 1000 * (spread or 0.0) + 1e-9
    after = verdict_on(experiment(with_reported(claim, epoch, sign * by)), trials(study))
    for one, other in zip(before.results, after.results, strict=True):
        if one.epoch != epoch:
            assert other == one
            continue
        doubted = stats.not_normal(np.array([curve_[epoch - 1] for curve_ in study.values()]))
        refuted = len(study) > 1 and not doubted
        assert other.verdict is (Outcome.NOT_REPRODUCED if refuted else Outcome.INCONCLUSIVE)


@given(studies, claims, st.floats(0.1, 0.99))
def test_a_smaller_tolerance_never_mends_a_row(
    study: Study, claim: CurveClaim, share: float
) -> None:
    tight = claim.tolerance.model_copy(update={"value": claim.tolerance.value * share})
    wide = verdict_on(experiment(claim), trials(study))
    narrow = verdict_on(experiment(claim.model_copy(update={"tolerance": tight})), trials(study))
    for before, after in zip(wide.results, narrow.results, strict=True):
        assert before.verdict.holds or not after.verdict.holds


@given(studies, claims, st.data())
def test_a_failed_seed_is_named_in_the_verdict_never_dropped(
    study: Study, claim: CurveClaim, data: st.DataObject
) -> None:
    seed = data.draw(st.sampled_from(sorted(study)))
    epoch = data.draw(st.integers(0, EPOCHS - 1))
    stored = trials(study)
    stored[seed] = trial(study[seed][:epoch], failure=failed(epoch))
    verdict = verdict_on(experiment(claim), stored)
    assert verdict.verdict is Outcome.NOT_REPRODUCED
    assert verdict.as_expected is False
    assert list(verdict.failures) == [seed]
    assert any(note.startswith(f"seed {seed} failed after epoch {epoch}") for note in verdict.notes)
    for result in verdict.results:
        if result.epoch > epoch:
            assert result.verdict is Outcome.NOT_REPRODUCED
            assert f"seed {seed} failed" in result.note
            assert seed not in result.by_seed
        else:
            assert result.n == len(study)


@given(studies, claims, st.integers(1, EPOCHS - 1))
def test_what_comes_after_the_epochs_asked_for_changes_nothing(
    study: Study, claim: CurveClaim, epochs: int
) -> None:
    asked = experiment(claim, value(1.0, name="test"))
    cut = {
        seed: replace(found, epochs=found.epochs[:epochs])
        for seed, found in trials(study).items()
        if found
    }
    whole = verdict_on(asked, trials(study), epochs=epochs)
    assert verdict_on(asked, cut, epochs=epochs) == whole


@given(studies, claims)
def test_every_result_has_a_name_of_its_own_and_the_values_that_it_counts(
    study: Study, claim: CurveClaim
) -> None:
    verdict = verdict_on(
        experiment(claim, value({1: 1.0, 2: 2.0}), value(1.0, name="test")), trials(study)
    )
    assert len({result.name for result in verdict.results}) == len(verdict.results)
    for result in verdict.results:
        assert result.n == len(result.by_seed) == len(study)
        mean = sum(result.by_seed.values()) / len(study)
        assert result.measured == pytest.approx(mean)
    assert row(verdict, "test").epoch is None
