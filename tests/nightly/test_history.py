"""Test which nights are kept, which are deleted, and which cannot be read."""

import re
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree

import pytest

from harness.compare import Standing
from harness.errors import Exit, StoreError
from harness.manifest import load
from harness.nightly import night_markdown
from harness.report import arrow_tables
from harness.session.runner import _limited, stop_on_signals
from harness.store import Store
from tests.nightly.simulation import LOST, NAN, REGISTRY, Outcome, Simulation, quarantine, state


@pytest.fixture(autouse=True)
def _undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """No figures here: the ten nights draw theirs."""
    monkeypatch.setattr("harness.session.night.Reports.write", lambda *_: None)


@pytest.fixture
def walk(tmp_path: Path) -> Simulation:
    return Simulation(tmp_path, ["walk"])


def test_old_nights_go_and_those_that_later_ones_need_stay(walk: Simulation) -> None:
    walk.keep = 2
    for day in range(1, 4):
        walk.night(day)
    for day in range(4, 8):
        walk.night(day, {"walk": Outcome(failures={0: NAN})})
    kept = [record.night[:10] for record in walk.history.nights()]
    assert kept == ["2026-01-01", "2026-01-03", "2026-01-06", "2026-01-07"]
    again = walk.night(8)
    assert again.last["walk"].night.startswith("2026-01-03")
    assert again.last["walk"].comparison.standing is Standing.UNCHANGED
    assert state(again, "walk") == ("recovered", Exit.AS_EXPECTED)


def test_a_night_that_was_cut_off_counts_for_nothing(walk: Simulation) -> None:
    walk.night(1)
    walk.history.begin(walk.experiments, datetime(2026, 1, 2, tzinfo=UTC))
    summary = walk.night(3)
    assert summary.last["walk"].night.startswith("2026-01-01")


def test_what_was_cut_off_goes_once_it_is_old(walk: Simulation) -> None:
    walk.keep = 2
    for day in (1, 3):
        walk.history.begin(walk.experiments, datetime(2026, 1, day, tzinfo=UTC))
        walk.night(day + 1)
    (walk.history.folder / "notes").mkdir()  # someone's own
    walk.night(6)
    folders = [path for path in walk.history.folder.iterdir() if path.is_dir()]
    kept = sorted(path.name[:10] for path in folders)
    # The second night is the first good one; what was cut off before the last two is gone.
    assert kept == ["2026-01-02", "2026-01-04", "2026-01-06", "notes"]


def test_a_verdict_by_another_manifest_says_so(walk: Simulation) -> None:
    walk.night(1)
    path = walk.experiments[0].path
    path.write_text(path.read_text().replace("value: 0.5,", "value: 0.0001,"))
    walk.experiments = load([path], REGISTRY)
    summary = walk.night(2)
    assert summary.record.code is Exit.INCONCLUSIVE  # the SD of these seeds is larger
    assert summary.last["walk"].comparison.standing is Standing.UNCHANGED
    assert "unchanged (2026-01-01, with another manifest)" in night_markdown(summary)


def test_a_quarantine_of_nothing_that_ran_is_said(walk: Simulation) -> None:
    walk.quarantines = (quarantine("wlak", 31),)
    assert "**wlak**: not one of tonight's experiments" in night_markdown(walk.night(1))


def test_a_night_begins_with_nothing_and_never_in_anothers_folder(walk: Simulation) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    opened = walk.history.begin(walk.experiments, now)
    assert list(Store(opened.folder).trials()) == []
    with pytest.raises(StoreError, match="exists"):
        walk.history.begin(walk.experiments, now)


def badge(walk: Simulation) -> tuple[str, str]:
    """What the badge of the last night says, and its colour."""
    root = ElementTree.parse(walk.history.badge).getroot()
    [colour] = [each.get("fill", "") for each in root if each.tag.endswith("rect")]
    return root.get("aria-label", ""), colour


