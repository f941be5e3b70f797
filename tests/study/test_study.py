"""Which verdicts hinge on what."""

import io
import json
import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import to_rgb
from matplotlib.image import imread
from rich.cells import cell_len
from rich.console import Console

from harness.manifest import Experiment
from harness.record import StoredTrial
from harness.report import figures, study_page
from harness.report.documents import study_document
from harness.report.study_page import study_markdown, tables
from harness.study import Hinge, Study, claim_outcome
from harness.study.sensitivity import _hinge, named, sentences
from harness.verdict import Outcome
from tests.colours import contrast
from tests.study.conftest import Make, walked

RAN = [outcome for outcome in Outcome if outcome is not Outcome.NOT_RUN]


def shown(study: Study, width: int = 120) -> str:
    console = Console(file=io.StringIO(), width=width)
    for table in tables(study):
        console.print(table)
    return console.file.getvalue()  # type: ignore[attr-defined]


@given(st.lists(st.sampled_from(RAN), min_size=1))
def test_a_verdict_hinges_where_it_holds_with_one_value_and_fails_with_another(
    outcomes: list[Outcome],
) -> None:
    parted = any(o.holds for o in outcomes) and Outcome.NOT_REPRODUCED in outcomes
    assert (_hinge(outcomes) is Hinge.YES) == parted


def test_no_width_cuts_a_verdict(studied: Make) -> None:
    study = studied("scale=2.0,1.02", "metric of end=other_end")
    for width in range(40, 201):
        text = shown(study, width)
        assert max(map(cell_len, text.splitlines())) <= width
        for outcome in {result.verdict.verdict for result in study.results}:
            assert text.count(outcome) >= sum(
                result.verdict.verdict is outcome for result in study.results
            )


@given(st.lists(st.sampled_from(list(Outcome)), min_size=1), st.randoms())
def test_the_order_of_the_values_does_not_matter(outcomes: list[Outcome], luck: object) -> None:
    other = list(outcomes)
    luck.shuffle(other)  # type: ignore[attr-defined]
    assert _hinge(outcomes) is _hinge(other)


@given(st.lists(st.sampled_from(RAN), min_size=1))
def test_what_is_undecided_is_never_said_not_to_matter(outcomes: list[Outcome]) -> None:
    if any(outcome.undecided for outcome in outcomes):
        assert _hinge(outcomes) is not Hinge.NO


def test_each_claim_hinges_on_what_moves_it(studied: Make) -> None:
    study = studied("scale=2.0,1.02", "metric of end=other_end", "at=5")
    scale, metric, at = study.factors
    assert study.hinge(scale) is study.hinge(metric) is Hinge.YES
    assert study.hinge(at) is Hinge.NO
    hinges = {name: (study.hinge(scale, name), study.hinge(metric, name)) for name in study.claims}
    assert hinges == {
        "first rows": (Hinge.YES, Hinge.NO),
        "last row": (Hinge.YES, Hinge.NO),
        "end": (Hinge.YES, Hinge.YES),
    }


def test_in_a_grid_one_pair_that_differs_in_nothing_else_is_enough(studied: Make) -> None:
    """With the scale that fails already, the metric parts nothing; with the other it does."""
    study = studied("scale=2.0", "metric of end=other_end", grid=True)
    assert [study.hinge(factor) for factor in study.factors] == [Hinge.YES, Hinge.YES]
    assert all(len(group) == 2 for factor in study.factors for group in study.groups(factor))


def test_a_variant_with_trials_missing_leaves_it_open(studied: Make) -> None:
    def find(experiment: Experiment, seed: int) -> StoredTrial | None:
        return walked(experiment, seed) if not experiment.varied or seed else None

    study = studied("at=5", find=find)
    assert study.incomplete
    assert study.hinge(study.factors[0]) is Hinge.OPEN


def test_the_nearest_variant_is_the_one_whose_farthest_row_is_least_far_off(
    studied: Make,
) -> None:
    def find(experiment: Experiment, seed: int) -> StoredTrial:
        found = walked(experiment, seed)
        broken = replace(found.finals[3], metrics={"end": 9.0, "other_end": 9.0})
        return replace(found, finals={3: broken})

    study = studied("scale=2.0,1.1", find=find)
    assert not study.reproduced()
    assert study.nearest().variant.settings == (1.0,)
    said = "Nearest: the manifest's own values; row end is 6.0 tolerances off."
    assert any(said in sentence for sentence in sentences(study))


