"""Laws of a trial: what it gives depends on its parameters, its seed and its data alone."""

import io
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch

from harness.errors import ResourceError, StoreError, UsageError
from harness.workload import Context
from harness.workloads.mutual_information import METRICS
from tests.workloads.tiny import (
    PARAMETERS,
    WORKLOADS,
    each_of_the_paper,
    each_workload,
    epochs,
    images,
    start,
)

EPOCHS = 4


@pytest.fixture(scope="module")
def left_alone() -> Mapping[str, tuple[list[Mapping[str, float]], Mapping[str, float]]]:
    """Each experiment's epochs and final estimates at seed 0, never interrupted."""
    runs = {name: start(name) for name in WORKLOADS}
    return {name: (epochs(run, EPOCHS), run.final()) for name, run in runs.items()}


@each_workload
def test_the_same_seed_gives_the_same_numbers_bit_for_bit(name: str, left_alone: Any) -> None:
    run = start(name)
    assert (epochs(run, EPOCHS), run.final()) == left_alone[name]


@each_workload
def test_another_seed_gives_others(name: str, left_alone: Any) -> None:
    run = start(name, seed=1)
    assert run.epoch()["mi_bits"] != left_alone[name][0][0]["mi_bits"]


@each_workload
def test_a_trial_resumed_after_any_epoch_is_one_left_alone(name: str, left_alone: Any) -> None:
    expected, final = left_alone[name]
    run = start(name)
    for done in range(EPOCHS + 1):
        resumed = start(name)
        resumed.load(run.save())
        assert epochs(resumed, EPOCHS - done) == expected[done:]
        assert resumed.final() == final
        if done < EPOCHS:
            run.epoch()
    assert resumed.save() == run.save()


@each_workload
def test_a_trial_whose_pairs_are_fixed_resumes_with_the_same_pairs(name: str) -> None:
    run, resumed = start(name, redraw=False), start(name, redraw=False)
    run.epoch()
    resumed.load(run.save())
    assert resumed.epoch() == run.epoch()


@each_workload
def test_a_shorter_run_is_a_prefix_of_a_longer_one(name: str, left_alone: Any) -> None:
    assert WORKLOADS[name].prefix
    assert epochs(start(name), 2) == left_alone[name][0][:2]


@each_workload
def test_final_estimates_at_any_epoch_leave_the_run_as_it_was(name: str, left_alone: Any) -> None:
    run = start(name)
    for expected in left_alone[name][0]:
        before = run.final()
        assert run.final() == before
        assert run.epoch() == expected
    assert run.final() == left_alone[name][1]


def test_the_test_pairs_are_the_same_after_any_epoch() -> None:
    run = start("mine_sequence_pair")
    at_first = run.final()["test_true_mi_bits"]
    run.epoch()
    assert run.final()["test_true_mi_bits"] == at_first


def test_only_pairs_that_are_redrawn_change_their_entropy_by_epoch() -> None:
    for redraw in (True, False):
        run = start("mine_sequence_pair", redraw=redraw)
        drawn = {epoch["true_mi_bits"] for epoch in epochs(run, 3)}
        assert len(drawn) == (3 if redraw else 1)


@each_workload
def test_what_a_trial_before_it_left_in_torch_changes_nothing(name: str, left_alone: Any) -> None:
    torch.set_num_threads(2)
    torch.set_default_dtype(torch.float64)
    torch.set_default_device("meta")
    torch.use_deterministic_algorithms(False)
    torch.set_grad_enabled(False)
    torch.manual_seed(12345)
    run = start(name)
    assert epochs(run, 2) == left_alone[name][0][:2]
    assert torch.get_num_threads() == 1


@each_workload
def test_a_trial_leaves_the_global_generators_alone(name: str) -> None:
    before, numpy_before = torch.get_rng_state(), np.random.get_state(legacy=False)["state"]["key"]
    run = start(name)
    run.epoch()
    run.final()
    assert torch.equal(torch.get_rng_state(), before)
    assert np.array_equal(np.random.get_state(legacy=False)["state"]["key"], numpy_before)


@each_of_the_paper
def test_dependent_pairs_are_found_and_independent_ones_are_not(name: str, left_alone: Any) -> None:
    control = start(name, independent=True)
    assert all(abs(epoch["mi_bits"]) < 0.1 for epoch in epochs(control, EPOCHS))
    assert abs(control.final()["test_mi_whole_bits"]) < 0.1
    assert left_alone[name][0][-1]["mi_bits"] > 0.3
    assert left_alone[name][1]["test_mi_whole_bits"] > 0.3


@each_workload
def test_every_declared_metric_and_no_other_is_recorded(name: str, left_alone: Any) -> None:
    by_epoch, final = left_alone[name]
    assert set(by_epoch[0]) == {name for name, metric in METRICS.items() if not metric.final}
    assert set(final) == {name for name, metric in METRICS.items() if metric.final}


