"""The HTML report as text; what a browser makes of it is tested in a browser."""

import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from harness.report.pages import facts, html
from harness.report.text import columns, description, number
from harness.verdict import ExperimentVerdict, Outcome
from tests.report import studies
from tests.verdict.builders import curve, experiment, failed, trial, value, verdict_on

Make = Callable[[], ExperimentVerdict]
every_verdict = pytest.mark.parametrize("make", studies.ALL, ids=lambda make: make.__name__)

HOSTILE = "</style><script>alert(1)</script><img src=//evil onerror=alert(2)>&amp;'\""


class Page(HTMLParser):
    """Tags in order, and all words outside of style and script."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self._raw = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._raw = tag in ("style", "script")

    def handle_endtag(self, tag: str) -> None:
        self._raw = False

    def handle_data(self, data: str) -> None:
        if not self._raw:
            self.words += data

    def of(self, name: str, attribute: str) -> list[str]:
        return [found[attribute] or "" for tag, found in self.tags if tag == name]


def test_equal_verdicts_make_equal_pages() -> None:
    once, again = ([studies.reproduced(), studies.broken()] for _ in range(2))
    assert html(once) == html(again)


@every_verdict
def test_the_page_says_what_the_verdict_says(make: Make) -> None:
    verdict = make()
    words = Page(html([verdict])).words
    for result in verdict.results:
        assert result.name in words
        assert number(result.reported) in words
        assert number(result.measured) in words
        assert result.note in words
    assert str(verdict.verdict) in words
    for said in (*verdict.notes, "How to read this", "slide 1", "usual", "./run.py"):
        assert said in words


def test_no_word_of_a_manifest_or_an_error_becomes_markup() -> None:
    asked = experiment(curve({1: 0.0, 2: 0.5}, name=HOSTILE), value(1.0, name="test"), epochs=2)
    paper = asked.manifest.paper.model_copy(
        update={"title": HOSTILE, "listing": HOSTILE, "url": "javascript:alert(3)"}
    )
    manifest = asked.manifest.model_copy(update={"title": HOSTILE, "unit": HOSTILE, "paper": paper})
    asked = asked.model_copy(update={"manifest": manifest})
    failure = replace(failed(1), message=HOSTILE, traceback=HOSTILE)
    hostile = verdict_on(asked, {0: trial([0.0], failure=failure), 1: trial([0.0, 0.5], test=1.0)})
    tame = verdict_on(
        experiment(curve({1: 0.0, 2: 0.5}), value(1.0, name="test"), epochs=2),
        {0: trial([0.0], failure=failed(1)), 1: trial([0.0, 0.5], test=1.0)},
    )
    page, plain = Page(html([hostile])), Page(html([tame]))
    assert page.words.count(HOSTILE) > 6
    assert [tag for tag, _ in page.tags].count("script") == 1
    assert {tag for tag, _ in page.tags} <= {tag for tag, _ in plain.tags} | {"details", "pre"}
    assert not [href for href in page.of("a", "href") if "javascript" in href]


def test_the_page_names_nothing_to_load_and_allows_only_its_own_script() -> None:
    text = html([make() for make in studies.ALL], {"known": "http://127.0.0.1:5000/#/x"})
    page = Page(text)
    assert not {"link", "img", "iframe", "base", "object"} & {tag for tag, _ in page.tags}
    assert "src" not in {name for _, found in page.tags for name in found}
    assert not re.search(r"@import|url\((?!#)", text.partition("<script>")[0])
    (policy,) = (found for tag, found in page.tags if tag == "meta" and "http-equiv" in found)
    assert "default-src 'none'" in (policy["content"] or "")
    assert page.of("a", "href").count("http://127.0.0.1:5000/#/x") == 1


def test_no_two_things_on_the_page_share_a_name_and_every_link_leads_somewhere() -> None:
    page = Page(html([make() for make in studies.ALL]))
    names = [found["id"] for _, found in page.tags if "id" in found]
    assert len(names) == len(set(names))
    inside = [href[1:] for tag, found in page.tags if (href := found.get("href") or "")[:1] == "#"]
    inside += [found["xlink:href"][1:] for _, found in page.tags if found.get("xlink:href")]
    assert set(inside) <= set(names)


def test_what_differs_among_the_seeds_is_told_first_and_by_seed() -> None:
    seeds = {
        0: trial([0.0], versions={"torch": "2.1"}),
        1: trial([0.0], versions={"torch": "2.2"}),
        2: trial([0.0], versions={"torch": "2.1"}),
    }
    verdict = verdict_on(experiment(curve({1: 0.0}), epochs=1), seeds)
    first, *others = facts(verdict.evidence)
    assert (first.name, first.values) == (
        "version of torch",
        {"2.1": "seeds 0,2", "2.2": "seed 1"},
    )
    assert not any(fact.differs for fact in others)
    assert "the seeds differ" in Page(html([verdict])).words


def test_the_command_repeats_what_was_asked_for() -> None:
    assert "harness run reproduced.yaml" in Page(html([studies.reproduced()])).words
    assert "harness run short.yaml --epochs 2" in Page(html([studies.short()])).words


def test_a_runs_description_tells_its_own_difference_from_the_paper() -> None:
    verdict = studies.reproduced()
    assert columns(verdict, 0) == {
        "within tolerance": "yes",
        "compared": "test",
        "reported": "1.6000",
        "measured": "1.6000",
        "difference": "+0.0000",
    }
    assert "REPRODUCED" in description(verdict, 0)
    assert "this seed gave 1.6000" in description(verdict, 0)


def test_without_a_final_estimate_the_last_row_that_ran_is_compared() -> None:
    verdict = studies.short()
    assert columns(verdict)["compared"] == "early rows @ 1"
    assert columns(studies.broken(), 1)["measured"] == "-"


def test_where_a_row_fails_that_row_is_compared() -> None:
    assert columns(studies.not_reproduced())["compared"] == "early rows @ 4"
    assert columns(studies.not_reproduced(), 0)["within tolerance"] == "no"


@every_verdict
def test_a_description_names_every_row_that_was_not_reproduced(make: Make) -> None:
    verdict = make()
    text = description(verdict)
    for row in verdict.results:
        assert (row.name in text) or row.verdict is not Outcome.NOT_REPRODUCED
