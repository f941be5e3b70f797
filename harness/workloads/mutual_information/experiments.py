"""Builds the three experiments: the pairs that each draws, and the network that scores them."""

from collections.abc import Mapping
from functools import partial

import numpy as np
import torch

from harness.workload import Arrays
from harness.workloads import mnist
from harness.workloads.mine.run import Draw, Experiment
from harness.workloads.mutual_information import networks, samplers
from harness.workloads.mutual_information.networks import Critic
from harness.workloads.mutual_information.parameters import (
    ImagePairParameters,
    ImageValuesPairParameters,
    PairParameters,
    SequencePairParameters,
)
from harness.workloads.mutual_information.samplers import Images


def experiment(
    parameters: PairParameters, data: Mapping[str, Arrays], device: torch.device
) -> Experiment[Critic]:
    """Return the experiment that these parameters describe, with its data on the device.

    Raises:
        TypeError: the parameters belong to no experiment of this paper.
    """
    match parameters:
        case SequencePairParameters():
            return _sequences(parameters, device)
        case ImagePairParameters():
            return _images(parameters, data[mnist.DATA_SET.name], device)
    raise TypeError(f"no experiment has {type(parameters).__name__}")


def _sequences(parameters: SequencePairParameters, device: torch.device) -> Experiment[Critic]:
    def draw(pairs: int) -> Draw:
        return lambda generator: samplers.sequence_pairs(
            parameters, pairs=pairs, device=device, generator=generator
        )

    return Experiment(
        critic=partial(
            networks.NetForSequencePair,
            kernel_size=parameters.kernel_size,
            pooling_size=parameters.pooling_size,
        ),
        training=draw(parameters.pairs),
        test=draw(parameters.test_pairs),
        data={},
    )


def _images(
    parameters: ImagePairParameters, arrays: Arrays, device: torch.device
) -> Experiment[Critic]:
    measured = mnist.measure(arrays)

    def draw(part: str) -> Draw:
        images = _used(arrays, part, parameters.classes, measured, device)
        if isinstance(parameters, ImageValuesPairParameters):
            return lambda generator: samplers.image_values_pairs(
                images,
                offset_max=parameters.offset_max,
                noise_max=parameters.noise_max,
                independent=parameters.independent,
                generator=generator,
            )
        return lambda generator: samplers.image_pairs(
            images, independent=parameters.independent, generator=generator
        )

    values = isinstance(parameters, ImageValuesPairParameters)
    return Experiment(
        critic=networks.NetForImageValuesPair if values else networks.NetForImagePair,
        training=draw("train"),
        test=draw("test"),
        data={mnist.DATA_SET.name: measured.digest},
    )


def _used(
    arrays: Arrays,
    part: str,
    classes: tuple[int, ...],
    measured: mnist.Measured,
    device: torch.device,
) -> Images:
    """Return the images of the used classes, with mean and SD of the whole training set."""
    labels = torch.from_numpy(np.asarray(arrays[f"{part}_labels"], np.int64))
    used = torch.isin(labels, torch.tensor(classes)).nonzero().squeeze(1)
    return Images(
        pixels=arrays[f"{part}_images"],
        used=used,
        labels=labels[used],
        mean=measured.mean,
        deviation=measured.deviation,
        device=device,
    )
