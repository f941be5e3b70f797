"""From a manifest to a verdict by the command line: real Ray, real MLflow."""

import json
import shutil
import signal
import sqlite3
import subprocess
from pathlib import Path

import pytest

from harness import workloads
from harness.errors import Exit
from harness.manifest import load
from harness.plan import Selection, jobs
from harness.record import EpochRecord, Failure, FailureKind, FinalRecord, StoredTrial
from harness.session.runner import stop_on_signals
from harness.source import source
from harness.store import Store
from harness.trial import attempt
from tests.cli.conftest import REPOSITORY, TINY, Harness, command
from tests.waiting import HANG_S, wait_until

SCALARS = ("mi_bits", "true_mi_bits", "detail/mi_floor_bits", "time/seconds")


def copied(workspace: Path, folder: Path) -> Path:
    """A copy to change, so that tests do not see one another's changes."""
    return Path(shutil.copytree(workspace, folder / "copy"))


def trials(workspace: Path) -> dict[int, StoredTrial]:
    """Everything stored, by seed."""
    store = Store(workspace)
    found = (store.read(trial_id) for trial_id in store.trials())
    return {trial.spec.seed: trial for trial in found if trial is not None}


def results(trial: StoredTrial) -> tuple[object, object]:
    """What must be equal bit for bit between two recordings of one trial."""
    epochs = [(record.epoch, dict(record.metrics)) for record in trial.epochs]
    finals = {epoch: dict(record.metrics) for epoch, record in trial.finals.items()}
    return epochs, finals


def alone(manifest: Path, seed: int, epochs: int | None = None) -> tuple[object, object]:
    """The results of one trial that was left alone in this process."""
    registry = workloads.registry()
    (job,) = jobs(load([manifest], registry), registry, Selection(seeds=(seed,), epochs=epochs))
    messages = list(attempt(job, registry[job.spec.workload], data={}, source=source()))
    return (
        [(each.epoch, dict(each.metrics)) for each in messages if isinstance(each, EpochRecord)],
        {each.epoch: dict(each.metrics) for each in messages if isinstance(each, FinalRecord)},
    )


def lengthened(folder: Path, *, epochs: int) -> Path:
    """The tiny experiment with more epochs, so that it can be interrupted."""
    path = folder / "long.yaml"
    path.write_text(TINY.read_text().replace("epochs: {value: 6", f"epochs: {{value: {epochs}"))
    return path


