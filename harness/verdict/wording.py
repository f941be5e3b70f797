"""How verdicts speak of seeds."""

from collections.abc import Iterable


def spell(numbers: Iterable[int]) -> str:
    """Numbers as the command line takes seeds.

    >>> spell([0, 1, 2, 5])
    '0-2,5'
    """
    runs: list[list[int]] = []
    for number in sorted(set(numbers)):
        if runs and number == runs[-1][-1] + 1:
            runs[-1][1:] = [number]
        else:
            runs.append([number])
    return ",".join("-".join(map(str, run)) for run in runs)


def of_seeds(seeds: Iterable[int]) -> str:
    """'seed 3', or 'seeds 0-2,5'."""
    named = sorted(set(seeds))
    return f"seed{'s' if len(named) != 1 else ''} {spell(named)}"
