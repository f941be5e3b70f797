"""No change of a manifest after its records were made goes unnamed or makes a verdict better."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from harness import workloads
from harness.errors import Exit, ManifestError, StoreError
from harness.manifest import load
from harness.plan import Selection
from harness.record import Declaration
from harness.session import CommittedUse, Session
from harness.store import Archive, Store
from harness.verdict import ExperimentVerdict, Outcome, exit_code

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
NAME = "image-pair-4"
SINCE = "changed since the records were made"
LAST = ", 50: 1.9223"
LIMIT = """    largest_spread:
      value: 0.06
      reason: >-
        The tolerance. If single runs scattered by more, the listing's one run could lie farther off
        than matters by chance alone.
"""
LATE = "tolerance:\n      value: 0.06"
REGISTERED = "registered: {rows: [20, 50]"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "records").mkdir()
    shutil.copy(EXPERIMENTS / f"{NAME}.yaml", tmp_path)
    shutil.copy(EXPERIMENTS / "records" / f"{NAME}.jsonl", tmp_path / "records")
    return tmp_path


def judged(folder: Path, *edits: tuple[str, str], asked: Selection | None = None):
    file = folder / f"{NAME}.yaml"
    text = file.read_text()
    for before, after in edits:
        assert text.count(before) == 1, before
        text = text.replace(before, after)
    file.write_text(text)
    experiments = load([file], workloads.registry())
    store = Store(folder / "nothing")
    (found,) = Session(experiments, asked or Selection(), store, CommittedUse.ALWAYS).verdicts()
    return found


def rows(verdict: ExperimentVerdict) -> dict[str, tuple[Outcome, str]]:
    return {row.name: (row.verdict, row.note) for row in verdict.results}


GAMING = {
    "limit dropped": ([(LIMIT, "")], f"largest_spread of late rows {SINCE}: 0.06 → none"),
    "limit raised": (
        [("largest_spread:\n      value: 0.06", "largest_spread:\n      value: 0.07")],
        f"largest_spread of late rows {SINCE}: 0.06 → 0.07",
    ),
    "row dropped": (
        [(LAST, ""), (REGISTERED, "registered: {rows: [20, 40]")],
        f"reported row 50 of late rows {SINCE}: 1.9223 → none",
    ),
    "seeds dropped": ([("seeds: 0-9", "seeds: 0-7")], f"seeds {SINCE}: 0-9 → 0-7"),
    "tolerance raised": (
        [(f"    {LATE}", "    tolerance:\n      value: 0.12")],
        f"tolerance of late rows {SINCE}: 0.06 → 0.12",
    ),
    "other metric": (
        [("metric: test_mi_floor_bits", "metric: test_mi_bits")],
        f"metric of test estimate {SINCE}: test_mi_floor_bits → test_mi_bits",
    ),
    "other reported value": (
        [("50: 1.9223", "50: 1.9360")],
        f"reported row 50 of late rows {SINCE}: 1.9223 → 1.936",
    ),
    "fewer decimals": (
        [("reported: 2.0831\n    decimals: 4", "reported: 2.1\n    decimals: 1")],
        f"decimals of test estimate {SINCE}: 4 → 1",
    ),
    "other registered rows": (
        [(REGISTERED, "registered: {rows: [30, 40]")],
        f"registered of late rows {SINCE}: [20,50] → [30,40]",
    ),
    "renamed": (
        [("name: late rows", "name: last rows")],
        "claim late rows was renamed last rows since the records were made",
    ),
    "other kind": (
        [("name: late rows\n    kind: value", "name: late rows\n    kind: curve")],
        f"kind of late rows {SINCE}: value → curve",
    ),
    "fewer epochs": (
        [(LAST, ""), (REGISTERED, "registered: {rows: [20, 40]"), (", 50: 1.9991", ""),
         ("epochs: {value: 50", "epochs: {value: 40")],
        f"epochs {SINCE}: 50 → 40",
    ),
    "paper averages runs": (
        [("50: 1.9223}\n", "50: 1.9223}\n    runs: 4\n")],
        f"runs of late rows {SINCE}: 1 → 4",
    ),
}  # fmt: skip


@pytest.mark.parametrize("move", GAMING)
def test_every_change_is_named_and_none_makes_the_verdict_better(folder: Path, move: str) -> None:
    before = judged(folder)
    edits, note = GAMING[move]
    after = judged(folder, *edits)
    assert note in after.notes
    assert after.verdict.severity >= before.verdict.severity
    assert exit_code([after]) is not Exit.AS_EXPECTED or before.verdict.holds
    assert after.seeds == before.seeds
    worse = {row.key: row.verdict.severity for row in after.results}
    names = {row.claim for row in after.results}
    for row in before.results:
        assert row.claim not in names or worse[row.key] >= row.verdict.severity


def test_nothing_changed_is_no_note(folder: Path) -> None:
    assert not any("since the records were made" in note for note in judged(folder).notes)


def test_a_reason_may_be_reworded(folder: Path) -> None:
    found = judged(folder, ("3 % of log2(4). These rows", "Three in a hundred. These rows"))
    assert not any("since the records were made" in note for note in found.notes)


def test_a_row_that_is_gone_is_judged_as_it_was_declared(folder: Path) -> None:
    found = judged(folder, *GAMING["row dropped"][0])
    assert rows(found)["late rows @ 50"][1].startswith("judged as declared with the records")


def test_a_stricter_manifest_is_judged_by_itself(folder: Path) -> None:
    found = judged(folder, (f"    {LATE}", "    tolerance:\n      value: 0.03"))
    outcome, note = rows(found)["late rows @ 30"]
    assert not outcome.holds
    assert "as declared" not in note


def test_committed_records_say_where_their_declaration_comes_from(folder: Path) -> None:
    declared = Archive(folder / "records").kept(NAME).declared
    assert declared.judged is not None
    assert declared.judged["seeds"] == list(range(10))
    assert declared.origin.startswith("the manifest in commit ")
    assert declared.digest == judged(folder).declared


def test_seeds_that_are_stored_and_not_judged_are_named(folder: Path) -> None:
    found = judged(folder, asked=Selection(seeds=(0, 1, 2, 4)))
    assert "seeds 3,5-9 stored and not judged" in found.notes


def test_more_seeds_than_declared_are_named_and_no_fault(folder: Path) -> None:
    assert f"seeds {SINCE}: 0-9 → 0-19" in judged(folder, ("seeds: 0-9", "seeds: 0-19")).notes


def test_decimals_are_checked_against_the_printed_digits(folder: Path) -> None:
    edit = ("reported: 2.0831\n    decimals: 4", "reported: 2.0000\n    decimals: 2")
    with pytest.raises(ManifestError, match="printed with 4 decimals, got 2"):
        judged(folder, edit)


def test_a_declaration_that_cannot_be_read_names_file_and_place(folder: Path) -> None:
    archive = Archive(folder / "records")
    kept = archive.kept(NAME)
    assert kept.declared.judged is not None
    broken = {**kept.declared.judged, "seeds": [-1]}
    archive.write(NAME, replace(kept, declared=replace(kept.declared, judged=broken)))
    with pytest.raises(StoreError, match=r"image-pair-4\.jsonl: what was declared cannot be read"):
        judged(folder)


def test_records_with_which_nothing_was_declared_say_so(folder: Path) -> None:
    archive = Archive(folder / "records")
    archive.write(NAME, replace(archive.kept(NAME), declared=Declaration()))
    assert any("nothing was declared with these records" in note for note in judged(folder).notes)