def started(environment: dict[str, str], *arguments: str | Path) -> "subprocess.Popen[str]":
    """A command under way, for as long as the context lasts."""
    return subprocess.Popen(
        command(*arguments),
        env=environment,
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_every_epoch_of_every_seed_is_recorded_once(studied: Path) -> None:
    stored = trials(studied)
    assert set(stored) == {0, 1}
    for trial in stored.values():
        assert [record.epoch for record in trial.epochs] == [1, 2, 3, 4, 5, 6]
        assert set(trial.finals) == {6}
        assert trial.done == 6


def test_a_second_run_runs_nothing(harness: Harness, studied: Path, tmp_path: Path) -> None:
    workspace = copied(studied, tmp_path)
    before = trials(workspace)
    again = harness("run", TINY, "--workspace", workspace)
    assert again.returncode == 0, again.stderr
    assert "2 trials, 2 of them done" in again.stdout
    assert trials(workspace) == before


def test_a_recorded_failure_runs_again_on_request_and_the_verdict_says_so(
    harness: Harness, studied: Path, tmp_path: Path
) -> None:
    workspace = copied(studied, tmp_path)
    registry = workloads.registry()
    (job,) = jobs(load([TINY], registry), registry, Selection(seeds=(5,)))
    store = Store(workspace)
    failure = Failure(FailureKind.SCIENTIFIC, "RuntimeError", "tripped", epoch=0)
    with store.lock():
        store.append([(job.spec, failure)])
    arguments = ("run", TINY, "--seeds", "5", "--workspace", workspace, "--tracking-uri", "none")
    before = harness(*arguments)
    assert before.returncode == Exit.NOT_AS_EXPECTED
    assert "1 trial, 1 of them done" in before.stdout
    after = harness(*arguments, "--again", "failed")
    told = " ".join(after.stdout.split())
    assert "1 failed trial to run again" in told
    assert "seed 5 failed before, after epoch 0 (RuntimeError: tripped); run again on" in told
    stored = Store(workspace).read(job.spec.id)
    assert stored is not None
    assert (stored.done, stored.failure) == (job.epochs, None)
    assert [past.failure for past in stored.history] == [failure]
    assert after.returncode != Exit.NOT_AS_EXPECTED


def test_added_seeds_run_only_the_new_ones_and_added_epochs_go_on(
    harness: Harness, studied: Path, tmp_path: Path
) -> None:
    """Seeds 0 and 1 are done; of seed 2 a run of three epochs is stored."""
    workspace = copied(studied, tmp_path)
    before = trials(workspace)
    registry = workloads.registry()
    (job,) = jobs(load([TINY], registry), registry, Selection(seeds=(2,), epochs=3))
    messages = attempt(job, registry[job.spec.workload], data={}, source=source())
    store = Store(workspace)
    with store.lock():
        store.append([(job.spec, message) for message in messages])
    assert [record.epoch for record in trials(workspace)[2].epochs] == [1, 2, 3]
    untracked = ("--workspace", workspace, "--tracking-uri", "none")
    more = harness("run", TINY, *untracked, "--seeds", "0-2")
    assert "3 trials, 2 of them done" in more.stdout
    assert {seed: trials(workspace)[seed] for seed in before} == before
    continued = trials(workspace)[2]
    epochs, finals = alone(TINY, 2)
    assert results(continued) == (epochs, {3: continued.finals[3].metrics, **finals})


def test_mlflow_holds_each_epoch_of_each_metric_once_and_nothing_runs(studied: Path) -> None:
    database = sqlite3.connect(f"file:{studied / 'mlflow' / 'mlflow.db'}?mode=ro", uri=True)
    runs = dict(database.execute("SELECT name, run_uuid FROM runs").fetchall())
    assert set(runs) >= {"seed 0", "seed 1", "paper"}
    assert {status for (status,) in database.execute("SELECT status FROM runs")} == {"FINISHED"}
    for seed, trial in trials(studied).items():
        found = database.execute(
            "SELECT key, step, value FROM metrics WHERE run_uuid = ?", [runs[f"seed {seed}"]]
        ).fetchall()
        assert len(set(found)) == len(found)
        for metric in SCALARS:
            assert sorted(step for key, step, _ in found if key == metric) == [1, 2, 3, 4, 5, 6]
        values = {(key, step): value for key, step, value in found}
        for record in trial.epochs:
            assert values["mi_bits", record.epoch] == record.metrics["mi_bits"]
        final = trial.finals[6].metrics["test_mi_floor_bits"]
        assert values["test_mi_floor_bits", 6] == final
        parameters = dict(
            database.execute(
                "SELECT key, value FROM params WHERE run_uuid = ?", [runs[f"seed {seed}"]]
            )
        )
        assert parameters["seed"] == str(seed)
        assert parameters["length"] == "64"
    tags = dict(
        database.execute("SELECT key, value FROM tags WHERE run_uuid = ?", [runs["seed 0"]])
    )
    assert tags["verdict"] == "REPRODUCED"
    paper = database.execute(
        "SELECT key, step, value FROM metrics WHERE run_uuid = ?", [runs["paper"]]
    ).fetchall()
    assert {(key, step) for key, step, _ in paper} >= {("mi_bits", 1), ("mi_bits", 6)}


def test_stored_seeds_tell_what_planned_ones_can_decide(harness: Harness, studied: Path) -> None:
    planned = harness("plan", TINY, "--workspace", studied, "--seeds", "0-4")
    assert planned.returncode == 0, planned.stderr
    assert "tiny: 5 seeds can show equivalence in" in planned.stdout
    one = harness("plan", TINY, "--workspace", studied, "--seeds", "0")
    assert "tiny: one seed is judged by the tolerances only" in one.stdout


def test_two_seeds_are_too_few_to_calibrate(harness: Harness, studied: Path) -> None:
    found = harness("calibrate", TINY, "--workspace", studied)
    assert found.returncode == 4, found.stderr
    assert "no bands: ten seeds or more are needed" in found.stdout


def test_standard_output_holds_only_the_document_whatever_ray_and_mlflow_print(
    first_run: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    _, done = first_run
    (experiment,) = json.loads(done.stdout)["experiments"]
    assert experiment["seeds"] == [0, 1]
    assert "Traceback" not in done.stderr


def test_check_takes_the_same_verdict_again_without_ray_mlflow_or_torch(
    harness: Harness, studied: Path, tmp_path: Path
) -> None:
    ran = harness("run", TINY, "--workspace", copied(studied, tmp_path), "--json", "-")
    checked = harness("check", TINY, "--workspace", studied, "--json", "-")
    assert checked.returncode == 0, checked.stderr
    assert json.loads(checked.stdout) == json.loads(ran.stdout)
    loaded = subprocess.run(
        [
            *command()[:1],
            "-c",
            "import sys, harness.cli; print(sorted({'ray', 'mlflow', 'torch'} & set(sys.modules)))",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert loaded.stdout.strip() == "[]"


def test_a_reported_value_moved_by_half_a_bit_is_named_and_exits_1(
    harness: Harness, studied: Path, tmp_path: Path
) -> None:
    moved = tmp_path / "moved.yaml"
    moved.write_text(TINY.read_text().replace("6: 0.0}", "6: 0.51}"))
    judged = harness("check", moved, "--workspace", studied, "--json", tmp_path / "out.json")
    assert judged.returncode == 1
    (experiment,) = json.loads((tmp_path / "out.json").read_text())["experiments"]
    assert experiment["verdict"] == "NOT REPRODUCED"
    failing = [row["name"] for row in experiment["claims"] if row["verdict"] == "NOT REPRODUCED"]
    assert failing == ["rows @ 6"]
    assert "rows @ 6" in judged.stdout


def test_first_epochs_judge_only_what_ran(harness: Harness, studied: Path) -> None:
    judged = harness("check", TINY, "--workspace", studied, "--epochs", "3", "--json", "-")
    assert judged.returncode == 0, judged.stderr
    (experiment,) = json.loads(judged.stdout)["experiments"]
    verdicts = {row["name"]: row["verdict"] for row in experiment["claims"]}
    assert verdicts["rows @ 3"] == "REPRODUCED"
    assert verdicts["rows @ 6"] == verdicts["test estimate"] == "NOT RUN"
    assert any("first 3 epochs" in note for note in experiment["notes"])


def test_missing_trials_are_incomplete_and_exit_4(harness: Harness, studied: Path) -> None:
    judged = harness("check", TINY, "--workspace", studied, "--seeds", "0-5")
    assert judged.returncode == 4
    assert "2-5" in judged.stdout


def test_a_driver_killed_in_the_middle_goes_on_where_it_stopped(
    environment: dict[str, str], harness: Harness, tmp_path: Path
) -> None:
    """`kill -9` of the driver: every epoch once, equal bit for bit to a trial left alone."""
    long = lengthened(tmp_path, epochs=120)
    arguments = ("run", long, "--workspace", tmp_path / "results", "--tracking-uri", "none")
    with started(environment, *arguments) as driver:
        wait_for_records(tmp_path / "results", driver)
        driver.kill()
    assert driver.returncode == -signal.SIGKILL
    assert any(trial.done < 120 for trial in trials(tmp_path / "results").values())
    again = harness(*arguments)
    assert again.returncode in (0, 1), again.stderr
    assert set(trials(tmp_path / "results")) == {0, 1}
    for seed, trial in trials(tmp_path / "results").items():
        assert results(trial) == alone(long, seed)


def wait_for_records(workspace: Path, driver: "subprocess.Popen[str]") -> None:
    """Wait until the driver has written its first records."""

    def written() -> int:
        return sum(path.stat().st_size for path in workspace.glob("trials/*/*.jsonl"))

    wait_until(written, "the first records", process=driver)


def test_a_signal_stops_in_order_and_leaves_a_workspace_that_resumes(
    environment: dict[str, str], tmp_path: Path
) -> None:
    long = lengthened(tmp_path, epochs=400)
    workspace = tmp_path / "results"
    with started(environment, "run", long, "--workspace", workspace) as driver:
        wait_for_records(workspace, driver)
        driver.send_signal(signal.SIGTERM)
        output, _ = driver.communicate(timeout=HANG_S)
    assert driver.returncode == 143
    assert "the same command goes on from here" in output
    database = sqlite3.connect(workspace / "mlflow" / "mlflow.db")
    statuses = {status for (status,) in database.execute("SELECT status FROM runs")}
    assert "RUNNING" not in statuses
    for seed, trial in trials(workspace).items():
        assert len(trial.epochs) < 400
        if trial.epochs:
            assert results(trial)[0] == alone(long, seed, len(trial.epochs))[0]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_each_signal_asks_for_a_stop_and_names_its_exit_code(
    number: signal.Signals, code: int
) -> None:
    before = signal.getsignal(number)
    with stop_on_signals() as stop:
        assert not stop.is_set()
        signal.raise_signal(number)
        assert stop.is_set()
        assert stop.exit_code == code
        assert signal.getsignal(number) is signal.SIG_DFL
    assert signal.getsignal(number) is before


HALVES = """
from harness import workload

@workload(metrics={"share": "1"}, final={"sum": "1"})
def halves(seed: int, epochs: int):
    yield from ({"share": 0.5**n} for n in range(1, epochs + 1))
    return {"sum": 1.0}
"""

CLAIM_ON_THE_SUM = """
format: 1
title: halves
paper: {title: Halves, author: nobody, listing: "1", command: none}
unit: "1"
workload: {name: function, file: halves.py}
epochs: {value: 2, stated: here}
seeds: [0]
claims:
  - {name: sum, kind: value, metric: sum, source: here, reported: 1.0,
     tolerance: {value: 0.1, reason: made up}}
"""


def test_a_trial_prints_its_epochs_even_if_no_claim_is_about_them(
    harness: Harness, tmp_path: Path
) -> None:
    (tmp_path / "halves.py").write_text(HALVES)
    manifest = tmp_path / "halves.yaml"
    manifest.write_text(CLAIM_ON_THE_SUM)
    done = harness("trial", manifest, "--seed", "0", "--allow-commands")
    assert done.stdout.splitlines()[-3:] == ["1 0.5000", "2 0.2500", "test 1.0000"], done.stderr
