"""`harness study` as its users meet it: real Ray, real MLflow, real training of tiny variants."""

import json
import shutil
import sqlite3
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.cli.conftest import TINY, Harness

LENGTH = ("--vary", "length=48,64")
METRIC = ("--vary", "metric of test estimate=test_mi_bits")
BROKEN = ("--vary", "learning_rate=1e30")  # overflows: the method's own failure


class Found(NamedTuple):
    workspace: Path
    out: Path
    stdout: str
    document: dict[str, Any]


@pytest.fixture(scope="module")
def found(harness: Harness, studied: Path, tmp_path_factory: pytest.TempPathFactory) -> Found:
    """A study in a workspace where the manifest's own values have been run before."""
    folder = tmp_path_factory.mktemp("study")
    workspace = Path(shutil.copytree(studied, folder / "results"))
    done = harness(
        *("study", TINY, *LENGTH, *METRIC, *BROKEN),
        *("--workspace", workspace, "--out", folder / "out", "--json", folder / "study.json"),
    )
    assert done.returncode == 0, done.stderr
    document = json.loads((folder / "study.json").read_text())
    return Found(workspace, folder / "out", done.stdout, document)


def test_only_trials_that_are_new_are_run(found: Found) -> None:
    """Of four variants one is the manifest's, and one reads the same trials otherwise."""
    assert "6 trials, 2 of them done" in found.stdout
    ids = [variant["id"] for variant in found.document["variants"]]
    assert ids == [
        "tiny",
        "tiny[length=48]",
        "tiny[metric-of-test-estimate=test_mi_bits]",
        "tiny[learning_rate=1e+30]",
    ]


def test_a_verdict_that_hinges_on_an_assumption_is_named(found: Found) -> None:
    length, metric, rate = found.document["factors"]
    assert (length["hinges"], metric["hinges"], rate["hinges"]) == ("no", "no", "yes")
    assert rate["claims"]["rows"] == "yes"
    broken = found.document["experiments"][-1]
    assert [failure["seed"] for failure in broken["failures"]] == [0, 1]
    assert "claims that depend on it: rows" in " ".join(found.stdout.split())


def test_each_variant_is_judged_by_its_own_numbers(found: Found) -> None:
    own, length, metric, _ = found.document["experiments"]
    rows = [{row["name"]: row["by_seed"] for row in each["claims"]} for each in (own, length)]
    assert rows[0]["rows @ 6"] != rows[1]["rows @ 6"]
    final = {row["name"]: row["metric"] for row in metric["claims"]}
    assert final["test estimate"] == "test_mi_bits"


def test_pages_and_figure_lie_together_and_the_runs_own_report_stays(found: Found) -> None:
    names = {path.name for path in found.out.iterdir()}
    assert {"study.md", "study.json", "study.png", "report.md", "report.html"} <= names
    page = (found.out / "study.md").read_text()
    assert "learning\\_rate" in page
    own = (found.workspace / "report" / "report.md").read_text()
    assert "length=48" not in own


def test_mlflow_shows_each_variant_as_an_experiment_of_its_own(found: Found) -> None:
    database = sqlite3.connect(f"file:{found.workspace / 'mlflow' / 'mlflow.db'}?mode=ro", uri=True)
    runs = database.execute(
        "SELECT e.name, r.name, r.status FROM runs r JOIN experiments e USING (experiment_id)"
        " WHERE r.lifecycle_stage = 'active'"
    ).fetchall()
    for variant in found.document["variants"]:
        own = {name for experiment, name, _ in runs if experiment == variant["id"]}
        references = {"paper", "paper - tolerance", "paper + tolerance", "true value"}
        assert own == {"seed 0", "seed 1", *references}
    assert {status for _, _, status in runs} <= {"FINISHED", "FAILED"}


def test_the_same_study_again_runs_nothing_and_finds_the_same(
    harness: Harness, found: Found, tmp_path: Path
) -> None:
    again = harness(
        *("study", TINY, *LENGTH, *METRIC, *BROKEN, "--workspace", found.workspace),
        *("--out", tmp_path, "--tracking-uri", "none", "--json", "-"),
    )
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout) == found.document
    assert "6 trials, 6 of them done" in again.stderr


def test_a_plan_counts_and_makes_nothing(
    harness: Harness, found: Found, studied: Path, tmp_path: Path
) -> None:
    arguments = ("study", TINY, "--vary", "length=48,50", *METRIC, "--grid", "--plan")
    planned = harness(*arguments, "--workspace", found.workspace)
    assert planned.returncode == 0, planned.stderr
    cells = {
        line.split()[0]: line.split()[1:4]
        for line in planned.stdout.splitlines()
        if line.startswith("tiny") and ":" not in line
    }
    counts = {name: tuple(map(int, each)) for name, each in cells.items()}
    assert counts["tiny"] == counts["tiny[length=48]"] == (2, 2, 0)
    assert counts["tiny[length=50]"] == (2, 0, 2)
    assert len(counts) == 6
    empty = harness(*arguments, "--workspace", tmp_path / "results")
    assert empty.returncode == 0, empty.stderr
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--vary", "lenght=48"], "--vary lenght: no such parameter; did you mean length?"),
        (["--vary", "length=20"], "--vary length=20: 4 blocks of kernel 3"),
        (["--vary", "metric of test estimate=mi_bits"], "rows are wanted"),
        ([], "--vary"),
    ],
)
def test_what_cannot_be_studied_is_refused_before_anything_is_made(
    harness: Harness, tmp_path: Path, options: list[str], said: str
) -> None:
    refused = harness("study", TINY, *options, "--workspace", tmp_path / "results")
    assert refused.returncode == 2
    assert said in refused.stderr
    assert "Traceback" not in refused.stderr
    assert not (tmp_path / "results").exists()


def test_what_the_paper_states_is_not_varied(harness: Harness, tmp_path: Path) -> None:
    refused = harness(
        *("study", "experiments/image-pair-4.yaml", "--vary", "classes=[1,2]"),
        *("--workspace", tmp_path / "results"),
    )
    assert refused.returncode == 2
    assert "--vary classes: the paper states it" in refused.stderr


def test_a_study_without_its_cluster_exits_4(harness: Harness, tmp_path: Path) -> None:
    lost = harness(
        *("study", TINY, *LENGTH, "--workspace", tmp_path / "results"),
        *("--address", "127.0.0.1:1", "--tracking-uri", "none"),
    )
    assert lost.returncode == 4, lost.stderr
    assert "no Ray cluster" in lost.stderr
