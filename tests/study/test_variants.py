"""From options to variants: what may be varied, what comes of it, and what is refused."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.manifest import Experiment, load
from harness.plan import Selection, jobs, specs
from harness.record import canonical_json
from harness.study import Variant, factors, variants
from tests.commands import REGISTRY as COMMANDS
from tests.commands import written
from tests.study.conftest import MANIFEST, REGISTRY

CONTROL = """seeds: 0-4
control: true
twin: {experiment: other, metric: place, takeoff: {threshold: 1.0, reason: made up}}
calibration:
  {seeds: 0-4, records: made up, coverage: 0.9, confidence: 0.9, bands: {end: [1.0, 2.0]}}"""
SAFE = re.compile(r"a-walk(\[[A-Za-z0-9._+~=,-]+\])?")


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    path = tmp_path_factory.mktemp("walks") / "a-walk.yaml"
    path.write_text(MANIFEST)
    return load([path], REGISTRY)[0]


def made(experiment: Experiment, *vary: str, grid: bool = False) -> tuple[Variant, ...]:
    return variants(experiment, factors(experiment, vary), REGISTRY, grid=grid)[1]


def refused(experiment: Experiment, *vary: str, grid: bool = False) -> list[str]:
    with pytest.raises(UsageError) as caught:
        made(experiment, *vary, grid=grid)
    return str(caught.value).split("\n")


def trial_ids(experiment: Experiment) -> set[str]:
    return {spec.id for spec in specs(experiment, REGISTRY["toy"], Selection())}


TEXTS = st.text(st.sampled_from("ab/ -[].~Ä'é%"), min_size=1, max_size=4)
OPTIONS: dict[str, st.SearchStrategy[list[Any]]] = {
    "scale": st.lists(st.floats(2, 1e9), min_size=1, max_size=3),
    "at": st.lists(st.integers(-3, 200), min_size=1, max_size=3),
    "fault": st.lists(TEXTS, min_size=1, max_size=3),
    "marker": st.lists(TEXTS, min_size=1, max_size=3),
    "metric of end": st.just(["other_end"]),
}


@st.composite
def options(draw: st.DrawFn) -> dict[str, list[Any]]:
    """What is varied, with at least one value each that is not the manifest's."""
    names = draw(st.lists(st.sampled_from(sorted(OPTIONS)), min_size=1, max_size=3, unique=True))
    chosen = {name: draw(OPTIONS[name]) for name in names}
    if "at" in chosen:  # whatever the scale, up to 100 is allowed
        chosen["at"] = [value for value in chosen["at"] if value <= 100] + [7]
    return chosen


def spelt(chosen: dict[str, list[Any]]) -> list[str]:
    return [
        f"{name}={json.dumps(values, ensure_ascii=False)[1:-1]}" for name, values in chosen.items()
    ]


def others(chosen: dict[str, list[Any]]) -> dict[str, int]:
    """How many values of each are not the manifest's own."""
    own = {"scale": 1.0, "at": 2, "fault": "", "marker": ""}
    return {
        name: len({canonical_json(value) for value in values if value != own.get(name)})
        for name, values in chosen.items()
    }


@settings(max_examples=25)
@given(options())
def test_one_at_a_time_gives_the_own_values_and_each_change_alone(
    asked: Experiment, chosen: dict[str, list[Any]]
) -> None:
    found = made(asked, *spelt(chosen))
    assert found[0] == Variant(asked, found[0].settings, changed=False)  # it has no twin to lose
    assert len(found) == 1 + sum(others(chosen).values())
    for variant in found[1:]:
        differing = [a != b for a, b in zip(variant.settings, found[0].settings, strict=True)]
        assert sum(differing) == 1


@settings(max_examples=25)
@given(options())
def test_a_grid_gives_every_combination_and_holds_each_change_alone(
    asked: Experiment, chosen: dict[str, list[Any]]
) -> None:
    found = made(asked, *spelt(chosen), grid=True)
    count = 1
    for values in others(chosen).values():
        count *= 1 + values
    assert len(found) == count
    ids = {variant.experiment.id for variant in found}
    assert ids >= {variant.experiment.id for variant in made(asked, *spelt(chosen))}


@settings(max_examples=25)
@given(options())
def test_every_variant_has_an_id_of_its_own_that_is_safe_as_a_name(
    asked: Experiment, chosen: dict[str, list[Any]]
) -> None:
    ids = [variant.experiment.id for variant in made(asked, *spelt(chosen), grid=True)]
    assert len(set(ids)) == len(ids)
    assert all(SAFE.fullmatch(each) and Path(each).name == each for each in ids)


@settings(max_examples=25)
@given(options())
def test_a_variant_changes_what_it_says_and_nothing_else(
    asked: Experiment, chosen: dict[str, list[Any]]
) -> None:
    names = list(chosen)
    for variant in made(asked, *spelt(chosen), grid=True):
        settings = dict(zip(names, variant.settings, strict=True))
        metric = settings.pop("metric of end", "end")
        wanted = asked.parameters.model_dump() | settings
        assert variant.experiment.parameters.model_dump() == wanted
        claims = {claim.name: claim for claim in variant.experiment.manifest.claims}
        for claim in asked.manifest.claims:
            assert claims[claim.name].metric == (metric if claim.name == "end" else claim.metric)
            assert claims[claim.name].reported == claim.reported


@settings(max_examples=25)
@given(options())
def test_variants_share_exactly_the_trials_that_are_the_same(
    asked: Experiment, chosen: dict[str, list[Any]]
) -> None:
    found = made(asked, *spelt(chosen), grid=True)
    different = {canonical_json(each.experiment.parameters.model_dump()) for each in found}
    wanted = list(jobs([each.experiment for each in found], REGISTRY, Selection()))
    assert len(wanted) == len(different) * len(asked.manifest.seeds)


