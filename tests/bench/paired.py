"""Two things timed in turns, so that whatever else the machine does befalls both."""

import time
from collections.abc import Callable
from dataclasses import dataclass

Action = Callable[[], object]


@dataclass(frozen=True)
class Pair:
    """Seconds of one round."""

    first_s: float
    second_s: float

    @property
    def ratio(self) -> float:
        """How many times as long the first takes."""
        return self.first_s / self.second_s


def seconds(action: Action) -> float:
    """How long it takes, once."""
    began_s = time.perf_counter()
    action()
    return time.perf_counter() - began_s


def in_turns(first: Action, second: Action, *, rounds: int) -> list[Pair]:
    """Time both in every round, each going first in every other one."""
    pairs = []
    for number in range(rounds):
        if number % 2:
            second_s, first_s = seconds(second), seconds(first)
        else:
            first_s, second_s = seconds(first), seconds(second)
        pairs.append(Pair(first_s, second_s))
    return pairs
