"""Laws of the pairs, over many draws."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.workloads.mine.run import Stream
from harness.workloads.mutual_information import SequencePairParameters
from harness.workloads.mutual_information.pairs import (
    ClassImages,
    LabelledPairs,
    image_pairs,
    image_values_pairs,
    sequence_pairs,
)
from harness.workloads.torch_runtime import generator, generator_seed
from tests.workloads.tiny import PARAMETERS

seeds = st.integers(0, 2**32 - 1)
labels = st.lists(st.integers(0, 9), min_size=8, max_size=60)


def numbered(classes: list[int]) -> ClassImages:
    """Images that say which they are in every pixel."""
    pixels = np.arange(len(classes), dtype=np.float32)[:, None, None].repeat(28, 1).repeat(28, 2)
    return ClassImages(
        pixels=pixels,
        used=torch.arange(len(classes)),
        labels=torch.tensor(classes),
        mean=0.0,
        deviation=1.0,
        device=torch.device("cpu"),
    )


def which(pixels: torch.Tensor) -> torch.Tensor:
    return pixels[:, 0, 0, 0].long()


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@given(labels, seeds)
def test_the_images_of_a_pair_share_their_class_and_no_image_serves_twice(
    classes: list[int], seed: int
) -> None:
    images = numbered(classes)
    pairs = image_pairs(images, independent=False, generator=seeded(seed))
    a, b = which(pairs.a), which(pairs.b)
    assert torch.equal(images.labels[a], images.labels[b])
    assert len({*a.tolist(), *b.tolist()}) == 2 * len(a)
    assert len(a) == sum(classes.count(label) // 2 for label in set(classes))


def test_independent_image_pairs_share_their_class_as_often_as_chance_has_it() -> None:
    images = numbered([4, 5, 8, 9] * 500)
    pairs = image_pairs(images, independent=True, generator=seeded(0))
    same = images.labels[which(pairs.a)] == images.labels[which(pairs.b)]
    assert same.double().mean().item() == pytest.approx(0.25, abs=0.05)


def values(images: ClassImages, seed: int, **changed: Any) -> LabelledPairs:
    given = {"offset_max": 10.0, "noise_max": 0.5, "independent": False} | changed
    return image_values_pairs(images, **given, generator=seeded(seed))


@given(labels, seeds)
def test_the_values_are_an_offset_and_the_class_above_it_under_bounded_noise(
    classes: list[int], seed: int
) -> None:
    images = numbered(classes)
    pairs = values(images, seed)
    alpha, above = pairs.b.double().T
    noise = above - alpha - images.labels[which(pairs.a)]
    assert sorted(which(pairs.a).tolist()) == list(range(len(classes)))
    assert bool(((alpha >= 0) & (alpha <= 10)).all())
    assert bool(((noise >= -1e-5) & (noise <= 0.5 + 1e-5)).all())


def test_independent_values_keep_their_classes_but_not_their_images() -> None:
    images = numbered([4, 5, 8, 9] * 500)
    pairs = values(images, 0, independent=True)
    classes = (pairs.b[:, 1] - pairs.b[:, 0]).floor().long()
    same = classes == images.labels[which(pairs.a)]
    assert sorted(classes.tolist()) == sorted(images.labels.tolist())
    assert same.double().mean().item() == pytest.approx(0.25, abs=0.05)


# Fine enough in time that a peak is told from its neighbour.
PAPER = SequencePairParameters.model_validate(
    {
        **PARAMETERS["mine_sequence_pair"],
        "classes": 16,
        "length": 1024,
        "noise": 0.0,
        "halving_time": 0.1,
        "amplitude_a": 1.0,
        "amplitude_b": 0.25,
        "separation": 0.5,
        "position_a_max": 0.9,
        "position_b_max": 0.5,
    }
)


def sequences(seed: int, **changed: Any) -> LabelledPairs:
    return sequence_pairs(
        PAPER.model_copy(update=changed),
        pairs=40,
        device=torch.device("cpu"),
        generator=seeded(seed),
    )


@settings(max_examples=25)
@given(seeds)
def test_the_height_of_the_one_peak_and_the_distance_of_the_two_tell_the_same_class(
    seed: int,
) -> None:
    pairs = sequences(seed)
    fall_of_a_sample = 2 ** (-1 / 1023 / 0.1)
    height = pairs.population.double() / 17
    highest = pairs.a.double().max(1).values
    assert bool((highest <= height + 1e-6).all())
    assert bool((highest >= height * fall_of_a_sample - 1e-6).all())

    jumps = pairs.b.diff(prepend=torch.zeros(40, 1), dim=1) > 0.2
    assert jumps.sum(1).tolist() == [2] * 40
    first, second = jumps.nonzero()[:, 1].view(40, 2).T
    distance = (second - first) / 1023
    assert distance.numpy() == pytest.approx((0.5 * height).numpy(), abs=1.01 / 1023)


def test_peaks_halve_in_the_halving_time() -> None:
    pairs = sequences(0, position_a_max=0.0, length=1001)
    assert pairs.a[:, 100].numpy() == pytest.approx(pairs.a[:, 0].numpy() / 2, rel=1e-5)


def test_independent_sequences_have_classes_of_their_own_and_the_paper_s_entropy() -> None:
    pairs = sequences(0, independent=True)
    jumps = (pairs.b.diff(prepend=torch.zeros(40, 1), dim=1) > 0.2).nonzero()[:, 1].view(40, 2)
    classes = ((jumps[:, 1] - jumps[:, 0]) / 1023 * 34).round().long()
    assert (classes == pairs.population).double().mean().item() < 0.5


def test_noise_has_the_deviation_that_was_asked_for() -> None:
    quiet, noisy = sequences(3), sequences(3, noise=0.02)
    assert (noisy.a - quiet.a).std().item() == pytest.approx(0.02, rel=0.02)


def test_classes_are_drawn_evenly_from_one_to_q() -> None:
    pairs = sequence_pairs(
        PAPER.model_copy(update={"length": 46}),
        pairs=16_000,
        device=torch.device("cpu"),
        generator=seeded(0),
    )
    counts = torch.bincount(pairs.population, minlength=17)
    assert counts[0] == 0
    assert counts[1:].double().numpy() == pytest.approx(1000, abs=5 * 1000**0.5)


@given(seeds)
def test_a_draw_is_a_function_of_its_generator(seed: int) -> None:
    images = numbered([4, 5, 8, 9] * 5)
    draws: tuple[Callable[[int], LabelledPairs], ...] = (
        lambda s: image_pairs(images, independent=False, generator=seeded(s)),
        lambda s: values(images, s),
    )
    for draw in draws:
        assert torch.equal(draw(seed).a, draw(seed).a)
        assert torch.equal(draw(seed).b, draw(seed).b)
        assert not torch.equal(draw(seed).b, draw(seed + 1).b)


def test_no_two_uses_epochs_or_seeds_share_a_generator() -> None:
    states = [
        generator_seed(seed, stream, epoch)
        for seed in range(10)
        for stream in Stream
        for epoch in range(201)
    ]
    # 32 bits and 10,050 draws: chance alone makes one pair with probability 0.012.
    assert len(set(states)) >= len(states) - 1
    assert generator(1, Stream.TEST).initial_seed() == generator_seed(1, Stream.TEST)