def test_numbers_stand_as_they_rise_whatever_their_order(studied: Make) -> None:
    study = studied("scale=4,0.5,2")
    (group,) = study.groups(study.factors[0])
    assert [result.variant.settings[0] for result in group] == [0.5, 1.0, 2.0, 4.0]


def test_the_document_is_strict_json_and_says_what_the_study_says(studied: Make) -> None:
    study = studied("scale=2.0", "metric of end=other_end")
    found = json.loads(study_document(study).text())
    assert [item["hinges"] for item in found["factors"]] == ["yes", "yes"]
    assert found["factors"][0]["basis"] == "assumed"
    for item, result in zip(found["variants"], study.results, strict=True):
        assert item["id"] == result.variant.experiment.id
        assert item["verdict"] == result.verdict.verdict
        for name, outcome in item["claims"].items():
            assert outcome == claim_outcome(result.verdict, name)


Page = Callable[[Study], str]


@pytest.mark.parametrize("page", [shown, study_markdown])
@pytest.mark.parametrize("grid", [False, True])
def test_pages_show_every_claim_beside_every_value(studied: Make, page: Page, grid: bool) -> None:
    study = studied("scale=2.0,1.1", "at=5", grid=grid)
    text = page(study)
    for name in ("the experiment", *study.claims):
        assert len(re.findall(rf"^\W*{name}\b", text, re.MULTILINE)) >= 1 + len(study.factors)
    assert "NOT REPRODUCED" in text
    assert "1.0 \\*" in text or "1.0 *" in text


def test_the_page_is_one_table_a_heading_and_breaks_no_row(studied: Make) -> None:
    text = study_markdown(studied("scale=2.0", "fault=a|b"), "study.png")
    for line in text.splitlines():
        if line.startswith("|"):
            assert line.endswith("|")
    assert "a\\|b" in text
    assert "![" in text
    assert "exploratory" in text


def test_brackets_in_words_are_shown_as_they_are(studied: Make) -> None:
    assert "[b]x" in shown(studied('fault="[b]x"'))


def test_a_narrow_terminal_cuts_no_outcome_short(studied: Make) -> None:
    text = shown(studied("scale=2.0,3.0"), width=80)
    assert "NOT REPRODUCED" in text
    assert "…" not in text


@pytest.mark.parametrize("grid", [False, True])
def test_the_figure_draws_every_variant_and_the_paper(studied: Make, grid: bool) -> None:
    study = studied("scale=2.0,1.1", "metric of end=other_end", grid=grid)
    made = study_page.study_figure(study)
    assert made is not None
    panels = [axes for axes in made.get_axes() if axes.get_xlabel() == "epoch"]
    assert len(panels) == 2
    for axes in panels:
        labels = axes.get_legend_handles_labels()[1]
        assert "reported" in labels
        assert any("(the manifest's)" in label for label in labels)
    assert np.ptp(imread(io.BytesIO(figures.image(made, "png"))), axis=(0, 1)).any()


def test_the_curves_of_twelve_variants_differ_and_all_show_on_paper() -> None:
    """WCAG asks for a contrast of 3:1 with the ground of what a figure draws."""
    styles = [study_page._style(number) for number in range(12)]
    assert len({(style["color"], style["linestyle"]) for style in styles}) == 12
    styles += study_page.SEARCH_STYLES.values()
    colours = {style["color"] for style in styles}
    assert min(contrast(to_rgb(colour), (1.0, 1.0, 1.0)) for colour in colours) >= 3


def test_nothing_recorded_is_nothing_to_draw(studied: Make) -> None:
    assert study_page.study_figure(studied("scale=2.0", find=lambda *_: None)) is None


def test_variants_are_named_by_what_they_change(studied: Make) -> None:
    study = studied("scale=2.0", "at=5", grid=True)
    assert [named(study, result) for result in study.results] == [
        "the manifest's own values",
        "at = 5",
        "scale = 2.0",
        "scale = 2.0, at = 5",
    ]
