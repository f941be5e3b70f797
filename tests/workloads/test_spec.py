import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from harness.workloads.mutual_information import BLOCKS, METRICS, SequencePairParameters
from harness.workloads.mutual_information.networks import NetForSequencePair
from tests.workloads.tiny import PARAMETERS, WORKLOADS, each_workload


def validate(name: str, **changed: Any) -> Any:
    return WORKLOADS[name].parameters.model_validate({**PARAMETERS[name], **changed})


@each_workload
def test_every_parameter_must_be_given(name: str) -> None:
    assert validate(name)
    for missing in PARAMETERS[name]:
        given = copy.copy(dict(PARAMETERS[name]))
        del given[missing]
        with pytest.raises(ValidationError, match=missing):
            WORKLOADS[name].parameters.model_validate(given)


@each_workload
@pytest.mark.parametrize(
    "changed",
    [
        {"learning_rate": 0.0},
        {"learning_rate": -1e-3},
        {"learning_rate": float("nan")},
        {"learning_rate": "1e-3"},
        {"learning_rate": True},
        {"batch_size": 0},
        {"batch_size": 2.5},
        {"independent": "no"},
        {"independent": 1},
        {"redraw": None},
        {"optimiser": "sgd"},
        {"lr": 1e-3},
    ],
)
def test_what_no_experiment_can_use_is_refused(name: str, changed: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        validate(name, **changed)


@each_workload
def test_parameters_survive_json(name: str) -> None:
    parameters = validate(name)
    again = WORKLOADS[name].parameters.model_validate(parameters.model_dump(mode="json"))
    assert again == parameters


@pytest.mark.parametrize(
    ("classes", "said"),
    [
        ([4, 4, 5], "4 is repeated"),
        ([4], "at least two classes, got 1"),
        ([], "at least two classes, got 0"),
        ([4, 10], "less than or equal to 9"),
        ([-1, 4], "greater than or equal to 0"),
        ([4, True], "valid integer"),
        ("45", "valid tuple"),
    ],
)
def test_classes_are_two_or_more_digits_each_once(classes: Any, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        validate("mine_image_pair", classes=classes)


def test_a_sequence_too_short_for_the_paper_s_network_is_refused_with_the_least_length() -> None:
    paper = {"kernel_size": 11, "pooling_size": 4}
    with pytest.raises(ValidationError, match="at least 1106 samples, got 1105"):
        validate("mine_sequence_pair", **paper, length=1105)
    assert validate("mine_sequence_pair", **paper, length=1106).length == 1106


@given(kernel_size=st.integers(1, 12), pooling_size=st.integers(1, 4))
def test_the_least_length_leaves_one_sample_after_the_last_block(
    kernel_size: int, pooling_size: int
) -> None:
    parameters = SequencePairParameters.model_validate(
        {
            **PARAMETERS["mine_sequence_pair"],
            "length": 10_000,
            "kernel_size": kernel_size,
            "pooling_size": pooling_size,
        }
    )
    samples = parameters.shortest
    for _ in range(BLOCKS):
        samples = (samples - kernel_size + 1) // pooling_size
    assert samples == 1
    NetForSequencePair(kernel_size=kernel_size, pooling_size=pooling_size)


def test_a_second_peak_past_the_end_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"second peak may start at 1\.55"):
        validate("mine_sequence_pair", separation=2.0)


@pytest.mark.parametrize("field", ["pairs", "test_pairs"])
def test_fewer_pairs_than_a_batch_are_refused(field: str) -> None:
    with pytest.raises(ValidationError, match=f"{field}: at least one batch of 30, got 29"):
        validate("mine_sequence_pair", **{field: 29})


def test_metrics_are_in_bits_and_the_test_ones_are_final() -> None:
    assert {metric.unit for metric in METRICS.values()} == {"bits"}
    for name, metric in METRICS.items():
        assert metric.final == name.startswith("test_")
