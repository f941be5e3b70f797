"""Seeds as people write them, and messages on one line."""

from hypothesis import given
from hypothesis import strategies as st

from harness.errors import one_line
from harness.manifest import of_seeds, parse_seeds, spell


@given(st.sets(st.integers(0, 60), min_size=1))
def test_seeds_are_spelled_as_the_command_line_reads_them(seeds: set[int]) -> None:
    assert parse_seeds(spell(seeds)) == tuple(sorted(seeds))


def test_one_seed_is_no_plural() -> None:
    assert (of_seeds([3]), of_seeds([3, 4, 7])) == ("seed 3", "seeds 3-4,7")


@given(st.text())
def test_a_message_is_one_printable_line(message: str) -> None:
    line = one_line(message)
    assert len(line) <= 200
    assert all(letter.isprintable() for letter in line)
    assert len(one_line(message * 100)) <= 200
