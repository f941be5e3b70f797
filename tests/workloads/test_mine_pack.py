"""A pack's trials of the first paper and of the Gaussians are the trials alone."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Generator, Tensor

from harness.workload import Arrays, Context, Pack, Packing
from harness.workloads.gaussian.estimator import FORMS as GAUSSIAN_FORMS
from harness.workloads.gaussian.estimator import VectorCritic, gaussian_task
from harness.workloads.mine.pack import MinePack, scores_of_lanes
from harness.workloads.mine.run import (
    EstimationTask,
    Form,
    MineRun,
    NonFiniteEstimate,
    Pairs,
    Stream,
)
from harness.workloads.mutual_information.networks import FORMS, EncoderCritic, plain
from harness.workloads.mutual_information.pairs import pair_task
from tests.workloads.test_forms import LIMIT, NETWORKS, error_of_one_step
from tests.workloads.tiny import PARAMETERS, WORKLOADS, each_workload, images

EXACT = 1e-10
"""In float64, on numbers of the order of one."""
SMALL: Mapping[str, Mapping[str, Any]] = {
    "mine_gaussian": {"pairs": 100, "test_pairs": 60},
    "mine_sequence_pair": {"pairs": 100, "test_pairs": 60},
    "mine_image_pair": {"classes": [3, 5], "batch_size": 16},
    "mine_image_values_pair": {"classes": [3, 5], "batch_size": 30},
}
"""A few minibatches in an epoch; the last is shorter."""
each_form = pytest.mark.parametrize(
    ("name", "form"),
    [
        *((name, form) for name in WORKLOADS if name != "mine_gaussian" for form in FORMS),
        ("mine_gaussian", "together"),
    ],
)


def parameters(name: str, **changed: Any) -> Any:
    return WORKLOADS[name].parameters.model_validate({**PARAMETERS[name], **SMALL[name], **changed})


def few_images() -> Arrays:
    return {name: array[:200] for name, array in images().items()}


def in_float64(task: EstimationTask[Any]) -> EstimationTask[Any]:
    """The experiment with a network and pairs in float64."""

    def double(pairs: Any) -> Pairs:
        exact: Pairs = replace(pairs, a=pairs.a.double(), b=pairs.b.double())
        return exact

    return replace(
        task,
        critic=lambda: task.critic().double(),
        training=lambda generator: double(task.training(generator)),
        test=lambda generator: double(task.test(generator)),
    )


def exact_run(name: str, form: str, seed: int, *, pack: int = 0, **changed: Any) -> MineRun[Any]:
    found = parameters(name, **changed)
    data = {"mnist": few_images()} if "image" in name else {}

    def experiment(device: torch.device) -> EstimationTask[Any]:
        if name == "mine_gaussian":
            return in_float64(gaussian_task(found, device))
        return in_float64(pair_task(found, data, device))

    forms: Mapping[str, Form[Any]] = GAUSSIAN_FORMS if name == "mine_gaussian" else FORMS
    context = Context(seed, data, "cpu", 1, {"form": form})
    return MineRun(found, context, experiment=experiment, forms=forms, pack=pack)


def started(name: str, seeds: list[int], size: int, form: str | None = None) -> Pack:
    """A pack as the engine starts it."""
    workload, found = WORKLOADS[name], parameters(name)
    assert isinstance(workload, Packing)
    data = {item.name: few_images() for item in workload.data_sets(found)}
    options = {} if form is None else {"form": form}
    contexts = [Context(seed, data, "cpu", 1, options) for seed in seeds]
    return workload.start_pack(found, contexts, size)


def weights(run: MineRun[Any]) -> list[Tensor]:
    """Of the critic, without the bias of its score.

    The bound ignores a shift of all scores, so the gradient of this bias is zero but for rounding,
    and Adam divides it by its own size.
    """
    *others, shift = (parameter.detach() for parameter in run.critic.parameters())
    assert shift.shape == (1,)
    return others


def assert_same_seeds(name: str, form: str, size: int, **changed: Any) -> None:
    together = [exact_run(name, form, seed, pack=size, **changed) for seed in range(size)]
    alone = [exact_run(name, form, seed, **changed) for seed in range(size)]
    pack = MinePack(together, size)
    for _ in range(3):
        ours, theirs = pack.epoch(range(size)), [run.epoch() for run in alone]
        for found, expected in zip(ours, theirs, strict=True):
            assert found == pytest.approx(expected, rel=EXACT, abs=EXACT)
    for member, run in zip(together, alone, strict=True):
        torch.testing.assert_close(weights(member), weights(run), rtol=EXACT, atol=EXACT)
        assert member.final() == pytest.approx(run.final(), rel=EXACT, abs=EXACT)
        for ours, theirs in zip(
            member.optimiser.state_dict()["state"].values(),
            run.optimiser.state_dict()["state"].values(),
            strict=True,
        ):
            torch.testing.assert_close(ours, theirs, rtol=EXACT, atol=EXACT)


@each_form
@pytest.mark.parametrize("size", [1, 2, 5])
def test_in_float64_every_seed_of_a_pack_is_the_seed_alone(name: str, form: str, size: int) -> None:
    assert_same_seeds(name, form, size)


@each_form
def test_pairs_that_are_drawn_once_serve_every_epoch_of_a_pack(name: str, form: str) -> None:
    assert_same_seeds(name, form, 2, redraw=False)


@each_form
def test_a_seed_does_not_depend_on_those_that_are_with_it(name: str, form: str) -> None:
    """So a trial goes on from its checkpoint to the last bit, whatever became of the others."""
    full, left = started(name, [0, 1, 2], 3, form), started(name, [2], 3, form)
    expected = [full.epoch([0, 1, 2])[2], full.epoch([1, 2])[1], full.epoch([2])[0]]
    assert left.epoch([0]) == expected[:1]
    resumed = started(name, [2], 3, form)
    resumed.runs[0].load(left.runs[0].save())
    assert [resumed.epoch([0])[0], resumed.epoch([0])[0]] == expected[1:]
    assert resumed.runs[0].final() == full.runs[2].final()


@each_workload
def test_trials_of_a_pack_may_be_at_different_epochs(name: str) -> None:
    ahead = started(name, [0, 1], 2)
    expected = [ahead.epoch([0])[0], ahead.epoch([0])[0], ahead.epoch([1])[0]]
    other = started(name, [0, 1], 2)
    first = other.epoch([0])
    assert [*first, *other.epoch([0, 1])] == expected


@each_form
def test_a_seed_whose_estimate_is_not_a_number_fails_alone(name: str, form: str) -> None:
    pack, whole = started(name, [0, 1, 2], 3, form), started(name, [0, 1, 2], 3, form)
    run = pack.runs[1]
    assert isinstance(run, MineRun)
    with torch.no_grad():
        list(run.critic.parameters())[-1].fill_(torch.nan)
    first, failed, last = pack.epoch([0, 1, 2])
    assert isinstance(failed, NonFiniteEstimate)
    assert "mi_bits is nan at epoch 1" in str(failed)
    others = whole.epoch([0, 1, 2])
    assert [first, last] == [others[0], others[2]]
    assert pack.epoch([0, 2]) == whole.epoch([0, 2])


@each_form
def test_a_network_that_its_last_step_breaks_fails_in_a_pack_as_alone(name: str, form: str) -> None:
    """The estimate of the only minibatch is finite, since it comes before the step."""
    pairs, _ = exact_run(name, form, 0).draw()
    told = {"batch_size": len(pairs.a), "learning_rate": 1e308}
    if "test_pairs" in SMALL[name]:
        told["test_pairs"] = len(pairs.a)
    pack = MinePack([exact_run(name, form, seed, pack=2, **told) for seed in range(2)], 2)
    for seed, found in enumerate(pack.epoch([0, 1])):
        run = exact_run(name, form, seed, **told)
        with pytest.raises(NonFiniteEstimate, match=r"(weight|bias) is NaN or infinite at epoch 1"):
            run.epoch()
        assert isinstance(found, NonFiniteEstimate)
        assert "is NaN or infinite at epoch 1" in str(found)


@each_workload
def test_the_form_names_the_size(name: str) -> None:
    forms = [started(name, [0], size).runs[0].environment.form for size in (1, 2)]
    assert [form.rsplit("/", 1)[1] for form in forms] == ["pack of 1", "pack of 2"]


@each_workload
def test_a_checkpoint_of_a_seed_is_no_larger_in_a_pack(name: str) -> None:
    small, large = started(name, [0], 1), started(name, [0, 1, 2, 3], 4)
    for pack in (small, large):
        pack.epoch(range(len(pack.runs)))
    sizes = [pack.runs[0].save() for pack in (small, large)]
    assert all(isinstance(payload, bytes) for payload in sizes)
    assert abs(len(sizes[0]) - len(sizes[1])) < 100


def stacked(critic: EncoderCritic, a: Tensor, b: Tensor, permuted: Tensor) -> tuple[Tensor, Tensor]:
    """The scores of a critic in the middle lane of three."""
    return _in_the_middle(critic, plain, a, b, permuted)


def _in_the_middle(
    critic: Any, scores: Any, a: Tensor, b: Tensor, permuted: Tensor
) -> tuple[Tensor, Tensor]:
    lanes = {
        name: torch.stack([2 * own.detach(), own, own.detach() - 1])
        for name, own in critic.named_parameters()
    }
    batch = [torch.stack([x.flip(0), x, 3 * x]) for x in (a, b, permuted)]
    joint, product = scores_of_lanes(critic, scores, lanes, (batch[0], batch[1], batch[2]))
    return joint[1], product[1]


@pytest.mark.parametrize("name", list(NETWORKS))
def test_one_step_in_float32_errs_by_a_few_roundings(name: str) -> None:
    assert error_of_one_step(stacked, name) < LIMIT


def test_a_critic_s_scores_are_the_same_in_any_lane() -> None:
    draws = Generator().manual_seed(Stream.TRAINING)
    critic = VectorCritic(dimensions=3, hidden=8).double()
    a, b, permuted = torch.randn(3, 7, 3, generator=draws, dtype=torch.float64)
    together = GAUSSIAN_FORMS["together"].scores
    ours = _in_the_middle(critic, together, a, b, permuted)
    torch.testing.assert_close(ours, together(critic, a, b, permuted), rtol=EXACT, atol=EXACT)
