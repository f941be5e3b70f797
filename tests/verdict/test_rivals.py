"""What a verdict could have excluded: chances that follow from records, and change no verdict."""

import itertools
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from harness.manifest import Experiment, Rival
from harness.record import StoredTrial
from harness.verdict import Planned, RivalChance, Severity, severity
from tests.verdict.builders import curve, experiment, trial, value, verdict_on

PAPER = [0.5, 1.0, 1.4, 1.6]
RISE = curve(dict(enumerate(PAPER, start=1)), 0.2).model_copy(update={"decimals": 4})
TEST = value(1.6, 0.2, name="test").model_copy(update={"decimals": 4})


def against(*rivals: Rival) -> Experiment:
    made = experiment(RISE, TEST)
    manifest = made.manifest.model_copy(update={"rivals": rivals})
    return made.model_copy(update={"manifest": manifest})


def variant(name: str = "rival") -> Rival:
    return Rival(name=name, reason="r", parameters={"rate": 0.2})


def constant(number: float | dict[str, float], name: str = "constant") -> Rival:
    return Rival(name=name, reason="r", constant=number)


def recorded(
    count: int, *, off: float = 0.0, sd: float = 0.05, seed: int = 0, epochs: int = 4
) -> list[StoredTrial]:
    """Runs around the paper's curve, or so far off it at the last two epochs."""
    random = np.random.default_rng(seed)
    late = np.array([0.0, 0.0, off, off])
    made = []
    for number in range(count):
        common = random.normal() * sd / 2
        run = np.array(PAPER) + late + common + random.normal(size=4) * sd
        test = float(1.6 + off + random.normal() * sd)
        one = trial(run[:epochs].tolist(), test=test)
        made.append(replace(one, spec=replace(one.spec, seed=number)))
    return made


def judged(
    asked: Experiment,
    rival: Sequence[StoredTrial] = (),
    *,
    seeds: int = 10,
    own: Sequence[StoredTrial] | None = None,
) -> Severity:
    trials = recorded(10) if own is None else own
    found = severity(Planned(asked, seeds, 4, 0.05), trials, {"rival": rival})
    assert found is not None
    return found


def only(found: Severity) -> RivalChance:
    (rival,) = found.rivals
    return rival


def test_without_declared_rivals_nothing_is_said() -> None:
    assert severity(Planned(against(), 10, 4, 0.05), recorded(10), {}) is None


def test_equal_manifests_and_records_give_equal_chances() -> None:
    rival = recorded(6, off=0.25, seed=1)
    assert judged(against(variant()), rival) == judged(against(variant()), rival)


def test_claims_are_listed_as_in_the_manifest_in_every_process() -> None:
    """A document must not change from call to call; sets have another order in each process."""
    asked = against(variant())
    names = [claim.name for claim in asked.manifest.claims]
    found = only(judged(asked, recorded(6, off=0.25, seed=1)))
    listed = [name for name in names if name in found.rejected_by]
    assert len(listed) > 1
    assert list(found.rejected_by) == list(found.accepted_by) == listed


def test_a_rival_that_equals_the_method_is_rejected_no_more_often_than_by_chance() -> None:
    same = only(judged(against(variant()), recorded(10, seed=1)))
    assert same.rejected is not None
    assert same.rejected <= 0.2  # the level is 5 %, and fifty draws err by 3 points


def test_a_rival_that_equals_the_method_makes_the_verdict_not_severe() -> None:
    found = judged(against(variant()), recorded(10, seed=1))
    assert [rival.name for rival in found.missed] == ["rival"]
    assert set(found.weak_claims) == {RISE.name, TEST.name}


def test_the_method_itself_is_accepted_and_seldom_rejected() -> None:
    found = judged(against(variant()), recorded(10, off=1.0), seeds=20)
    assert found.records == 10
    assert found.accepted is not None
    assert found.accepted >= 0.6
    assert found.rejected is not None
    assert found.rejected <= 0.2


@pytest.mark.parametrize("seeds", [2, 5, 10])
def test_a_rival_far_off_is_rejected_and_never_accepted(seeds: int) -> None:
    far = only(judged(against(variant()), recorded(5, off=3.0), seeds=seeds))
    assert far.rejected is not None
    assert far.rejected >= 0.9  # few seeds may look as if they were not normal by chance
    assert far.accepted == 0.0


