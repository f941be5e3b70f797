"""Terminal, Markdown and figures: what people see."""

import gc
import io
import re
import weakref
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure
from matplotlib.image import imread
from rich.cells import cell_len
from rich.console import Console

from harness.report import claims, summary
from harness.report.figures import MOST_LINES, drawings, figure, image, panels, themed
from harness.report.pages import html, verdicts_markdown
from harness.report.terminal import unsettled
from harness.report.text import equal_rows, number, overview
from harness.session.reports import Reports
from harness.verdict import ExperimentVerdict, Outcome
from tests.report import studies
from tests.verdict.builders import curve, experiment, trial, value, verdict_on

Make = Callable[[], ExperimentVerdict]
every_verdict = pytest.mark.parametrize("make", studies.ALL, ids=lambda make: make.__name__)


def printed(renderable: object, width: int = 200, encoding: str = "utf-8") -> str:
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="backslashreplace")
    Console(file=file, width=width).print(renderable)
    file.seek(0)
    return file.read()


def printed_claims(verdict: ExperimentVerdict, width: int = 200) -> str:
    return printed(claims(verdict, width=width), width)


@pytest.mark.parametrize(
    ("value", "text"),
    [(1.92234, "1.9223"), (-0.00001, "0.0000"), (-0.00005001, "-0.0001"), (None, "-")],
)
def test_numbers_are_printed_as_papers_print_them(value: float | None, text: str) -> None:
    assert number(value) == text


def test_a_difference_shows_its_sign() -> None:
    assert (number(0.1, signed=True), number(-0.1, signed=True)) == ("+0.1000", "-0.1000")


@every_verdict
def test_the_terminal_shows_every_row_that_ran_and_every_note(make: Make) -> None:
    verdict = make()
    text = printed_claims(verdict)
    ran = [result for result in verdict.results if result.verdict is not Outcome.NOT_RUN]
    equal = equal_rows(verdict)
    assert all(line in text.splitlines() for line in equal.lines())
    for result in ran:
        if equal.covers(result):
            continue
        line = next(line for line in text.splitlines() if line.startswith(f"{result.name} "))
        assert number(result.reported) in line
        assert str(result.verdict) in line
    assert all(note[:60] in text for note in verdict.notes)


def test_every_page_shows_what_the_statistics_rest_on() -> None:
    verdict = studies.reproduced()
    (last,) = (result for result in verdict.results if result.name == "test")
    assert last.interval is not None
    low, high = map(number, last.interval)
    terminal, md, page = printed_claims(verdict), verdicts_markdown([verdict]), html([verdict])
    left_out = "leave-one-out check: 0 of 3 seeds rejected by the others"
    for text in (terminal, md, page):
        assert "two one-sided t-tests; consistency: t-test with Holm correction" in text
        assert left_out in text
    assert "early rows, take-off, test: equivalence" in terminal
    assert {"p equiv.", "p cons."} <= set(re.findall(r"p \w+\.", terminal))
    assert f"{low} to {high}" in md
    assert f"{low} to {high}" in page


def test_one_seed_has_no_columns_for_statistics() -> None:
    verdict = verdict_on(experiment(curve({1: 0.0}), epochs=1), {0: trial([0.0])})
    for text in (printed_claims(verdict), verdicts_markdown([verdict])):
        assert "tolerance only, no statistical claim" in text
        assert "p equiv" not in text


def test_the_terminal_counts_what_was_not_run_with_its_reason() -> None:
    text = printed_claims(studies.short())
    assert "rows not run: 2, beyond the first 2 epochs" in text
    assert "early rows @ 4" not in text


def test_the_summary_has_a_line_for_each_experiment_in_order() -> None:
    verdicts = [make() for make in studies.ALL]
    shown = printed(summary(verdicts)).splitlines()
    lines = [next(line for line in shown if f"  {verdict.id}  " in line) for verdict in verdicts]
    assert lines == sorted(lines, key=shown.index)
    for line, verdict in zip(lines, verdicts, strict=True):
        assert line.startswith(str(verdict.verdict))
    assert lines[1].split() == ["NOT", "REPRODUCED", "not-reproduced", "1/2", "NO", "0-2", "4"]


