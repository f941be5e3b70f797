"""How verdicts speak of seeds and errors."""

import textwrap
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


def one_line(message: str, width: int = 200) -> str:
    """An error's message in one line that no terminal takes for a command.

    >>> one_line("bad\\n\\x1b[31mvalue")
    'bad [31mvalue'
    """
    plain = "".join(letter if letter.isprintable() else " " for letter in message)
    return textwrap.shorten(plain, width, placeholder=" …")


def as_words(text: str) -> str:
    """Words of a manifest or an error for Markdown: they make no markup, no new cell or line."""
    for character in "\\`*_[]<>|&":
        text = text.replace(character, f"\\{character}")
    return " ".join(text.split())