def test_the_two_averages_divide_one_sum_by_the_batches_and_by_the_whole_ones() -> None:
    metrics = start("mine_sequence_pair").epoch()  # 310 pairs: ten batches of 30, and one of 10
    assert 11 * metrics["mi_bits"] == pytest.approx(10 * metrics["mi_floor_bits"], rel=1e-12)


@each_workload
def test_an_estimate_that_is_not_finite_ends_the_trial_naming_metric_and_epoch(name: str) -> None:
    run = start(name, learning_rate=1e30)
    with pytest.raises(ArithmeticError, match=r"mi_bits is (nan|inf|-inf) at epoch [1-3]"):
        epochs(run, 3)


@each_workload
def test_a_network_that_is_no_number_ends_the_trial_in_whichever_parameter_it_is(name: str) -> None:
    """On some CPUs ReLU makes 0 of NaN, and the estimates stay finite."""
    for at in range(len([*start(name).critic.parameters()])):
        run = start(name)
        with torch.no_grad():
            [*run.critic.parameters()][at].view(-1)[0] = torch.nan
        with pytest.raises(ArithmeticError, match=r"is (nan|NaN or infinite) at epoch 1"):
            run.epoch()


def test_images_too_few_for_a_minibatch_are_named() -> None:
    run = start("mine_image_pair", batch_size=10_000)
    with pytest.raises(ValueError, match="pairs do not fill one minibatch of 10000"):
        run.epoch()


@each_workload
def test_the_environment_says_what_must_be_shared_to_resume(name: str) -> None:
    environment = start(name).environment
    form = "together" if name == "mine_gaussian" else "fast"
    assert environment.form == f"cpu/1 thread/{form}"
    assert (environment.device, environment.threads) == ("cpu", 1)
    assert {"python", "torch", "numpy"} <= environment.versions.keys()
    assert {type(version) for version in environment.versions.values()} == {str}
    assert environment.settings["deterministic_algorithms"] is True
    assert environment.settings["fp32_precision"] == "ieee"
    if WORKLOADS[name].data_sets(WORKLOADS[name].parameters.model_validate(PARAMETERS[name])):
        assert (
            environment.data["mnist"]
            != WORKLOADS[name]
            .data_sets(WORKLOADS[name].parameters.model_validate(PARAMETERS[name]))[0]
            .digest
        )


def test_a_trial_on_the_cpu_starts_no_gpu() -> None:
    start("mine_sequence_pair").epoch()
    assert not torch.cuda.is_initialized()


def test_a_gpu_that_is_not_there_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    with pytest.raises(ResourceError, match="a GPU was asked for, and torch sees none"):
        start("mine_image_pair", device="cuda")
    with pytest.raises(ResourceError, match="no device 'tpu'"):
        start("mine_image_pair", device="tpu")


def test_an_unknown_form_of_the_step_is_refused_with_those_there_are() -> None:
    workload = WORKLOADS["mine_sequence_pair"]
    parameters = workload.parameters.model_validate(PARAMETERS[workload.name])
    context = Context(seed=0, data={}, device="cpu", threads=1, options={"form": "faster"})
    with pytest.raises(UsageError, match="no form 'faster' of the step; choose one of: fast,"):
        workload.start(parameters, context)


def test_a_checkpoint_of_another_network_is_refused_and_changes_nothing() -> None:
    run, alone = start("mine_sequence_pair"), start("mine_sequence_pair")
    other = start("mine_sequence_pair", kernel_size=2)
    other.epoch()
    with pytest.raises(StoreError, match=r"features_a\.0\.weight is \(32, 1, 2\).*here \(32, 1, 3"):
        run.load(other.save())
    with pytest.raises(StoreError, match="another trial"):
        run.load(start("mine_image_pair").save())
    assert run.epoch() == alone.epoch()


def test_a_checkpoint_of_another_learning_rate_is_refused() -> None:
    with pytest.raises(StoreError, match="optimiser"):
        start("mine_sequence_pair").load(start("mine_sequence_pair", learning_rate=0.5).save())


@pytest.mark.parametrize("kept", [0, 1, 100, 5000, -1])
def test_a_broken_checkpoint_is_refused(kept: int) -> None:
    run = start("mine_sequence_pair")
    with pytest.raises(StoreError, match="not a checkpoint"):
        run.load(run.save()[:kept])


def test_a_checkpoint_is_small_and_executes_nothing() -> None:
    run = start("mine_image_pair")
    run.epoch()
    assert len(run.save()) < 2_000_000

    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return math.sqrt, (4,)

    buffer = io.BytesIO()
    torch.save({"epoch": Trap()}, buffer)
    with pytest.raises(StoreError, match="not a checkpoint"):
        run.load(buffer.getvalue())


def test_data_that_is_shared_read_only_is_enough() -> None:
    arrays = images()
    for array in arrays.values():
        array.flags.writeable = False
    workload = WORKLOADS["mine_image_pair"]
    parameters = workload.parameters.model_validate(PARAMETERS[workload.name])
    run = workload.start(
        parameters, Context(seed=0, data={"mnist": arrays}, device="cpu", threads=1)
    )
    assert run.epoch() == start("mine_image_pair").epoch()