def test_another_metric_needs_no_other_trial_and_another_parameter_shares_none(
    asked: Experiment,
) -> None:
    own, scaled, read_otherwise = made(asked, "scale=2", "metric of end=other_end")
    assert trial_ids(own.experiment) == trial_ids(read_otherwise.experiment)
    assert not trial_ids(own.experiment) & trial_ids(scaled.experiment)


def test_ids_read_as_what_was_changed(asked: Experiment) -> None:
    found = made(asked, "at=5", "scale=2.5,1e9", "metric of end=other_end", grid=False)
    assert [variant.experiment.id for variant in found] == [
        "a-walk",
        "a-walk[at=5]",
        "a-walk[scale=2.5]",
        "a-walk[scale=1000000000.0]",
        "a-walk[metric-of-end=other_end]",
    ]


def test_a_variant_repeats_itself_by_its_own_command(asked: Experiment) -> None:
    for variant in made(asked, "fault=a b", "at=5", grid=True)[1:]:
        words = variant.experiment.command("run")
        assert words[:3] == ["harness", "study", str(asked.path)]
        again = made(asked, *words[4::2][: len(variant.experiment.varied)], grid="--grid" in words)
        assert variant.experiment in [each.experiment for each in again]
    assert asked.command("run") == ["harness", "run", str(asked.path)]


def test_the_manifests_own_value_may_be_named_and_is_no_variant(asked: Experiment) -> None:
    assert len(made(asked, "scale=0.5,1,1.0,0.5")) == 2


def test_of_a_variant_nothing_is_expected(asked: Experiment) -> None:
    own, other = made(asked, "scale=2")
    assert own.experiment.manifest.expected is not None
    assert other.experiment.manifest.expected is None


def test_no_variant_waits_for_a_twin_or_is_held_to_bands_of_other_values(tmp_path: Path) -> None:
    path = tmp_path / "control.yaml"
    path.write_text(MANIFEST.replace("seeds: 0-4", CONTROL))
    (control,) = load([path], REGISTRY)
    assert control.manifest.twin
    for variant in made(control, "scale=2"):
        assert variant.experiment.manifest.control
        assert variant.experiment.manifest.twin is None
        assert variant.experiment.manifest.calibration is None


def test_a_metric_stands_for_all_of_its_claims(asked: Experiment) -> None:
    (_, other) = made(asked, "metric of place=other_place")
    metrics = [claim.metric for claim in other.experiment.manifest.claims]
    assert metrics == ["other_place", "other_place", "end"]


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("sleep_s=1.0", "--vary sleep_s: the paper states it; only inferred or assumed"),
        ("scal=2", "--vary scal: no such parameter; did you mean scale?"),
        ("zzz=2", "allowed: scale, fault, at, marker, metric of first rows"),
        ("metric of ends=other_end", "did you mean end?"),
        ("metric of end=othr_end", "unknown metric 'othr_end'; did you mean other_end?"),
        ("metric of end=other_place", "rows are wanted"),
        ("metric of place=miles", "miles is in miles, the claim in steps"),
        ("metric of end=7", "--vary metric of end=7: must be text, got 7"),
        ("at=two", "--vary at=two: must be a whole number, got 'two'"),
        ("at=2.5", "must be a whole number, got 2.5"),
        ("scale=.nan", "--vary scale=NaN: must be a finite number, got nan"),
        ("at=101", "--vary at=101: at most 100 scales, got 101"),
        ("at=", "written as NAME=VALUE,VALUE"),
        ("at", "written as NAME=VALUE,VALUE"),
        ("at=[1", "written as NAME=VALUE,VALUE"),
        ("at=1], claims: [2", "written as NAME=VALUE,VALUE"),
        ("at=2", "give a value other than the manifest's own, 2"),
    ],
)
def test_what_cannot_be_varied_is_named_with_its_fault(
    asked: Experiment, option: str, said: str
) -> None:
    (line,) = refused(asked, option)
    assert said in line


def test_no_variant_of_a_script_has_a_metric_that_only_the_option_names(tmp_path: Path) -> None:
    """A script's metrics are those of its manifest's claims, so a new one seems to exist."""
    script = written(tmp_path)
    with pytest.raises(UsageError, match="metric of accuracy=foo: unknown metric 'foo'; allowed"):
        variants(script, factors(script, ["metric of accuracy=foo"]), COMMANDS)
    with pytest.raises(UsageError) as caught:
        factors(script, ["lr=1"])
    allowed = str(caught.value).partition("allowed: ")[2]
    assert allowed == "metric of loss, metric of accuracy"  # claims with their metric's name


def test_every_fault_of_every_option_comes_at_once(asked: Experiment) -> None:
    assert len(refused(asked, "sleep_s=1", "scal=2", "at")) == 3
    assert len(refused(asked, "at=x,y", "scale=z")) == 3


def test_what_is_varied_twice_is_refused(asked: Experiment) -> None:
    (line,) = refused(asked, "metric of place=other_place", "metric of last row=other_place")
    assert "--vary metric of place already varies it" in line


def test_a_combination_that_cannot_be_is_named(asked: Experiment) -> None:
    """Each value is sound beside the manifest's own, and two of them are not together."""
    assert len(made(asked, "at=100", "scale=0.5")) == 3
    (line,) = refused(asked, "at=100", "scale=0.5", grid=True)
    assert line == "--vary at=100 --vary scale=0.5: at most 100 scales, got 100"