def test_more_seeds_reject_a_rival_more_often() -> None:
    rival = recorded(8, off=0.22, sd=0.08, seed=2)
    own = recorded(10, sd=0.08)
    chances = [
        only(judged(against(variant()), rival, seeds=n, own=own)).rejected or 0.0
        for n in (2, 10, 20)
    ]
    assert all(more >= fewer - 0.2 for fewer, more in itertools.pairwise(chances))
    assert chances[-1] > chances[0] + 0.3


@pytest.mark.parametrize("seeds", [1, 2, 3, 10])
def test_a_constant_far_off_is_rejected_with_certainty(seeds: int) -> None:
    found = judged(against(constant(0.0)), seeds=seeds)
    assert only(found).rejected == 1.0
    assert found.severe
    assert not found.weak_claims


@pytest.mark.parametrize("seeds", [1, 2, 10])
def test_a_tolerance_that_is_wider_than_the_effect_is_not_severe(seeds: int) -> None:
    # 1.55 is within 0.2 of the test estimate and of the last rows, but not of the first.
    found = judged(against(constant(1.55)), seeds=seeds)
    assert only(found).rejected == 1.0
    assert dict(found.weak_claims) == {TEST.name: ("constant",)}


def test_a_constant_of_one_metric_is_judged_by_the_claims_about_it() -> None:
    found = judged(against(constant({"test_mi_bits": 0.0})))
    assert set(only(found).rejected_by) == {TEST.name}


def test_one_claim_need_not_reject_every_rival() -> None:
    rival = only(judged(against(variant()), recorded(6, off=0.6)))
    early = replace(rival, name="other", rejected_by={RISE.name: 1.0, TEST.name: 0.0})
    late = replace(rival, name="another", rejected_by={RISE.name: 0.0, TEST.name: 1.0})
    assert not Severity(10, 4, 10, 1.0, 0.0, (early, late)).weak_claims


def test_a_rival_with_few_records_gets_the_deviations_of_the_method() -> None:
    found = only(judged(against(variant()), recorded(1, off=1.0)))
    assert found.basis == "1 record, SD of the method's runs"
    assert found.rejected == 1.0


def test_a_rival_without_records_is_not_known_and_no_reproach() -> None:
    found = judged(against(variant()))
    assert only(found).rejected is None
    assert found.severe
    assert not found.weak_claims


def test_without_records_of_the_method_a_constant_is_still_judged() -> None:
    found = judged(against(constant(0.0)), own=[])
    assert found.accepted is None
    assert only(found).rejected == 1.0


def test_a_rival_that_ran_shorter_is_judged_by_the_epochs_that_it_has() -> None:
    short = [replace(one, done=2) for one in recorded(5, off=0.0, epochs=2)]
    found = only(judged(against(variant()), short))
    assert found.basis == "5 records, first 2 epochs"
    assert set(found.rejected_by) == {RISE.name}


def test_one_seed_is_judged_by_the_noise_of_both_runs() -> None:
    rival = recorded(6, off=0.25, seed=1)
    found = judged(against(variant()), rival, seeds=1)
    assert only(found).rejected is not None
    assert found.missed


def test_rivals_change_no_verdict() -> None:
    trials = dict(enumerate(recorded(3)))
    with_rivals, without = (
        verdict_on(asked, trials) for asked in (against(constant(1.6), variant()), against())
    )
    assert with_rivals == replace(without, experiment=with_rivals.experiment)
    assert with_rivals.results == without.results
    assert with_rivals.badge == "REPRODUCED"


def test_the_badge_says_that_a_verdict_is_not_severe() -> None:
    verdict = verdict_on(against(variant()), dict(enumerate(recorded(3))))
    weak = judged(against(variant()), recorded(10, seed=1), seeds=3)
    assert replace(verdict, severity=weak).badge == "REPRODUCED (not severe)"
    one = verdict_on(against(variant()), {0: recorded(1)[0]})
    assert replace(one, severity=weak).badge == "REPRODUCED (1 seed, not severe)"


def test_a_constant_that_is_only_undecided_says_nothing_of_the_tolerance() -> None:
    rival = only(judged(against(constant(0.0))))
    undecided = replace(rival, accepted_by={RISE.name: 0.0}, rejected_by={RISE.name: 0.0})
    caught = replace(rival, name="other", accepted_by={RISE.name: 0.0}, rejected_by={RISE.name: 1})
    assert not Severity(10, 4, 10, 1.0, 0.0, (undecided, caught)).weak_claims
