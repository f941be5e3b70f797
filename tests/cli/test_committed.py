"""Records committed beside a manifest: a fresh clone judges by them, and can go on from them."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from harness import workloads
from harness.cli import app
from harness.errors import UsageError
from harness.manifest import declaration, load
from harness.plan import Selection
from harness.record import EpochRecord
from harness.session import Session
from harness.store import Archive, Kept, Store
from tests.cli.conftest import TINY


def harness(*arguments: str | Path) -> Result:
    """A command in this process; a fault that the user can mend is its exception."""
    return CliRunner().invoke(app, list(map(str, arguments)), env={"COLUMNS": "300"})


def document(*arguments: str | Path) -> dict[str, object]:
    """The one experiment of a command's JSON."""
    (experiment,) = json.loads(harness(*arguments, "--json", "-").stdout)["experiments"]
    return dict(experiment)


@pytest.fixture
def clone(studied: Path, tmp_path: Path) -> Path:
    """A manifest with its records committed beside it, and no workspace."""
    manifest = Path(shutil.copy(TINY, tmp_path / "tiny.yaml"))
    done = harness("export", manifest, "--records", tmp_path / "records", "--workspace", studied)
    assert done.exit_code == 0, done.output
    return manifest


def archive(manifest: Path) -> Archive:
    return Archive(manifest.parent / "records")


def test_a_fresh_clone_takes_the_workspaces_verdict_and_says_by_what(
    clone: Path, studied: Path, tmp_path: Path
) -> None:
    ours = document("check", clone, "--workspace", tmp_path / "nothing")
    theirs = document("check", clone, "--workspace", studied)
    notes = ours.pop("notes")
    assert isinstance(notes, list)
    assert any("committed records" in note and "records/tiny.jsonl" in note for note in notes)
    assert not any("committed records" in note for note in theirs.pop("notes"))  # type: ignore[attr-defined]
    assert ours == theirs


def test_a_workspace_that_holds_anything_of_the_experiment_is_what_is_judged(
    clone: Path, studied: Path, tmp_path: Path
) -> None:
    partial = Path(shutil.copytree(studied, tmp_path / "partial"))
    store = Store(partial)
    gone = next(store.trials())
    shutil.rmtree(partial / "trials" / gone)
    assert document("check", clone, "--workspace", partial)["verdict"] == "INCOMPLETE"
    asked = document("check", clone, "--workspace", partial, "--committed")
    assert asked["verdict"] == "REPRODUCED"


def test_report_and_table_come_from_committed_records_too(clone: Path, tmp_path: Path) -> None:
    nothing = tmp_path / "nothing"
    written = harness("report", clone, "--out", tmp_path / "report", "--workspace", nothing)
    assert written.exit_code == 0, written.output
    assert "committed records" in (tmp_path / "report" / "report.html").read_text()
    table = harness("export", clone, "--out", tmp_path / "all.csv", "--workspace", nothing)
    assert "all.csv: 44 rows" in table.output  # 2 seeds: 6 epochs of 3 metrics, 4 final ones


def test_committed_records_are_one_side_of_a_comparison(clone: Path, studied: Path) -> None:
    compared = harness("compare", clone.parent / "records", studied, clone)
    assert compared.exit_code == 0, compared.output
    assert "unchanged" in compared.output


def test_exporting_again_changes_not_a_byte(clone: Path, studied: Path) -> None:
    file = archive(clone).file("tiny")
    before = file.read_bytes()
    again = harness("export", clone, "--records", file.parent, "--workspace", studied)
    assert "nothing to add, 2 trials" in again.output
    assert file.read_bytes() == before


def test_other_results_are_refused_by_name_and_nothing_is_written(
    clone: Path, studied: Path
) -> None:
    own = archive(clone)
    kept = own.kept("tiny")
    first, *rest = kept.trials
    epoch = first.epochs[2]
    moved = replace(epoch, metrics={**epoch.metrics, "mi_bits": 0.5})
    epochs = (*first.epochs[:2], moved, *first.epochs[3:])
    own.write("tiny", Kept(kept.declared, (replace(first, epochs=epochs), *rest)))
    before = own.file("tiny").read_bytes()
    refused = harness("export", clone, "--records", own.root, "--workspace", studied)
    assert isinstance(refused.exception, UsageError)
    said = f"tiny.jsonl: trial {first.spec.id} (seed 0): other results from epoch 3 on"
    assert said in str(refused.exception)
    assert own.file("tiny").read_bytes() == before


def test_what_is_not_finished_is_left_out_by_name(clone: Path, studied: Path) -> None:
    asked = ("export", clone, "--records", clone.parent / "records", "--workspace", studied)
    done = harness(*asked, "--seeds", "0-3")
    assert "tiny: seeds 2-3 left out, not finished" in done.output
    assert done.exit_code == 0


