"""Claims between experiments: differences, ratios, averages, orders, limits of sets."""

from collections.abc import Mapping, Sequence
from itertools import combinations, pairwise, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import stats
from harness.manifest import (
    AllWithinClaim,
    Claim,
    DifferenceClaim,
    ExtremeDifferenceClaim,
    MeanOverClaim,
    OrderClaim,
    RatioClaim,
    SampleClaim,
    SometimesClaim,
)
from harness.record import StoredTrial
from harness.stats import Array
from harness.verdict import ClaimResult, Outcome
from harness.verdict.between import Members, with_error
from harness.verdict.kinds import RatioRule
from tests.verdict.builders import TEST, experiment, failed, near, trial, value, verdicts_on

LOW = [1.00, 1.02, 0.98, 1.01, 0.99]
HIGH = [2.01, 2.02, 1.97, 2.00, 2.03]
PUBLISHED = Path("experiments/psa.csv")


def order(below: Sequence[str], above: Sequence[str], name: str = "order") -> OrderClaim:
    return OrderClaim(kind="order", name=name, below=tuple(below), above=tuple(above), **TEST)


def within(of: Sequence[str], **limits: Any) -> AllWithinClaim:
    return AllWithinClaim(kind="all_within", name="limit", of=tuple(of), **limits, **TEST)


def sometimes(of: Sequence[str], exceed: float, reported: int, runs: int) -> SometimesClaim:
    return SometimesClaim(
        kind="sometimes",
        name="some",
        of=tuple(of),
        exceed=exceed,
        reported=reported,
        runs=runs,
        **TEST,
    )


def judged(
    claims: Sequence[Claim],
    theirs: Mapping[str, Any] | None = None,
    **values: Sequence[float | StoredTrial],
) -> list[ClaimResult]:
    """Judge claims between experiments whose final estimates, by seed, are given by name.

    `theirs` are the runs that the paper reports of each experiment; by default none.
    """
    own = {name: _sample(reported) for name, reported in (theirs or {}).items()}
    count = len(next(iter(values.values())))
    members = [
        (
            experiment(own.get(name, value(1.0)), id=name, epochs=1),
            {
                seed: given if isinstance(given, StoredTrial) else trial([0.0], test=given)
                for seed, given in enumerate(finals)
            },
        )
        for name, finals in values.items()
    ]
    between = experiment(*claims, id="between", epochs=1, seeds=range(count))
    between = between.model_copy(update={"compares": "a grid"})
    return list(verdicts_on([*members, (between, dict.fromkeys(range(count)))])[-1].results)


def _sample(reported: Any) -> Claim:
    return SampleClaim(kind="sample", name="own", reported=reported, tolerance=near(1e4), **TEST)


def outcome(
    claim: Claim,
    theirs: Mapping[str, Any] | None = None,
    **values: Sequence[float | StoredTrial],
) -> Outcome:
    (found,) = judged([claim], theirs, **values)
    return found.verdict


def difference(reported: float, tolerance: float = 0.1) -> DifferenceClaim:
    return DifferenceClaim(
        kind="difference",
        name="by how much",
        of=("high",),
        minus=("low",),
        reported=reported,
        tolerance=near(tolerance),
        **TEST,
    )


def test_a_difference_is_taken_seed_by_seed_and_compared_like_a_value() -> None:
    (found,) = judged([difference(1.0)], high=HIGH, low=LOW)
    assert found.verdict is Outcome.REPRODUCED
    assert found.measured == pytest.approx(np.mean(HIGH) - np.mean(LOW))
    assert found.by_seed[3] == pytest.approx(0.99)
    assert outcome(difference(1.5), high=HIGH, low=LOW) is Outcome.NOT_REPRODUCED


def test_what_the_seeds_share_cancels_out_of_a_difference() -> None:
    shared = [0.0, 5.0, -3.0, 8.0, 1.0]
    moved = {
        name: [a + b for a, b in zip(finals, shared, strict=True)]
        for name, finals in {"high": HIGH, "low": LOW}.items()
    }
    assert outcome(difference(1.0), **moved) is Outcome.REPRODUCED


