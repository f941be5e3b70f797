"""A trial's id is what determines its result, and nothing else."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.manifest import Experiment, Manifest, Resources, Sourced
from harness.plan import Selection, jobs, specs
from harness.record import TrialSpec
from harness.workload import DataSet, Parameters
from tests.toy import Toy


class Numbers(Parameters):
    first: float
    second: tuple[int, ...]


class Numbered(Toy):
    """The toy workload with parameters and data that a test can choose."""

    data = (DataSet("digits", "abc"),)

    def data_sets(self, parameters: Any) -> tuple[DataSet, ...]:
        return self.data


WORKLOAD = Numbered(parameters=Numbers)
REGISTRY: Mapping[str, Any] = {"toy": WORKLOAD}


def experiment(
    name: str = "one", *, epochs: int = 10, seeds: tuple[int, ...] = (0, 1), first: float = 1.0
) -> Experiment:
    claim = {"name": "end", "kind": "exact", "metric": "end", "source": "x", "reported": 1.0}
    manifest = Manifest.model_validate(
        {
            "format": 1,
            "title": name,
            "paper": {"title": "x", "author": "x", "listing": "x", "command": "x"},
            "unit": "steps",
            "workload": {"name": "toy", "parameters": {}},
            "epochs": Sourced[int](value=epochs, stated="x").model_dump(),
            "seeds": seeds,
            "claims": [claim | {"decimals": 1}],
        }
    )
    return Experiment(
        id=name,
        path=Path(f"{name}.yaml"),
        digest="0",
        manifest=manifest,
        parameters=Numbers(first=first, second=(1, 2)),
    )


def ids(one: Experiment, workload: Any = WORKLOAD, **selected: Any) -> list[str]:
    return [spec.id for spec in specs(one, workload, Selection(**selected))]


SPEC = next(specs(experiment(), WORKLOAD, Selection()))


@given(st.permutations(list(SPEC.parameters)), st.permutations(["a", "b", "c"]))
def test_an_id_does_not_hang_on_the_order_of_keys(keys: list[str], names: list[str]) -> None:
    one = replace(SPEC, data=dict.fromkeys("abc", "x"))
    other = replace(
        SPEC,
        parameters={key: SPEC.parameters[key] for key in keys},
        data=dict.fromkeys(names, "x"),
    )
    assert other.id == one.id


@pytest.mark.parametrize(
    "change",
    [
        {"workload": "another"},
        {"revision": 2},
        {"parameters": {"first": 1.5, "second": [1, 2]}},
        {"parameters": {"first": 1.0, "second": [2, 1]}},
        {"seed": 7},
        {"data": {"digits": "another"}},
        {"data": {}},
        {"length": 10},
    ],
)
def test_an_id_changes_with_whatever_determines_the_result(change: dict[str, Any]) -> None:
    assert replace(SPEC, **change).id != SPEC.id


def test_an_id_is_the_same_tomorrow() -> None:
    # Spelt out: were it to change, every stored trial would be run again.
    assert SPEC.id == "93507f48de942660411b"


def test_a_spec_survives_the_way_to_json_and_back() -> None:
    assert TrialSpec.from_json(SPEC.to_json()) == SPEC


def test_a_longer_run_continues_a_shorter_one_where_the_workload_allows_it() -> None:
    whole = replace(WORKLOAD, prefix=False)

    assert ids(experiment(), epochs=5) == ids(experiment())
    assert ids(experiment(), whole, epochs=5) != ids(experiment(), whole)


def test_neither_name_nor_resources_nor_claims_are_part_of_an_id() -> None:
    assert ids(experiment("one"), cpus_per_trial=2.0) == ids(experiment("two"), gpus_per_trial=0.5)


@given(st.sets(st.integers(0, 50), min_size=1), st.sets(st.integers(0, 50)))
def test_adding_seeds_adds_trials_and_keeps_the_others(few: set[int], more: set[int]) -> None:
    before = ids(experiment(), seeds=tuple(few))
    after = ids(experiment(), seeds=tuple(few | more))

    assert set(before) <= set(after)
    assert len(after) == len(set(after)) == len(few | more)


def test_a_manifests_own_seeds_and_epochs_hold_unless_others_are_asked_for() -> None:
    one = experiment(epochs=10, seeds=(3, 1))

    assert Selection().seeds_of(one) == (1, 3)
    assert Selection(seeds=(5, 4, 5)).seeds_of(one) == (4, 5)
    assert Selection().epochs_of(one) == Selection(epochs=99).epochs_of(one) == 10
    assert Selection(epochs=4).epochs_of(one) == 4


def test_resources_are_the_manifests_but_for_what_is_asked_for() -> None:
    one = experiment()

    assert Selection().resources_of(one) == Resources()
    assert Selection(gpus_per_trial=0.25).resources_of(one) == Resources(gpus=0.25)
    assert Selection(cpus_per_trial=2).resources_of(one) == Resources(cpus=2)


@pytest.mark.parametrize(
    ("asked", "fault"),
    [
        (
            {"gpus_per_trial": 1.5},
            "gpus_per_trial: a fraction below 1, or a whole number of GPUs, got 1.5",
        ),
        ({"cpus_per_trial": 0.0}, "cpus_per_trial: must be positive, got 0.0"),
    ],
)
def test_resources_that_no_trial_can_have_are_refused(asked: dict[str, Any], fault: str) -> None:
    with pytest.raises(UsageError, match=fault):
        Selection(**asked).resources_of(experiment())


def test_two_experiments_that_ask_for_the_same_trial_share_it_at_its_longest() -> None:
    short = experiment("short", epochs=5, seeds=(0, 1))
    long = experiment("long", epochs=10, seeds=(1, 2))
    other = experiment("other", epochs=7, seeds=(0,), first=2.0)

    planned = list(jobs([short, long, other], REGISTRY, Selection()))

    assert {(job.spec.seed, job.spec.parameters["first"], job.epochs) for job in planned} == {
        (0, 1.0, 5),
        (1, 1.0, 10),
        (2, 1.0, 10),
        (0, 2.0, 7),
    }
    assert len({job.spec.id for job in planned}) == len(planned) == 4


def test_a_plan_is_made_as_it_is_asked_for() -> None:
    endless = experiment(seeds=tuple(range(1000)))

    first = next(jobs([endless], REGISTRY, Selection()))

    assert first.spec.seed == 0


def test_more_epochs_than_a_manifest_has_are_said_to_have_no_effect() -> None:
    """A request over many experiments caps the longer ones; the shorter ones are named."""
    found = [experiment("short", epochs=3), experiment("long", epochs=10)]
    assert [*Selection(epochs=10).without_effect(found)] == [
        "--epochs 10 has no effect on short: its manifest has 3 epochs"
    ]
    assert [*Selection(epochs=99).without_effect(found)] == [
        "--epochs 99 has no effect on short: its manifest has 3 epochs",
        "--epochs 99 has no effect on long: its manifest has 10 epochs",
    ]
    assert [*Selection(epochs=3).without_effect(found)] == []
    assert [*Selection().without_effect(found)] == []
    cells = [experiment(f"cell {number}", epochs=1) for number in range(60)]
    assert [*Selection(epochs=2).without_effect(cells)] == [
        "--epochs 2 has no effect on 60 experiments: their manifests have 1 epoch"
    ]