LONG = "a-control-of-an-experiment-that-has-a-long-name-with-many-hyphens"


@cache
def everything() -> list[ExperimentVerdict]:
    """Every study, and a long id for every outcome that an experiment can have."""
    made = [make() for make in studies.ALL]
    asked = experiment(curve({1: 0.0}), id=LONG, control=True, epochs=1)
    long = verdict_on(asked, {0: trial([0.0])})
    rows = long.results
    return made + [
        replace(long, verdict=outcome, results=tuple(replace(row, verdict=outcome) for row in rows))
        for outcome in Outcome
    ]


@settings(max_examples=40)
@given(width=st.integers(40, 200), encoding=st.sampled_from(["utf-8", "ascii"]))
def test_no_width_cuts_an_id_a_verdict_or_a_number(width: int, encoding: str) -> None:
    verdicts = everything()
    text = printed(summary(verdicts), width, encoding)
    assert max(map(cell_len, text.splitlines())) <= width
    for outcome, count in Counter(verdict.verdict for verdict in verdicts).items():
        named = len(re.findall(rf"(?<!NOT ){outcome}", text))
        assert named == count
    for verdict in verdicts:
        assert verdict.id in "".join(text.split())
        told = printed(claims(verdict, width=width), width, encoding)
        equal = equal_rows(verdict)
        assert all(line in " ".join(told.split()) for line in equal.lines())
        ran = [
            row
            for row in verdict.results
            if row.verdict is not Outcome.NOT_RUN and not equal.covers(row)
        ]
        assert max(map(cell_len, told.splitlines())) <= width
        words = told.split()
        for row in ran:
            assert told.count(row.verdict) >= sum(row.verdict == other.verdict for other in ran)
            assert number(row.reported) in " ".join(words)
            assert number(row.measured) in " ".join(words)
            assert set(row.note.split()) <= set(words)
        assert set(told) & set("─│…") <= set("─")
        assert encoding == "utf-8" or told.isascii()


@pytest.mark.parametrize("width", [40, 80, 200])
def test_the_short_form_names_what_failed_or_is_open_and_no_row_that_holds(width: int) -> None:
    verdicts = everything()
    told = printed(unsettled(verdicts), width, "utf-8")
    assert max(map(cell_len, told.splitlines())) <= width
    words = " ".join(told.split())
    for verdict in verdicts:
        for row in verdict.results:
            open_ = not row.verdict.holds and row.verdict is not Outcome.NOT_RUN
            if open_ or (row.verdict.holds and row.as_expected is False):
                assert row.claim in words
        assert all(set(note.split()) <= set(words.split()) for note in verdict.notes)
    assert printed(unsettled([studies.reproduced()]), width, "utf-8").split() == []


def test_a_verdict_on_one_seed_says_so() -> None:
    one = replace(studies.reproduced(), seeds=(0,))
    assert "REPRODUCED (1 seed)" in printed(summary([one]), 40, "utf-8")
    assert "1 seed" not in printed(summary([studies.reproduced()]), 40, "utf-8")


def test_equal_rows_of_an_exact_claim_are_one_line_and_an_unequal_one_is_a_row() -> None:
    good = studies.reproduced()
    told = printed(claims(good, width=80), 80, "utf-8")
    assert "true values: 4 of 4 rows equal" in told
    assert "true values @ 1" not in told
    off = replace(good.results[1], verdict=Outcome.NOT_REPRODUCED, as_expected=False)
    told = printed(
        claims(replace(good, results=(good.results[0], off, *good.results[2:])), width=80),
        80,
        "utf-8",
    )
    assert "true values: 3 of 4 rows equal" in told
    assert "true values @ 2" in told
    assert "true values @ 1" not in told


def test_no_color_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    def coloured() -> bool:
        console = Console(file=io.StringIO(), force_terminal=True, color_system="truecolor")
        console.print(summary(everything()))
        assert isinstance(console.file, io.StringIO)
        styles = re.findall(r"\x1b\[([0-9;]*)m", console.file.getvalue())
        return any(re.search(r"(^|;)[349][0-9](;|$)", style) for style in styles)

    monkeypatch.delenv("NO_COLOR", raising=False)
    assert coloured()
    monkeypatch.setenv("NO_COLOR", "1")
    assert not coloured()


