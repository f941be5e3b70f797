"""Claims of the newer kinds in a manifest: what is read, and each fault by its place."""

from collections.abc import Callable

import pytest

from harness.manifest import Experiment
from harness.manifest.declaration import changes
from tests.manifest.conftest import SOUND

Read = Callable[..., Experiment]
FaultsOf = Callable[..., list[str]]

CELL = """  - name: test
    kind: sample
    metric: test_score
    source: table 2
    reported: {mean: 0.9, sd: 0.1, runs: 10, ddof: 0}
    tolerance: {value: 0.1, reason: a tenth}
    decimals: 1
"""


def with_claim(claim: str) -> str:
    """The sound manifest with this claim in place of its last."""
    head, _, rest = SOUND.partition("  - name: test\n")
    return head + claim + "expected:" + rest.partition("expected:")[2]


def test_a_sample_is_read_from_mean_and_sd_or_from_all_values(read: Read) -> None:
    summary = read(with_claim(CELL)).manifest.claims[-1]
    values = CELL.replace("{mean: 0.9, sd: 0.1, runs: 10, ddof: 0}", "{values: [0.8, 1, 0.9]}")
    listed = read(with_claim(values)).manifest.claims[-1]
    assert (summary.averaged, dict(summary.values)) == (10, {None: 0.9})
    assert (listed.averaged, listed.reported_sd) == (3, pytest.approx(0.1))


@pytest.mark.parametrize(
    ("there", "instead", "fault"),
    [
        (", ddof: 0", "", "reported.ddof: required"),
        ("ddof: 0", "ddof: 2", "reported.ddof: must be 0 or 1, got 2"),
        ("runs: 10", "runs: 1", "reported.runs: must be at least 2, got 1"),
        ("sd: 0.1", "sd: -0.1", "reported.sd: must not be negative, got -0.1"),
        ("sd: 0.1", "sd: 1e200", "reported.sd: must lie between -1e+150 and 1e+150"),
        ("sd: 0.1", "sd: 0.12", "reported: 0.12 has more decimals than the 1 of `decimals`"),
        ("sd: 0.1", "std: 0.1", "reported.std: unknown field; did you mean sd?"),
        ("{mean: 0.9, sd: 0.1, runs: 10, ddof: 0}", "{values: [1]}", "at least 2 wanted"),
        ("{mean: 0.9, sd: 0.1, runs: 10, ddof: 0}", "0.9", "reported: must be a mapping"),
        ("metric: test_score", "metric: score", "a claim of kind sample needs one number"),
        ("{value: 0.1, r", "{value: 0.01, r", "more than the tolerance 0.01"),
    ],
)
def test_each_fault_of_a_sample_is_named_at_its_place(
    faults_of: FaultsOf, there: str, instead: str, fault: str
) -> None:
    faults = faults_of(with_claim(CELL.replace(there, instead, 1)))
    assert any("claims[2]" in found and fault in found for found in faults), faults


ONE_NUMBER = """  - name: test
    kind: KIND
    metric: METRIC
    source: table 2
    reported: 0.9
"""
TOLERANCE = "    tolerance: {value: 0.1, reason: a tenth}\n"
EXTREME = TOLERANCE + "    which: highest\n    runs: 10\n"


def claim(kind: str, more: str, metric: str = "test_score") -> str:
    return with_claim(ONE_NUMBER.replace("KIND", kind).replace("METRIC", metric) + more)


@pytest.mark.parametrize(
    ("kind", "more", "metric"),
    [
        ("at_least", TOLERANCE, "test_score"),
        ("at_most", TOLERANCE + "    reduce: max\n", "score"),
        ("extreme", EXTREME, "test_score"),
        ("extreme", EXTREME + "    reduce: last\n", "score"),
        ("never", "", "test_score"),
        ("never", "    every: true\n    runs: 10\n", "score"),
        ("value", TOLERANCE.replace("value:", "relative:") + "    reduce: mean\n", "score"),
    ],
)
def test_claims_about_one_number_are_read(read: Read, kind: str, more: str, metric: str) -> None:
    assert read(claim(kind, more, metric)).manifest.claims[-1].kind == kind


def test_a_relative_tolerance_is_a_share_of_each_reported_value(read: Read) -> None:
    relative = "{relative: 0.1, reason: a tenth}"
    text = SOUND.replace("{value: 0.1, reason: a tenth of a point}", relative, 1)
    rows = read(text).manifest.claims[0]
    assert [number.tolerance for number in rows.numbers()] == pytest.approx([0.05, 0.1])
    assert rows.margin == 0.1


@pytest.mark.parametrize(
    ("kind", "more", "metric", "fault"),
    [
        ("at_least", "", "test_score", "tolerance: required"),
        ("extreme", TOLERANCE, "test_score", "which: required"),
        ("never", "", "score", "score is recorded every epoch; a claim of kind never needs one"),
        ("never", "    every: true\n", "test_score", "test_score is estimated once, at the end"),
        ("value", TOLERANCE + "    reduce: best\n", "score", "must be max or min or last or mean"),
        ("value", TOLERANCE + "    reduce: max\n", "test_score", "there is nothing to reduce"),
    ],
)
def test_each_fault_of_claims_about_one_number_is_named(
    faults_of: FaultsOf, kind: str, more: str, metric: str, fault: str
) -> None:
    faults = faults_of(claim(kind, more, metric))
    assert any("claims[2]" in found and fault in found for found in faults), faults


def test_a_tolerance_relative_to_zero_is_refused(faults_of: FaultsOf) -> None:
    text = claim("value", TOLERANCE.replace("value:", "relative:")).replace(": 0.9", ": 0.0", 1)
    assert any("relative to 0 allows nothing" in fault for fault in faults_of(text))


def test_a_changed_sample_is_named_as_a_whole(read: Read) -> None:
    then = read(with_claim(CELL)).manifest
    now = read(with_claim(CELL.replace("mean: 0.9", "mean: 0.8"))).manifest
    (change,) = changes(then, now)
    assert "reported" in change
    assert "0.8" in change
