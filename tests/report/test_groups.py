"""Seeds that take off and seeds that never do: no mean, SD or difference is drawn over both."""

import re

import numpy as np
import pytest

from harness.report import figures, interactive
from harness.report.pages import html, verdicts_markdown
from harness.report.text import claim_lines, group_means, seed_groups
from harness.verdict import ExperimentVerdict
from tests.report import studies
from tests.verdict.builders import curve, experiment, onset, trial, value, verdict_on

RISE = [0.0, 0.3, 1.0, 2.0, 3.0]


@pytest.fixture(scope="module")
def two_groups() -> ExperimentVerdict:
    """Four seeds that rise, two that stay at zero."""
    claims = (curve({2: 0.3, 5: 3.0}, threshold=0.5), onset(2.3, 0.5), value(3.0, name="test"))
    seeds = {seed: trial([v + 0.01 * seed for v in RISE], test=3.0) for seed in range(4)}
    seeds |= {seed: trial([0.0] * 5, test=0.0) for seed in (4, 5)}
    return verdict_on(experiment(*claims, id="two", epochs=5), seeds)


def test_seeds_that_never_take_off_are_a_group_of_their_own(two_groups: ExperimentVerdict) -> None:
    names = [group.name for group in seed_groups(two_groups)]
    assert names == ["seeds 0-3 took off", "seeds 4-5 never took off"]
    assert [group.name for group in seed_groups(studies.reproduced())] == ["all seeds"]


def test_no_curve_is_a_mean_over_both_groups(two_groups: ExperimentVerdict) -> None:
    (axes, *_) = figures.figure(two_groups).subfigs[0].axes  # type: ignore[union-attr]
    over_both = two_groups.evidence.curves["mi_bits"].mean(axis=0)
    for line in axes.get_lines():
        drawn = np.asarray(line.get_ydata(), float)
        assert drawn.shape != over_both.shape or not np.allclose(drawn, over_both)
    labels = axes.get_legend_handles_labels()[1]
    assert {"mean: seeds 0-3 took off", "mean: seeds 4-5 never took off"} <= set(labels)
    assert f'"{"mean: seeds 0-3 took off"}"' in interactive.curves(two_groups)


def test_pages_and_overview_give_each_group_its_own_mean(two_groups: ExperimentVerdict) -> None:
    (test,) = (row for row in two_groups.results if row.name == "test")
    means = group_means(test, seed_groups(two_groups))
    assert means == "3.0000 ± 0.0000 (seeds 0-3), 0.0000 ± 0.0000 (seeds 4-5)"
    assert means in html([two_groups])
    assert means in verdicts_markdown([two_groups])
    assert f"{test.measured:.4f} ±" not in verdicts_markdown([two_groups])
    (line,) = (line for line in claim_lines(two_groups) if line.name == "test")
    assert list(line.groups) == ["seeds 0-3", "seeds 4-5"]
    assert line.groups["seeds 0-3"] == pytest.approx(0)


def test_the_overview_has_a_line_for_each_claim_and_the_paper_s_runs_first() -> None:
    verdicts = [make() for make in studies.ALL]
    drawn = figures.overview_figure(verdicts)
    assert drawn is not None
    (axes,) = drawn.axes
    lines = [line for verdict in verdicts for line in claim_lines(verdict)]
    assert len(axes.get_yticks()) == len(lines)
    low, high = axes.get_ylim()
    assert low > high  # the first is on top
    assert figures.overview_figure([]) is None
    narrow = figures.overview_figure(verdicts, narrow=True)
    assert narrow is not None
    words = [text.get_text() for text in narrow.axes[0].texts]
    assert {line.name for line in lines} <= set(words)


def test_rounding_does_not_look_like_a_difference() -> None:
    """A value that is equal to six digits, and a control within its tolerance, are flat lines."""
    assert figures.at_least_visible(2.0, 2.000001) == pytest.approx((1.9, 2.1), abs=1e-5)
    assert figures.at_least_visible(0.0, 4.0) == (0.0, 4.0)
    assert figures.at_least_visible(0.0, 0.0) == (-0.5, 0.5)
    asked = experiment(curve({1: 2.0, 3: 2.0}, tolerance=0.1), id="equal", epochs=3)
    equal = verdict_on(asked, {seed: trial([2.0, 2.0, 2.0 + 1e-7 * seed]) for seed in range(2)})
    drawn = interactive.thumbnail(interactive.curves(equal))
    heights = re.findall(r",([\d.]+)", " ".join(re.findall('points="([^"]*)"', drawn)))
    assert set(heights) == {"10.0"}
    assert interactive.thumbnail("") == ""
    assert drawn in html([equal])