def test_what_all_runs_say_together_stands_in_plain_words() -> None:
    def run(outcome: Outcome, *, own: bool = False) -> ExperimentVerdict:
        verdict = studies.reproduced()
        listing = "none: a control of our own" if own else "slide 1"
        paper = verdict.experiment.manifest.paper.model_copy(update={"listing": listing})
        manifest = verdict.experiment.manifest.model_copy(update={"paper": paper})
        asked = verdict.experiment.model_copy(update={"manifest": manifest})
        return replace(verdict, verdict=outcome, experiment=asked)

    good, bad, open_ = Outcome.REPRODUCED, Outcome.NOT_REPRODUCED, Outcome.INCONCLUSIVE
    runs = [run(good), run(Outcome.IMMATERIAL_DIFFERENCE), run(bad), run(open_), run(open_)]
    own = [run(good, own=True), run(good, own=True)]
    assert overview([*runs, *own]) == (
        "Of the paper's five runs 2 reproduced, 2 are inconclusive and 1 did not reproduce. "
        "All two of our own controls passed."
    )
    assert overview(runs[:2]) == "All two of the paper's runs reproduced."
    assert overview([run(bad)]) == "This run of the paper did not reproduce."
    assert overview([own[0]]) == "Our own control passed."
    assert overview([run(bad, own=True)]) == "Our own control did not reproduce."
    assert overview([own[0], run(bad, own=True)]) == (
        "Of our own two controls 1 reproduced and 1 did not reproduce."
    )
    assert overview([]) == ""


def test_words_of_a_manifest_are_never_markup() -> None:
    asked = experiment(curve({1: 0.0}, name="[red]rows[/red]"), epochs=1)
    assert "[red]rows[/red] @ 1" in printed_claims(verdict_on(asked, {0: trial([0.0])}))


def test_equal_verdicts_make_equal_pages() -> None:
    once, again = ([make() for make in studies.ALL] for _ in range(2))
    assert verdicts_markdown(once) == verdicts_markdown(again)


def test_the_page_has_every_experiment_row_and_figure() -> None:
    verdicts = [make() for make in studies.ALL]
    page = verdicts_markdown(verdicts, {"known": "figures/known.png"})
    for verdict in verdicts:
        assert f"\n## {verdict.id}\n" in page
        equal = equal_rows(verdict)
        for result in verdict.results:
            if equal.covers(result):
                assert f"\n| {result.claim} | ✅ REPRODUCED |" in page
                continue
            lines = page.partition(f"\n## {verdict.id}\n")[2].splitlines()
            row = next(line for line in lines if line.startswith(f"| {result.name} |"))
            assert str(result.verdict) in row.split("|")[2]
            assert number(result.reported) in row
    assert page.count("![") == page.count("](figures/known.png)") == 1


def test_every_line_of_a_table_has_the_cells_of_its_head() -> None:
    page = verdicts_markdown([studies.broken(), studies.reproduced()])
    for table in re.findall(r"(?:^\|.*\n)+", page, flags=re.MULTILINE):
        cells = {len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}
        assert len(cells) == 1


def test_an_errors_message_can_open_no_markup_on_the_page() -> None:
    page = verdicts_markdown([studies.broken()])
    assert r"bad \| \<b\> \[31m\`x\` second line" in page
    assert "<b>" not in page


def test_an_errors_message_can_command_no_terminal() -> None:
    assert "\x1b" not in printed_claims(studies.broken())


@every_verdict
def test_every_verdict_has_a_figure_that_can_be_read_back(make: Make) -> None:
    made = figure(make())
    assert made is not None
    pixels = imread(io.BytesIO(image(made, "png")))
    assert np.ptp(pixels[..., :3]) > 0.9


