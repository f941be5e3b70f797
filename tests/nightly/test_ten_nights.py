"""Ten nights in a row: a version bump, an outage, NaNs, a quarantine that expires, a slow drift."""

from pathlib import Path
from xml.etree import ElementTree

import pytest

from harness.compare import Standing
from harness.errors import Exit
from harness.nightly import NightSummary, night_markdown
from harness.session.night import Trouble
from tests.nightly.simulation import LOST, NAN, Outcome, Simulation, quarantine, state

BUMPED, BROKEN, DRIFTING = "bumped", "broken", "drifting"
STEP = 0.003
"""Of each night's drift: below its noise, so that no night stands out from the one before."""


@pytest.fixture(scope="module")
def nights(tmp_path_factory: pytest.TempPathFactory) -> tuple[Simulation, list[NightSummary]]:
    with pytest.MonkeyPatch.context() as patch:
        from harness import workloads  # noqa: PLC0415 - patched for the module, as in conftest
        from tests.nightly.simulation import REGISTRY  # noqa: PLC0415

        patch.setattr(workloads, "registry", lambda: REGISTRY)
        simulation = Simulation(tmp_path_factory.mktemp("ten"), [BUMPED, BROKEN, DRIFTING])
        return simulation, list(_ten(simulation))


def _ten(simulation: Simulation) -> list[NightSummary]:
    """Each night as it comes out for the three walks."""
    summaries = []
    for day in range(1, 11):
        bumped = Outcome() if day < 3 else Outcome(shift=0.05, noise=3, torch="2.2")
        broken = Outcome()
        if day == 4:
            broken = Outcome(failures=dict.fromkeys(range(5), LOST))
        if 5 <= day <= 9:
            broken = Outcome(failures={2: NAN})
        drifting = Outcome(shift=STEP * day, noise=day)
        # From the eighth night on the broken walk is in quarantine, which holds for that night.
        simulation.quarantines = (quarantine(BROKEN, 8),) if day >= 8 else ()
        summaries.append(
            simulation.night(
                day,
                {BUMPED: bumped, BROKEN: broken, DRIFTING: drifting},
                trouble=Trouble("no Ray cluster", Exit.INCOMPLETE) if day == 4 else None,
            )
        )
    return summaries


Nights = tuple[Simulation, list[NightSummary]]

EXPECTED = [
    ("passing", Exit.AS_EXPECTED),
    ("passing", Exit.AS_EXPECTED),
    ("passing", Exit.AS_EXPECTED),
    ("passing", Exit.INCOMPLETE),
    ("failing", Exit.NOT_AS_EXPECTED),
    ("failing", Exit.NOT_AS_EXPECTED),
    ("consistently failing", Exit.NOT_AS_EXPECTED),
    ("quarantined", Exit.AS_EXPECTED),
    ("consistently failing", Exit.NOT_AS_EXPECTED),
    ("recovered", Exit.AS_EXPECTED),
]


@pytest.mark.parametrize("day", range(1, 11))
def test_states_and_exit_codes_follow_the_verdicts(nights: Nights, day: int) -> None:
    assert state(nights[1][day - 1], BROKEN) == EXPECTED[day - 1]


def test_what_keeps_passing_is_never_said_to_fail(nights: Nights) -> None:
    for summary in nights[1]:
        assert {state(summary, name)[0] for name in (BUMPED, DRIFTING)} == {"passing"}


def test_a_version_bump_that_moves_results_within_tolerance_is_told(nights: Nights) -> None:
    summary = nights[1][2]
    since = summary.last[BUMPED]
    assert since.night.startswith("2026-01-02")
    assert since.comparison.standing is Standing.MOVED
    assert "still within tolerance" in night_markdown(summary)
    assert "torch 2.1 → 2.2" in night_markdown(summary)


def test_the_history_shows_each_night_s_estimate_and_the_night_of_a_bump(nights: Nights) -> None:
    simulation, summaries = nights
    page = simulation.history.page.read_text(encoding="utf-8")
    section = page.partition(f"<h2>{BUMPED}</h2>")[2].partition("<h2>")[0]
    rows = [line for line in section.splitlines() if line.startswith("<tr><th")]
    assert len(rows) == len(simulation.history.nights())
    (bump,) = (row for row in rows if "→" in row)
    assert summaries[2].record.night in bump
    assert "torch 2.1 → 2.2" in bump
    for summary in summaries:
        entry = summary.record.experiments[BUMPED]
        (row,) = (row for row in rows if summary.record.night in row)
        assert f">{entry.measured:.4f}</td>" in row
    points = section.partition('points="')[2].partition('"')[0].split()
    assert len(points) == len(rows)


def test_equal_nights_are_unchanged_and_not_tested(nights: Nights) -> None:
    for day in (2, *range(4, 11)):
        found = nights[1][day - 1].last[BUMPED].comparison
        assert found.standing is Standing.UNCHANGED
        assert not found.changes


def test_a_drift_too_slow_for_one_night_shows_against_the_first(nights: Nights) -> None:
    last = [summary.last[DRIFTING].comparison.standing for summary in nights[1][1:]]
    assert Standing.MOVED not in last
    assert nights[1][1].first[DRIFTING].comparison.standing is Standing.NOT_SHOWN
    assert nights[1][9].first[DRIFTING].comparison.standing is Standing.MOVED
    assert "**drifting**, over all nights since 2026-01-01" in night_markdown(nights[1][9])


def test_an_outage_is_no_failure_and_is_compared_with_nothing(nights: Nights) -> None:
    summary = nights[1][3]
    page = night_markdown(summary)
    assert "no Ray cluster" in page
    assert "Not as expected" not in page
    assert "red" not in page.splitlines()[0]
    assert summary.last[BROKEN].comparison.standing is Standing.NOTHING


def test_failing_nights_are_no_base_for_later_ones(nights: Nights) -> None:
    """After the outage and the NaNs, the last good night is still the third."""
    for summary in nights[1][4:10]:
        assert summary.last[BROKEN].night.startswith("2026-01-03")


def test_the_failing_seed_is_named_in_the_morning(nights: Nights) -> None:
    page = night_markdown(nights[1][4])
    assert page.startswith("# Night light of 2026-01-05T020000Z: 🔴 red")
    assert "seed 2 failed" in page
    assert "place is NaN" in page


def test_an_expired_quarantine_is_said_and_counts_no_more(nights: Nights) -> None:
    assert "until 2026-01-08, A. Nother: known" in night_markdown(nights[1][7])
    assert "expired on 2026-01-08" in night_markdown(nights[1][8])


def test_junit_fails_exactly_on_red_nights(nights: Nights) -> None:
    simulation, summaries = nights
    for summary in summaries:
        document = ElementTree.parse(simulation.folder(summary) / "junit.xml")
        assert bool(document.findall(".//failure")) == (summary.record.code is Exit.NOT_AS_EXPECTED)
        assert bool(document.findall(".//error")) == (summary.record.code is Exit.INCOMPLETE)


def test_every_night_keeps_what_it_found(nights: Nights) -> None:
    simulation, summaries = nights
    kept = (
        "night.json",
        "manifests/broken.yaml",
        "records.parquet",
        "environment.json",
        "verdicts.json",
        "comparison.json",
        "junit.xml",
        "summary.md",
        "report/report.md",
    )
    for summary in summaries:
        folder: Path = simulation.folder(summary)
        assert [name for name in kept if not (folder / name).is_file()] == []
