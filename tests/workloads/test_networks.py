"""The networks against the paper's listings, name by name and shape by shape."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 (its usual name)

from harness.workloads.mutual_information.networks import (
    EncoderCritic,
    NetForImagePair,
    NetForImageValuesPair,
    NetForSequencePair,
)

IMAGE_LAYERS = ["Conv2d", "MaxPool2d", "ReLU", "Conv2d", "MaxPool2d", "ReLU"]
BLOCK = ["Conv1d", "AvgPool1d", "LeakyReLU"]


def image_branch(name: str) -> dict[str, tuple[int, ...]]:
    return {
        f"{name}.0.weight": (16, 1, 5, 5),
        f"{name}.0.bias": (16,),
        f"{name}.3.weight": (32, 16, 5, 5),
        f"{name}.3.bias": (32,),
    }


def values_branch(name: str) -> dict[str, tuple[int, ...]]:
    return {
        f"{name}.0.weight": (32, 2),
        f"{name}.0.bias": (32,),
        f"{name}.2.weight": (32, 32),
        f"{name}.2.bias": (32,),
        f"{name}.4.weight": (128, 32),
        f"{name}.4.bias": (128,),
    }


def sequence_branch(name: str) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for layer, channels in zip((0, 3, 6, 9), (1, 32, 32, 32), strict=True):
        shapes |= {f"{name}.{layer}.weight": (32, channels, 11), f"{name}.{layer}.bias": (32,)}
    return shapes


def head(features: int, hidden: int) -> dict[str, tuple[int, ...]]:
    return {
        "fully_connected.0.weight": (hidden, features),
        "fully_connected.0.bias": (hidden,),
        "fully_connected.2.weight": (1, hidden),
        "fully_connected.2.bias": (1,),
    }


def paper_sequence_network() -> NetForSequencePair:
    return NetForSequencePair(kernel_size=11, pooling_size=4)


LISTINGS = [
    (
        NetForImagePair,
        image_branch("features_a") | image_branch("features_b") | head(256, 200),
        (IMAGE_LAYERS, IMAGE_LAYERS),
    ),
    (
        NetForImageValuesPair,
        image_branch("features_a") | values_branch("features_b") | head(256, 200),
        (IMAGE_LAYERS, ["Linear", "ReLU"] * 3),
    ),
    (
        paper_sequence_network,
        sequence_branch("features_a") | sequence_branch("features_b") | head(64, 256),
        (BLOCK * 4, BLOCK * 4),
    ),
]


@pytest.mark.parametrize(("network", "shapes", "layers"), LISTINGS)
def test_names_shapes_and_layers_are_the_listing_s(
    network: type[EncoderCritic],
    shapes: dict[str, tuple[int, ...]],
    layers: tuple[list[str], list[str]],
) -> None:
    critic = network()
    assert {name: tuple(p.shape) for name, p in critic.named_parameters()} == shapes
    names = ("features_a", "features_b", "fully_connected")
    kinds = [[type(layer).__name__ for layer in critic.get_submodule(n).children()] for n in names]
    assert kinds == [*layers, ["Linear", "ReLU", "Linear"]]


def test_pooling_is_as_wide_as_the_listing_has_it() -> None:
    pools = [layer for layer in NetForImagePair().features_b if isinstance(layer, nn.MaxPool2d)]
    assert [(pool.kernel_size, pool.stride) for pool in pools] == [(3, 3), (2, 2)]
    averages = [
        layer for layer in paper_sequence_network().features_a if isinstance(layer, nn.AvgPool1d)
    ]
    assert [pool.kernel_size for pool in averages] == [(4,)] * 4


def test_images_are_scored_as_the_listing_s_forward_does() -> None:
    critic = NetForImagePair()
    a, b = torch.randn(2, 3, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    x = torch.cat((critic.features_a(a).view(3, -1), critic.features_b(b).view(3, -1)), 1)
    assert torch.equal(critic(a, b), critic.fully_connected(x)[:, 0])


def test_values_are_scored_as_the_listing_s_forward_does() -> None:
    critic = NetForImageValuesPair()
    a = torch.randn(3, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    b = torch.randn(3, 2, generator=torch.Generator().manual_seed(1))
    x = torch.cat((critic.features_a(a).view(3, -1), critic.features_b(b).view(3, -1)), 1)
    assert torch.equal(critic(a, b), critic.fully_connected(x)[:, 0])


def test_sequences_are_scored_as_the_listing_s_forward_does() -> None:
    critic = paper_sequence_network()
    a, b = torch.randn(2, 3, 1500, generator=torch.Generator().manual_seed(0))
    features = [
        F.avg_pool1d(y, y.size(2)).view(3, -1)
        for y in (critic.features_a(a.view(3, 1, 1500)), critic.features_b(b.view(3, 1, 1500)))
    ]
    assert torch.equal(critic(a, b), critic.fully_connected(torch.cat(features, 1))[:, 0])
