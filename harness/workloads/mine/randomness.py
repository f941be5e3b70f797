"""Derives every random number of a trial from its seed: one generator for each use and epoch.

No generator outlives its epoch. So a checkpoint holds none, an epoch's draw does not depend on how
many came before, and a run is a prefix of any longer one.
"""

from enum import IntEnum

import numpy as np
import torch


class Stream(IntEnum):
    """What a generator is for. The numbers are part of the results: never renumber them."""

    TRAINING = 0
    INITIALISATION = 1
    PERMUTATION = 2
    TEST = 3
    TEST_PERMUTATION = 4


def generator(seed: int, stream: Stream, epoch: int = 0) -> torch.Generator:
    """A new generator on the CPU, independent of those of every other stream and epoch."""
    return torch.Generator().manual_seed(state(seed, stream, epoch))


def state(seed: int, stream: Stream, epoch: int = 0) -> int:
    """What the generator is seeded with: 32 bits, which is all that torch's Mersenne takes."""
    sequence = np.random.SeedSequence(entropy=seed, spawn_key=(stream, epoch))
    return int(sequence.generate_state(1, np.uint32)[0])