def test_a_ratio_and_an_average_are_compared_like_values() -> None:
    ratio = RatioClaim(
        kind="ratio", name="r", of=("high",), to=("low",), reported=2.0, tolerance=near(0.1), **TEST
    )
    over = MeanOverClaim(
        kind="mean_over", name="m", over=("high", "low"), reported=1.5, tolerance=near(0.1), **TEST
    )
    found = judged([ratio, over], high=HIGH, low=LOW)
    assert [(one.verdict, one.unit) for one in found] == [
        (Outcome.REPRODUCED, "times"),
        (Outcome.REPRODUCED, "bits"),
    ]
    assert found[1].measured == pytest.approx((np.mean(HIGH) + np.mean(LOW)) / 2)


MANY_LOW, MANY_HIGH = [1.0, 1.2, 0.8, 1.1, 0.9] * 2, [2.0, 2.2, 1.8, 2.1, 1.9] * 2


def of_ten(reported: float, **fields: Any) -> DifferenceClaim:
    return difference(reported).model_copy(update={"runs": 10, **fields})


def test_a_mean_of_several_runs_is_refuted_only_if_its_error_is_known() -> None:
    """One run of the paper's at 40 moves the mean of its ten by 3.9, and ours have none."""
    ours = {"high": MANY_HIGH, "low": MANY_LOW}
    (found,) = judged([of_ten(4.9)], **ours)
    assert found.verdict is Outcome.INCONCLUSIVE
    assert "one outlying run of the paper's" in found.method
    wide = {"high": {"values": [*MANY_HIGH[:9], 40.9]}, "low": {"values": MANY_LOW}}
    assert outcome(of_ten(4.9), wide, **ours) is Outcome.INCONCLUSIVE
    narrow = {
        name: {"mean": mean, "sd": 0.15, "runs": 10, "ddof": 1}
        for name, mean in {"high": 5.9, "low": 1.0}.items()
    }
    (found,) = judged([of_ten(4.9)], narrow, **ours)
    assert found.verdict is Outcome.NOT_REPRODUCED
    assert "Welch's t-test with the SDs of the paper's runs" in found.method
    assert outcome(of_ten(4.9, normal="so it is"), **ours) is Outcome.NOT_REPRODUCED
    assert outcome(of_ten(1.0), **ours) is Outcome.REPRODUCED


def test_the_error_of_a_combined_number_is_that_of_its_means() -> None:
    sds = {"a": 0.3, "b": 0.4, "c": 1.2}
    reports: dict[str, Any] = {
        name: _sample({"mean": 2.0, "sd": sd, "runs": 10, "ddof": 1}) for name, sd in sds.items()
    }
    nothing = np.zeros(2, dtype=np.bool_)
    members = Members(({"a": LOW}, {"b": LOW, "c": LOW}), nothing, "", "", reports)  # type: ignore[dict-item]
    (number,) = difference(0.0).numbers()
    found = with_error(members, (1.0, -1.0), number)
    assert found.sd == pytest.approx((0.3**2 + (0.4**2 + 1.2**2) / 4) ** 0.5)
    assert (found.n, found.mean) == (10, 0.0)
    slopes = RatioRule().slopes([6.0, 2.0])
    assert slopes == (0.5, -1.5)


def test_a_ratio_is_one_of_means() -> None:
    """The mean of the seeds' ratios would be 5.05."""
    ratio = RatioClaim(
        kind="ratio", name="r", of=("high",), to=("low",), reported=1.0, tolerance=near(9), **TEST
    )
    (found,) = judged([ratio], high=[1.0, 10.0], low=[10.0, 1.0])
    assert found.measured == pytest.approx(1.0)


def test_a_hump_that_decides_a_mean_below_the_line_refutes_no_ratio() -> None:
    """None of the paper's ten runs is in the hump, three of ours are: means of 10 and 25."""
    claim = RatioClaim(
        kind="ratio",
        name="r",
        of=("high",),
        to=("low",),
        reported=1.0,
        tolerance=near(0.1),
        runs=10,
        **TEST,
    )
    ten = [10.0, 10.2, 9.8, 10.1, 9.9] * 2
    humps = [10.0, 10.1, 9.9, 10, 9.8, 10.2, 10] + [60.0] * 3
    theirs = {name: {"values": ten} for name in ("high", "low")}
    assert outcome(claim, theirs, high=ten, low=humps) is Outcome.INCONCLUSIVE
    assert outcome(claim, theirs, high=ten, low=[60.0, 60.5] * 5) is Outcome.NOT_REPRODUCED