def test_the_badge_says_how_the_last_night_went_and_when(walk: Simulation) -> None:
    walk.night(1)
    green = badge(walk)
    walk.night(2, {"walk": Outcome(failures={0: LOST})})
    undecided = badge(walk)
    walk.night(3, {"walk": Outcome(failures={0: NAN})})
    red = badge(walk)
    assert [words for words, _ in (green, undecided, red)] == [
        "night light: as expected, 2026-01-01",
        "night light: undecided, 2026-01-02",
        "night light: not as expected, 2026-01-03",
    ]
    assert len({colour for _, colour in (green, undecided, red)}) == 3


def test_each_night_is_a_dot_in_the_history_so_that_one_night_shows(walk: Simulation) -> None:
    """A line through one point draws nothing."""
    for day in (1, 2):
        walk.night(day)
        page = walk.history.page.read_text(encoding="utf-8")
        [dots] = re.findall(r'<path d="([^"]+)" [^>]*stroke-linecap="round"', page)
        assert re.fullmatch(r"M[\d.]+,-?[\d.]+h0( M[\d.]+,-?[\d.]+h0)*", dots)
        assert dots.count("h0") == day


def test_a_night_that_could_not_be_judged_renews_its_badge(
    walk: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    walk.night(1)
    monkeypatch.setattr("harness.session.night._judged", lambda *_: 1 / 0)
    walk.night(2)
    assert badge(walk)[0] == "night light: could not run, 2026-01-02"


@pytest.mark.parametrize("text", [b"", b"{}", b'{"format": 1'])
def test_a_damaged_record_is_named_and_not_passed_over(walk: Simulation, text: bytes) -> None:
    folder = walk.folder(walk.night(1))
    (folder / "night.json").write_bytes(text)
    with pytest.raises(StoreError, match=r"night\.json: not a night's record"):
        walk.history.nights()


def test_a_record_of_another_format_is_refused(walk: Simulation) -> None:
    record = walk.folder(walk.night(1)) / "night.json"
    record.write_text(record.read_text().replace('"format": 1', '"format": 2'))
    with pytest.raises(StoreError, match="format 2 is unknown"):
        walk.history.nights()


def test_an_exported_night_compares_as_unchanged_with_itself(walk: Simulation) -> None:
    folder = walk.folder(walk.night(1))
    exported = arrow_tables.read_trials(folder / "records.parquet")
    assert {seed for _, seed in exported} == set(range(5))


def test_a_failing_control_leaves_its_papers_others_open(tmp_path: Path) -> None:
    """Both walks are of one paper here; the control's failure is red, the other's is open."""
    walks = Simulation(tmp_path, ["control", "walk"], controls=["control"])
    papers = {"A paper made up for walk": "A paper", "A paper made up for control": "A paper"}
    walks.experiments = tuple(
        each.model_copy(
            update={
                "manifest": each.manifest.model_copy(
                    update={
                        "paper": each.manifest.paper.model_copy(
                            update={"title": papers[each.manifest.paper.title]}
                        )
                    }
                )
            }
        )
        for each in walks.experiments
    )
    summary = walks.night(1, {"control": Outcome(failures={0: NAN})})
    assert state(summary, "control") == ("failing", Exit.NOT_AS_EXPECTED)
    assert state(summary, "walk") == ("not judged yet", Exit.NOT_AS_EXPECTED)


def test_a_quarantine_excuses_the_science_and_not_the_machine(walk: Simulation) -> None:
    walk.quarantines = (quarantine("walk", 31),)
    assert state(walk.night(1, {"walk": Outcome(failures={0: NAN})}), "walk")[1] == 0
    assert state(walk.night(2, {"walk": Outcome(failures={0: LOST})}), "walk")[1] == 4
    both = {"walk": Outcome(failures={0: LOST, 1: NAN})}
    assert state(walk.night(3, both), "walk") == ("quarantined", Exit.INCOMPLETE)


def test_the_end_of_the_time_is_no_signal() -> None:
    with stop_on_signals() as stop, _limited(stop, 0.01 / 60):
        assert stop.wait(60)
    assert stop.exit_code is Exit.AS_EXPECTED


def test_without_a_limit_nothing_stops() -> None:
    with stop_on_signals() as stop, _limited(stop, None):
        assert not stop.is_set()
