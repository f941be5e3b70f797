"""What is drawn and what scores it, as `mine.run` takes them."""

from collections.abc import Mapping
from functools import partial
from types import MappingProxyType

import torch

from harness.workloads.gaussian.critic import Critic, together
from harness.workloads.gaussian.pairs import gaussian_pairs
from harness.workloads.gaussian.spec import GaussianParameters
from harness.workloads.mine.run import Draw, Experiment
from harness.workloads.mine.training import Form

FORMS: Mapping[str, Form[Critic]] = MappingProxyType({"together": Form(together, fused=True)})
"""By name: so small a network needs no other form."""


def experiment(parameters: GaussianParameters, device: torch.device) -> Experiment[Critic]:
    """The experiment that these parameters describe, on the device."""

    def draw(pairs: int) -> Draw:
        return lambda generator: gaussian_pairs(
            dimensions=parameters.dimensions,
            correlation=parameters.correlation,
            pairs=pairs,
            device=device,
            generator=generator,
        )

    return Experiment(
        critic=partial(Critic, dimensions=parameters.dimensions, hidden=parameters.hidden),
        training=draw(parameters.pairs),
        test=draw(parameters.test_pairs),
        data={},
    )