def best_difference(reported: float, **fields: Any) -> ExtremeDifferenceClaim:
    return ExtremeDifferenceClaim(
        kind="extreme_difference",
        name="best",
        of=("high",),
        minus=("low",),
        reported=reported,
        tolerance=near(0.1),
        **{"which": "highest", "runs": 10, **TEST, **fields},
    )


def test_the_best_of_ten_lies_above_the_best_of_ten() -> None:
    ours = {"high": MANY_HIGH, "low": MANY_LOW}
    (found,) = judged([best_difference(1.0)], **ours)
    assert (found.verdict, found.measured) == (Outcome.REPRODUCED, pytest.approx(1.0))
    (unknown,) = judged([best_difference(3.0)], **ours)
    assert unknown.verdict is Outcome.INCONCLUSIVE
    assert "outlying run" in unknown.note
    # One run of the paper's at 4.2 is chance; nine of ten above our best are not.
    one = {"high": {"values": [*MANY_HIGH[:9], 4.2]}, "low": {"values": MANY_LOW}}
    assert outcome(best_difference(3.0), one, **ours) is Outcome.INCONCLUSIVE
    nine = {"high": {"values": [*[4.2] * 9, 2.0]}, "low": {"values": MANY_LOW}}
    (refuted,) = judged([best_difference(3.0)], nine, **ours)
    assert refuted.verdict is Outcome.NOT_REPRODUCED
    assert "chance does not explain it" in refuted.note


def test_the_worst_is_the_best_turned_round_and_fewer_seeds_do_not_know_it() -> None:
    turned = {
        name: [-at for at in at_] for name, at_ in {"high": MANY_HIGH, "low": MANY_LOW}.items()
    }
    (found,) = judged([best_difference(-1.0, which="lowest")], **turned)
    assert (found.verdict, found.measured) == (Outcome.REPRODUCED, pytest.approx(-1.0))
    (few,) = judged([best_difference(1.0)], high=HIGH, low=LOW)
    assert (few.verdict, few.more_seeds) == (Outcome.INCONCLUSIVE, 5)


def test_the_best_of_several_experiments_counts_their_runs_and_not_their_seeds() -> None:
    of_two = {"of": ("high", "top"), "minus": ("low", "base")}
    ours = {"high": HIGH, "top": HIGH, "low": LOW, "base": LOW}
    claim = best_difference(1.01, runs=10).model_copy(update=of_two)
    (found,) = judged([claim], **ours)
    assert (found.verdict, found.measured) == (Outcome.REPRODUCED, pytest.approx(1.01))
    (few,) = judged([claim.model_copy(update={"runs": 13})], **ours)
    assert (few.verdict, few.more_seeds) == (Outcome.INCONCLUSIVE, 2)
    assert "10 runs do not show the highest of 13" in few.note
    # The side with fewer experiments decides.
    (few,) = judged([claim.model_copy(update={"minus": ("low",)})], **ours)
    assert few.more_seeds == 5


sizes = st.lists(st.integers(0, 4), min_size=1, max_size=3).map(lambda at: np.array(at, float))


@given(st.lists(st.tuples(sizes, sizes), min_size=1, max_size=2), st.tuples(sizes, sizes))
@settings(max_examples=30)
def test_the_permutation_test_counts_every_choice_of_our_runs(
    of: list[tuple[Array, Array]], minus: tuple[Array, Array]
) -> None:
    def choices(both: tuple[Array, Array]) -> list[tuple[float, float]]:
        values = np.concatenate(both)
        masks = (
            np.isin(np.arange(len(values)), chosen)
            for chosen in combinations(range(len(values)), len(both[0]))
        )
        return [(values[mask].max(), values[~mask].max()) for mask in masks]

    def gap(each: Sequence[tuple[float, float]]) -> float:
        return max(ours for ours, _ in each) - max(theirs for _, theirs in each)

    statistics = np.array(
        [gap(each) - gap([other]) for *each, other in product(*map(choices, [*of, minus]))]
    )
    seen = gap([(a.max(), b.max()) for a, b in of]) - gap([(minus[0].max(), minus[1].max())])
    tails = (statistics >= seen).mean(), (statistics <= seen).mean()
    expected = min(1.0, 2 * min(tails))
    assert stats.extreme_difference_p(of, [minus]) == pytest.approx(expected)