def test_equal_verdicts_make_equal_files() -> None:
    once, again = figure(studies.reproduced()), figure(studies.reproduced())
    assert once is not None
    assert again is not None
    assert image(once, "svg") == image(again, "svg")
    assert image(once, "png") == image(again, "png")


def test_the_figure_holds_each_seed_their_mean_and_the_reported_values() -> None:
    verdict = studies.reproduced()
    made = figure(verdict)
    assert made is not None
    axes, side, *_ = made.axes
    lines = [np.asarray(line.get_ydata()) for line in axes.lines]
    curves = verdict.evidence.curves["mi_bits"]
    for curve_ in (*curves, curves.mean(axis=0), np.array([0.0, 1.0]), np.full(4, 2.0)):
        assert any(line.shape == curve_.shape and np.allclose(line, curve_) for line in lines)
    assert [label.get_text() for label in side.get_xticklabels()] == ["test"]


def test_curves_that_were_judged_lined_up_are_drawn_lined_up() -> None:
    """The same rise, once two epochs late: apart as recorded, on each other once lined up."""
    rise = [0.0, 0.0, 0.2, 1.0, 1.5, 1.6, 1.6, 1.6]
    asked = experiment(curve({1: 0.0, 3: 0.2, 4: 1.0, 5: 1.5}, threshold=0.5), epochs=8)
    seeds = {0: trial(rise), 1: trial([0.0, 0.0, *rise[:6]])}
    every, lined_up = panels(verdict_on(asked, seeds))
    assert (every.title, lined_up.title) == ("Every epoch", "Early rows, lined up at take-off")
    axes = Figure().subplots()
    lined_up.draw(axes)
    early, late = (np.asarray(line.get_ydata(), float) for line in axes.lines[:2])
    both = ~np.isnan(early) & ~np.isnan(late)
    np.testing.assert_allclose(early[both], late[both], atol=1e-9)
    assert np.ptp(early[both]) > 1


@every_verdict
def test_every_panel_has_a_drawing_of_its_own_whose_colours_a_page_may_set(make: Make) -> None:
    verdict = make()
    drawn = drawings(verdict)
    assert [panel.title for panel, _ in drawn] == [panel.title for panel in panels(verdict)]
    for _, svg in drawn:
        shown = themed(svg)
        assert set(re.findall(r"#[0-9a-f]{6}\b", re.sub(r"var\([^)]*\)", "", shown))) == set()


def test_many_seeds_are_drawn_as_their_range() -> None:
    seeds = {seed: trial([0.0, float(seed)]) for seed in range(MOST_LINES + 1)}
    made = figure(verdict_on(experiment(curve({1: 0.0, 2: 1.0}), epochs=2), seeds))
    assert made is not None
    assert len(made.axes[0].lines) < MOST_LINES
    assert len(made.axes[0].collections) >= 1


def test_there_is_no_figure_of_nothing() -> None:
    asked = experiment(value(1.0, name="test"), epochs=2)
    assert figure(verdict_on(asked, {0: trial([0.0])}, epochs=1)) is None


def test_the_page_about_a_single_experiment_is_drawn_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The report and MLflow both have it."""
    drawn: list[int] = []
    monkeypatch.setattr("harness.report.pages.html", lambda about, _: drawn.append(1) or "page")
    verdict = studies.reproduced()
    reports = Reports.write([verdict], tmp_path)
    assert reports.pages([verdict])["report.html"] == reports.html.read_text() == "page"
    assert drawn == [1]


def test_no_page_is_kept_once_it_is_handed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A study of many experiments has a page for each of them, of a megabyte or so."""

    class Page(str):
        __slots__ = ("__weakref__",)

    kept: list[weakref.ref[Page]] = []

    def draw(about: Sequence[ExperimentVerdict], _: object) -> str:
        page = Page(about[0].id)
        kept.append(weakref.ref(page))
        return page

    monkeypatch.setattr("harness.report.pages.html", draw)
    some = [replace(studies.reproduced(), id=name) for name in ("one", "two")]
    reports = Reports.write(some, tmp_path)
    assert [reports.pages([verdict])["report.html"] for verdict in some] == ["one", "two"]
    gc.collect()
    assert [page() for page in kept] == [None] * 3
