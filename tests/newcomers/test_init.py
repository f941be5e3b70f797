"""A draft manifest: the paper's numbers as typed, and every blank named until it is filled."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from harness.cli import app
from harness.errors import HarnessError, ManifestError, UsageError
from harness.manifest import load
from harness.manifest.draft import Reported, draft, read_table
from harness.workloads.command import command
from tests.toy import Toy

REGISTRY = {"toy": Toy()}
ROWS = [Reported("place", 1, "0.50"), Reported("place", 3, "1.2500"), Reported("end", None, "2.5")]
FILLED = {
    "title:": "title: A walk",
    "  title:": "  title: On walks",
    "author:": "author: somebody",
    "listing:": "listing: the only one",
    "command:": "command: ./walk",
    "source:": "source: the listing",
    "{value: , reason: }": "{value: 0.5, reason: made up}",
    "scale: {value: , stated: }": "scale: {value: 1.0, stated: so}",
    "sleep_s: {value: , stated: }": "sleep_s: {value: 0.0, stated: so}",
    "fault: {value: , stated: }": 'fault: {value: "", stated: so}',
    "at: {value: , stated: }": "at: {value: 0, stated: so}",
    "marker: {value: , stated: }": 'marker: {value: "", stated: so}',
}


def faults(text: str, folder: Path) -> list[str]:
    path = folder / "walk.yaml"
    path.write_text(text)
    with pytest.raises(ManifestError) as caught:
        load([path], REGISTRY)
    return [f"{fault.field}: {fault.message}" for fault in caught.value.faults]


def test_every_blank_is_named_in_plain_words(tmp_path: Path) -> None:
    found = faults(draft(ROWS, Toy()), tmp_path)
    for field in ("title", "paper.title", "paper.author", "paper.listing", "paper.command"):
        assert f"{field}: left blank: must be text" in found
    for name in ("scale", "sleep_s", "at"):
        blank = [fault for fault in found if fault.startswith(f"workload.parameters.{name}.value")]
        assert len(blank) == 1
        assert "left blank" in blank[0]
        said = "say one of stated, inferred or assumed, got none"
        assert f"workload.parameters.{name}: {said}" in found
    assert "claims[0].tolerance.value: left blank: must be a number" in found
    assert "claims[1].tolerance.reason: left blank: must be text" in found
    assert not [fault for fault in found if "reported" in fault or "metric" in fault]


def test_a_blank_unit_is_named_on_its_own_line_in_the_first_round(tmp_path: Path) -> None:
    """Also once the workload is filled in, as long as nothing else says the unit."""
    path = tmp_path / "walk.yaml"
    text = draft(ROWS, command)
    filled = text.replace("argv:", "argv: [./walk, '{seed}']")
    for draft_ in (text, filled):
        path.write_text(draft_)
        with pytest.raises(ManifestError) as caught:
            load([path], {"command": command})
        (fault,) = (fault for fault in caught.value.faults if fault.field == "unit")
        assert fault.message.startswith("left blank: must be text")
        assert draft_.splitlines()[fault.line - 1].startswith("unit:")
        assert not [each for each in caught.value.faults if each.field.endswith("].unit")]
    assert not [each for each in faults(draft(ROWS, Toy()), tmp_path) if each.startswith("unit")]


def test_a_draft_offers_the_kinds_that_may_stand_under_claims() -> None:
    text = draft(ROWS, None)
    (line, *_) = (line for line in text.splitlines() if "kind: value" in line)
    offered = line.partition("# or ")[2].split(", ")
    assert offered == [
        *("curve", "band", "onset", "exact", "sample"),
        *("at_least", "at_most", "extreme", "never"),
    ]


def test_a_draft_says_how_many_decimals_are_printed() -> None:
    rows = [Reported("place", 1, "0.5"), Reported("place", 2, "1.250"), Reported("end", None, "3")]
    claims = yaml.safe_load(draft(rows, None))["claims"]
    assert [claim["decimals"] for claim in claims] == [3, 0]


def test_without_a_workload_its_name_is_one_more_blank(tmp_path: Path) -> None:
    found = faults(draft(ROWS, None), tmp_path)
    assert "workload.name: left blank: must be text" in found


def test_a_draft_with_its_blanks_filled_is_sound(tmp_path: Path) -> None:
    text = draft(ROWS, Toy())
    for line in text.splitlines():
        bare = line.split("  #")[0].rstrip()
        for blank, filled in FILLED.items():
            if bare == blank or (bare.strip() == blank and blank[0] != " "):
                text = text.replace(line, bare.replace(blank.strip(), filled.strip()), 1)
            elif "{" in blank and bare.endswith(blank):
                text = text.replace(line, bare.replace(blank, filled), 1)
    path = tmp_path / "walk.yaml"
    path.write_text(text)
    (walk,) = load([path], REGISTRY)
    assert walk.manifest.unit == "steps"
    assert walk.manifest.epochs.value == 3
    assert [claim.reported for claim in walk.manifest.claims] == [{1: 0.5, 3: 1.25}, 2.5]


names = st.text("abcxyz_:#'\" 0123", min_size=1).map(str.strip).filter(bool)
numbers = st.decimals(-100, 100, places=4).map(str)


@given(st.dictionaries(st.tuples(names, st.none() | st.integers(1, 9)), numbers, min_size=1))
def test_any_table_becomes_a_manifest_that_can_be_read(
    table: dict[tuple[str, int | None], str],
) -> None:
    """Whatever the names are: digits as printed, each in the claim of its metric."""
    rows = [Reported(metric, epoch, text) for (metric, epoch), text in table.items()]
    claims = yaml.safe_load(draft(rows, None))["claims"]
    found = {
        (claim["metric"], epoch): value
        for claim in claims
        for epoch, value in (
            claim["reported"].items()
            if isinstance(claim["reported"], dict)
            else [(None, claim["reported"])]
        )
    }
    assert found == {key: float(text) for key, text in table.items()}
    assert len({claim["name"] for claim in claims}) == len(claims)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "1: the first line must be metric,epoch,reported"),
        ("epoch,value\n1,2\n", "1: the first line must be metric,epoch,reported"),
        ("metric,epoch,reported\n", "1: no reported number below the first line"),
        ("metric,epoch,reported\nm,0,1\n", "2: epoch: must be a whole number from 1 on"),
        ("metric,epoch,reported\nm,1,abc\n", "2: reported: must be a finite number, got 'abc'"),
        ("metric,epoch,reported\nm,1,nan\n", "2: reported: must be a finite number"),
        ("metric,epoch,reported\n,1,1\n", "2: metric: must not be empty"),
        ("metric,epoch,reported\nm,1\n", "2: 3 columns wanted"),
        ("metric,epoch,reported\nm,1,1\nm,1,2\n", "3: epoch: already given on line 2"),
    ],
)
def test_a_fault_of_the_table_is_named_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "table.csv"
    path.write_text(text)
    with pytest.raises(ManifestError) as caught:
        read_table(path)
    assert str(caught.value).startswith(f"{path}:{said}")


def test_a_manifest_that_is_there_is_left_alone(tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_text("metric,epoch,reported\nm,1,1\n")
    out = tmp_path / "mine.yaml"
    out.write_text("precious")
    refused = CliRunner().invoke(app, ["init", str(table), "--out", str(out)])
    assert isinstance(refused.exception, UsageError)
    assert "exists already" in str(refused.exception)
    assert out.read_text() == "precious"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--out", "Mine.yaml"], "small letters"),
        (["--out", "mine.txt"], "small letters"),
        (["--out", "nowhere/mine.yaml"], "no folder nowhere"),
        (["--out", "mine.yaml", "--workload", "none"], "no workload 'none'; there are command"),
    ],
)
def test_an_option_that_cannot_be_honoured_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("table.csv").write_text("metric,epoch,reported\nm,1,1\n")
    refused = CliRunner().invoke(app, ["init", "table.csv", *options])
    assert isinstance(refused.exception, HarnessError)
    assert said in str(refused.exception)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["table.csv"]