def test_an_order_holds_only_if_every_pair_shows_it() -> None:
    claim = order(["low", "middle"], ["high"])
    middle = [1.5, 1.52, 1.49, 1.51, 1.5]
    assert outcome(claim, low=LOW, middle=middle, high=HIGH) is Outcome.REPRODUCED
    close = [2.0, 2.03, 1.98, 1.99, 2.05]  # now above, now below
    assert outcome(claim, low=LOW, middle=close, high=HIGH) is Outcome.INCONCLUSIVE
    above = [3.0, 3.02, 2.98, 3.01, 2.99]
    (found,) = judged([claim], low=LOW, middle=above, high=HIGH)
    assert found.verdict is Outcome.NOT_REPRODUCED
    assert "high lies 0.994 below middle" in found.note


def test_one_seed_refutes_no_order() -> None:
    claim = order(["low"], ["high"])
    assert outcome(claim, low=[1.0], high=[2.0]) is Outcome.REPRODUCED
    assert outcome(claim, low=[2.0], high=[1.0]) is Outcome.INCONCLUSIVE


def test_equal_experiments_have_no_order() -> None:
    assert outcome(order(["low"], ["high"]), low=[1.0] * 5, high=[1.0] * 5) is Outcome.INCONCLUSIVE


def test_one_run_beyond_a_limit_refutes_it_and_is_named() -> None:
    assert outcome(within(["a", "b"], high=2.1), a=LOW, b=HIGH) is Outcome.REPRODUCED
    (found,) = judged([within(["a", "b"], high=2.02)], a=LOW, b=HIGH)
    assert found.verdict is Outcome.NOT_REPRODUCED
    assert "b: seed 4" in found.note
    assert found.measured == 2.03
    assert outcome(within(["a"], low=0.99), a=LOW, b=HIGH) is Outcome.NOT_REPRODUCED


def test_rounding_is_not_beyond_a_limit() -> None:
    assert outcome(within(["a"], high=11.02, decimals=2), a=[11.0249, 11.0]) is Outcome.REPRODUCED
    assert outcome(within(["a"], high=11.02, decimals=2), a=[11.026, 11]) is Outcome.NOT_REPRODUCED


def test_what_the_papers_runs_never_did_may_be_chance_in_one_of_ours() -> None:
    """Ten runs of the paper's, and one, four or five of ten of ours beyond the limit."""
    ten = {"high": 2.1, "runs": 10}
    assert outcome(within(["a"], **ten), a=[2.0] * 9 + [3.0]) is Outcome.INCONCLUSIVE
    (four,) = judged([within(["a"], **ten)], a=[2.0] * 6 + [3.0] * 4)
    assert four.verdict is Outcome.NOT_REPRODUCED
    assert "4 of 10 runs, none of the paper's 10; p = 0.043" in four.note
    assert outcome(within(["a"], high=2.1), a=[2.0] * 9 + [3.0]) is Outcome.NOT_REPRODUCED


def test_what_sometimes_happens_needs_one_run_or_too_few_to_expect_one() -> None:
    assert outcome(sometimes(["a"], 1.5, 1, 10), a=[1.0] * 9 + [1.6]) is Outcome.REPRODUCED
    assert outcome(sometimes(["a"], 1.5, 1, 10), a=[1.0] * 10) is Outcome.INCONCLUSIVE
    assert outcome(sometimes(["a"], 1.5, 6, 10), a=[1.0] * 10) is Outcome.NOT_REPRODUCED


