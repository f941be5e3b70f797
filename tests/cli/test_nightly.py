"""Nights and comparisons as their users meet them."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.cli.conftest import REPOSITORY, TINY, Harness, command
from tests.waiting import HANG_S

NIGHT = """\
format: 1
nights:
  tiny:
    experiments: [{manifest}]
    seeds: "0"
    epochs: 2
    address: 127.0.0.1:1  # where nothing listens
"""


def test_an_outage_is_a_night_that_says_so_and_exits_4(
    environment: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "nightly.yaml").write_text(NIGHT.format(manifest=TINY))
    page = tmp_path / "page.md"
    done = subprocess.run(
        command(
            *("nightly", "--night", "tiny", "--config", tmp_path / "nightly.yaml"),
            *("--workspace", tmp_path / "results", "--tracking-uri", "none"),
        ),
        env=environment | {"GITHUB_STEP_SUMMARY": str(page)},
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        timeout=HANG_S,
    )
    assert done.returncode == 4, done.stderr
    assert "no Ray cluster" in done.stderr
    assert "Traceback" not in done.stderr
    (folder,) = (tmp_path / "results" / "nights" / "tiny").iterdir()
    record = json.loads((folder / "night.json").read_text())
    assert record["code"] == 4
    assert "no Ray cluster" in record["trouble"]
    assert record["experiments"]["tiny"]["state"] == "not judged yet"
    assert page.read_text() == (folder / "summary.md").read_text()
    assert "undecided: incomplete" in page.read_text().splitlines()[0]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--night", "nowhere"], "there are light, grid, full"),
        (["--config", "nowhere.yaml"], "nowhere.yaml: no such file"),
    ],
)
def test_what_no_night_can_be_is_refused(
    harness: Harness, tmp_path: Path, options: list[str], said: str
) -> None:
    refused = harness("nightly", *options, "--workspace", tmp_path / "results")
    assert refused.returncode == 2
    assert said in refused.stderr
    assert not (tmp_path / "results").exists()


def test_a_workspace_is_unchanged_beside_its_own_export(
    harness: Harness, studied: Path, tmp_path: Path
) -> None:
    table = tmp_path / "records.csv"
    assert harness("export", TINY, "--workspace", studied, "--out", table).returncode == 0
    same = harness("compare", table, studied, TINY)
    assert same.returncode == 0, same.stderr
    assert "unchanged bit for bit, 2 seeds, 6 epochs" in same.stdout


def test_a_step_of_every_seed_has_moved_and_exits_1(
    harness: Harness, studied: Path, tmp_path: Path
) -> None:
    table = tmp_path / "records.csv"
    assert harness("export", TINY, "--workspace", studied, "--out", table).returncode == 0
    lines = table.read_text().splitlines()
    moved = [_moved(line) if '"test_mi_floor_bits"' in line else line for line in lines]
    table.write_text("\n".join(moved) + "\n")
    found = harness("compare", table, studied, TINY, "--json", "-")
    assert found.returncode == 1, found.stderr
    (experiment,) = json.loads(found.stdout)["experiments"]
    assert experiment["standing"] == "moved"
    (change,) = experiment["changes"]
    assert change["claim"] == "test estimate"
    assert change["difference"] == pytest.approx(-0.25)


def _moved(line: str) -> str:
    """The row with its value raised by a quarter, whatever the seed."""
    *before, value, ended = line.split(",")
    return ",".join([*before, repr(float(value) + 0.25), ended])


def test_no_common_trial_is_nothing_to_compare_and_exits_4(
    harness: Harness, studied: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    found = harness("compare", tmp_path / "empty", studied, TINY)
    assert found.returncode == 4
    assert "nothing to compare" in found.stdout


def test_a_side_that_is_not_there_is_named(harness: Harness, studied: Path) -> None:
    refused = harness("compare", studied, "nowhere", TINY)
    assert refused.returncode == 2
    assert "nowhere: no such workspace" in refused.stderr
