"""ci/FAULTS.md says only what is tested."""

import re

from tests.faults.world import REPOSITORY

PAGE = (REPOSITORY / "ci" / "FAULTS.md").read_text(encoding="utf-8")


def test_every_test_that_the_page_names_is_there() -> None:
    named = re.findall(r"(tests/[\w/]+\.py)::(\w+)( \(chaos\))?", PAGE)
    assert len(named) > 30
    for file, test, chaos in named:
        text = (REPOSITORY / file).read_text(encoding="utf-8")
        assert f"def {test}(" in text, test
        before = text[: text.index(f"def {test}(")].rpartition("\n\n\n")[2]
        marked = "mark.chaos" in before or "pytestmark = pytest.mark.chaos" in text
        assert marked is bool(chaos), test


def test_every_row_says_how_it_is_tested() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| ")]
    told = [row for row in rows if not re.match(r"\| (Fault|What) \|", row)]
    assert len(told) > 25
    assert all("tests/" in row or "ci/chaos.py" in row for row in told)