@pytest.mark.parametrize(
    "claim",
    [
        difference(1.0),
        order(["low"], ["high"]),
        within(["low", "high"], high=9.0),
        within(["low", "high"], high=9.0, runs=9),
        best_difference(1.0),
        sometimes(["low", "high"], 1.5, 1, 2),
    ],
    ids=lambda claim: claim.kind,
)
def test_a_trial_that_is_missing_or_failed_decides_before_any_value(claim: Any) -> None:
    missing = trial([0.0], unfinished=True)
    assert outcome(claim, low=LOW, high=[*HIGH[:4], missing]) is Outcome.INCOMPLETE
    broken = trial([], failure=failed(0))
    (found,) = judged([claim], low=LOW, high=[*HIGH[:4], broken])
    assert found.verdict is Outcome.NOT_REPRODUCED
    assert "high: seed 4 failed" in found.note


def test_an_experiment_that_is_not_judged_here_leaves_the_claim_incomplete() -> None:
    (found,) = judged([order(["low"], ["elsewhere"])], low=LOW)
    assert found.verdict is Outcome.INCOMPLETE
    assert "elsewhere is not judged here" in found.note


def test_the_sign_flip_test_is_the_share_of_signs_that_reach_the_sum() -> None:
    lumps = np.array([0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 9.0])
    assert stats.not_normal(lumps)
    assert stats.positive_p(lumps) == 1 / 256
    assert stats.positive_p(-lumps) == 1.0


def test_none_of_ours_is_as_likely_as_all_of_them_being_the_papers() -> None:
    assert stats.none_p(10, 1, 10) == pytest.approx(0.5)
    assert stats.none_p(2, 2, 2) == pytest.approx(1 / 6)


MODES = ("none", "decay", "dropout", "full", "hidden", "output")


def _published(shape: str) -> dict[str, Array]:
    lines = [line.split(",") for line in PUBLISHED.read_text().splitlines()[1:]]
    rows = np.array([[float(cell) for cell in line[2:]] for line in lines if line[0] == shape])
    return dict(zip(MODES, rows.T, strict=True))


def _drawn(cells: dict[str, Array], rng: np.random.Generator, **as_: str) -> dict[str, Any]:
    """Ten runs of each cell drawn from the published ones; `as_` draws a cell from another."""
    return {name: rng.choice(cells[as_.get(name, name)], 10).tolist() for name in cells}


@pytest.mark.slow
@pytest.mark.parametrize("shape", ["1*64", "2*30", "4*29", "18*18"])
def test_an_order_is_shown_or_refuted_by_chance_at_most_once_in_twenty(shape: str) -> None:
    """All modes are drawn from one: none of the orders between them is true, and none is false."""
    cells, rng = _published(shape), np.random.default_rng(4)
    same = dict.fromkeys(MODES, "output" if shape == "18*18" else "none")
    claims = [order([low], [high], f"{low} {high}") for low, high in pairwise(MODES)]
    found = [judged(claims, **_drawn(cells, rng, **same)) for _ in range(200)]
    refuted = sum(any(one.verdict is Outcome.NOT_REPRODUCED for one in rows) for rows in found)
    shown = sum(one.verdict.holds for rows in found for one in rows)
    assert refuted / 200 <= 0.05 + 0.03  # two standard errors
    assert shown / (200 * len(claims)) <= 0.05 + 0.02


@pytest.mark.slow
@pytest.mark.parametrize(("shape", "power"), [("1*64", 0.95), ("2*30", 0.75), ("4*29", 0.9)])
def test_the_papers_own_orders_are_mostly_shown_by_ten_runs(shape: str, power: float) -> None:
    cells, rng = _published(shape), np.random.default_rng(5)
    claim = order(["full", "hidden", "output"], ["none", "decay", "dropout"])
    drawn = [outcome(claim, **_drawn(cells, rng)) for _ in range(100)]
    assert Outcome.NOT_REPRODUCED not in drawn
    assert drawn.count(Outcome.REPRODUCED) / 100 >= power
    # A planted fault: two modes change places.
    swapped = [
        outcome(claim, **_drawn(cells, rng, hidden="none", none="hidden")) for _ in range(40)
    ]
    assert swapped.count(Outcome.NOT_REPRODUCED) / 40 >= 0.9