def test_stale_records_are_never_used_and_are_named(clone: Path, tmp_path: Path) -> None:
    clone.write_text(clone.read_text().replace("noise: {value: 0.02", "noise: {value: 0.03"))
    found = document("check", clone, "--workspace", tmp_path / "nothing")
    assert found["verdict"] == "INCOMPLETE"
    (note,) = (each for each in found["notes"] if "tiny.jsonl" in each)  # type: ignore[attr-defined]
    assert "seeds 0-1" in note
    assert "not used" in note
    (experiment,) = load([clone], workloads.registry())
    session = Session((experiment,), Selection(), Store(tmp_path / "results"))
    with session.store.lock():
        taken, warning = session.take_over()
    assert taken.startswith("0 trials taken over")
    assert warning == note
    assert list(session.store.trials()) == []


def test_a_missing_file_is_said_and_whether_the_workspace_was_searched(
    clone: Path, studied: Path, tmp_path: Path
) -> None:
    shutil.rmtree(clone.parent / "records")
    found = document("check", clone, "--workspace", tmp_path / "nothing")
    assert found["verdict"] == "INCOMPLETE"
    (note,) = (each for each in found["notes"] if "workspace" in each)  # type: ignore[attr-defined]
    assert note.startswith("the workspace holds no trial of it as the manifest is now; there is no")
    assert note.endswith("records/tiny.jsonl")
    # The workspace holds trials of it, but was not asked for them.
    found = document("check", clone, "--workspace", studied, "--committed")
    (note,) = (each for each in found["notes"] if "workspace" in each)  # type: ignore[attr-defined]
    assert "the workspace was not searched; there is no file" in note
    assert "holds no" not in note


def test_export_wants_one_destination(clone: Path) -> None:
    for arguments in ((), ("--out", "x.csv", "--records", "x")):
        assert isinstance(harness("export", clone, *arguments).exception, UsageError)


def test_export_of_nothing_is_incomplete_and_a_mistyped_workspace_is_refused(
    clone: Path, tmp_path: Path
) -> None:
    missing = ("--workspace", tmp_path / "mistyped")
    refused = harness("export", clone, "--records", tmp_path / "records", *missing).exception
    assert isinstance(refused, UsageError)
    assert "no workspace is here" in str(refused)
    shutil.rmtree(clone.parent / "records")
    done = harness("export", clone, "--out", tmp_path / "x.csv", *missing)
    assert done.exit_code == 4
    assert "no trial of these is stored" in done.output


def test_a_run_goes_on_from_committed_records_only_where_it_is_asked_to(
    clone: Path, tmp_path: Path
) -> None:
    workspace = tmp_path / "results"
    run = harness(
        "run", clone, "--from-records", "--workspace", workspace, "--tracking-uri", "none"
    )
    assert run.exit_code == 0, run.output
    assert "2 trials taken over from the committed records" in run.output
    assert "2 trials, 2 of them done" in run.output
    store = Store(workspace)
    for trial in archive(clone).kept("tiny").trials:
        assert store.read(trial.spec.id) == trial
    assert store.declared("tiny") == archive(clone).declared("tiny")
    assert "committed" not in str(document("check", clone, "--workspace", workspace)["notes"])
    planned = harness("plan", clone, "--workspace", tmp_path / "nothing")
    assert "0" in planned.output.splitlines()[2].split()[2]  # nothing counts as done by itself


def test_a_run_declares_its_tolerances_once_and_they_are_committed(
    clone: Path, studied: Path, tmp_path: Path
) -> None:
    (experiment,) = load([clone], workloads.registry())
    declared = declaration(experiment.manifest)
    assert Store(studied).declared("tiny") == declared == archive(clone).declared("tiny")
    assert declared.tolerances["true value"] == 0.1
    clone.write_text(clone.read_text().replace("{value: 0.1, reason", "{value: 0.2, reason"))
    copy = Path(shutil.copytree(studied, tmp_path / "copy"))
    again = harness("run", clone, "--workspace", copy, "--tracking-uri", "none")
    assert again.exit_code == 0, again.output
    assert Store(copy).declared("tiny") == declared


def test_records_that_claims_name_are_finite_and_whole(clone: Path) -> None:
    for trial in archive(clone).kept("tiny").trials:
        assert [each.epoch for each in trial.epochs] == [1, 2, 3, 4, 5, 6]
        assert all(isinstance(each, EpochRecord) for each in trial.epochs)
        assert trial.provenance[-1].environment.versions["torch"]
