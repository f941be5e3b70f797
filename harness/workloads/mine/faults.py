"""Faults of the method, which `harness selftest` plants: each replaces one function on a worker."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from types import MappingProxyType
from typing import Any
from unittest.mock import patch

from harness.workload import PlantedFault

_METHOD = "harness.workloads.mine"


def _without_the_mean() -> AbstractContextManager[object]:
    """Compute log(sum(exp)) where the bound has log(mean(exp)): lower by the log of the batch."""
    import torch  # noqa: PLC0415 - on a worker; the driver never needs it

    return patch(f"{_METHOD}.bounds.log_mean_exp", lambda scores: torch.logsumexp(scores, 0))


def _unshuffled() -> AbstractContextManager[object]:
    """Take the product of the marginals from the pairs themselves."""
    import torch  # noqa: PLC0415 - as above

    def permutation(_run: Any, pairs: Any, _stream: Any, _epoch: int = 0) -> Any:
        return torch.arange(len(pairs.b))

    return patch(f"{_METHOD}.run.MineRun._permutation", permutation)


FAULTS: Mapping[str, PlantedFault] = MappingProxyType(
    {
        "bound_without_the_mean": PlantedFault(
            "bound without the logarithm's mean", plant=_without_the_mean
        ),
        "marginals_not_shuffled": PlantedFault("marginals not shuffled", plant=_unshuffled),
        # A network takes dozens of epochs to memorise its pairs.
        "pairs_not_redrawn": PlantedFault(
            "pairs not redrawn", parameters={"redraw": False}, late=True
        ),
    }
)
"""By name."""
