"""One step of training: the plain loop's against the fast form's, on one thread."""

from collections.abc import Callable
from statistics import median

import pytest

from harness.workload import Arrays
from harness.workloads.mine.run import MineRun
from tests.bench import trials
from tests.bench.conftest import Sizes
from tests.bench.paired import Action, Pair
from tests.bench.results import Figure

PROMISED = {"image pairs": 2.0, "sequences": 6.5}


@pytest.mark.parametrize("network", list(trials.NETWORKS))
def test_a_step(
    network: str,
    digits: Arrays,
    sizes: Sizes,
    paired: Callable[[Action, Action], list[Pair]],
    figures: list[Figure],
) -> None:
    """An epoch with all that belongs to it (pairs, both passes, optimiser), by its steps."""
    found = trials.shortened(trials.NETWORKS[network], sizes.minibatches)
    plain, fast = (trials.start(found, digits, form=form) for form in ("plain", "fast"))
    pairs = paired(plain.epoch, fast.epoch)
    figures += [
        Figure.of(
            (pair.ratio for pair in pairs),
            group="A step, one thread",
            name=f"{network}: plain loop / fast form",
            at_least=PROMISED.get(network),
            note=_per_step(pairs, _steps(plain)),
        )
    ]


def _steps(run: MineRun) -> int:
    """How many steps an epoch has."""
    pairs = len(run._training_pairs(1).a)
    return -(-pairs // run._parameters.batch_size)


def _per_step(pairs: list[Pair], steps: int) -> str:
    plain_ms = 1000 * median(pair.first_s for pair in pairs) / steps
    fast_ms = 1000 * median(pair.second_s for pair in pairs) / steps
    return f"{plain_ms:.1f} ms a step, now {fast_ms:.1f} ms"
