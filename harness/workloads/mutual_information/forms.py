"""The forms of the step that the paper's networks have."""

from collections.abc import Mapping
from types import MappingProxyType

from torch import Tensor

from harness.workloads.mine.training import Form
from harness.workloads.mutual_information.fast import fast
from harness.workloads.mutual_information.networks import Critic


def plain(critic: Critic, a: Tensor, b: Tensor, permuted: Tensor) -> tuple[Tensor, Tensor]:
    """The two scores as the paper's loop computes them: one call of the network for each."""
    return critic(a, b), critic(a, permuted)


FORMS: Mapping[str, Form[Critic]] = MappingProxyType(
    {"fast": Form(fast, fused=True), "plain": Form(plain, fused=False)}
)
"""By name: the same function, gradients and updates, but for the order of sums; the first is
what a run takes unless it is told otherwise, and `plain` is what the others are held against."""
