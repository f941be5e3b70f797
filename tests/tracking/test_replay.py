"""What `sync` leaves in MLflow's database, read past MLflow."""

import gc
import json
import time
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from harness.manifest import Cell, Experiment
from harness.record import (
    Artifact,
    ArtifactPart,
    Failure,
    FailureKind,
    Finished,
    Message,
    Output,
    Printed,
    Started,
    StoredTrial,
    digest,
)
from harness.store import Store
from harness.tracking import Conclusion, Summary, Telling, Tracked, replay_store
from harness.tracking.experiments import view_tag
from harness.tracking.images import seed_image
from harness.tracking.projector import Projector, nothing_kept
from tests.tracking.conftest import (
    MANIFEST,
    PROVENANCE,
    REFERENCES,
    T0_MS,
    Database,
    Shelf,
    make_experiment,
    make_trial,
)

EXPERIMENT = make_experiment()


def replay(database: Database, shelf: Shelf, *conclusions: Conclusion) -> Summary:
    tracked = shelf.tracked(EXPERIMENT)
    summary = replay_store(
        database.uri,
        workspace=database.workspace,
        read=shelf.read,
        tracked=tracked,
        conclusions=conclusions,
    )
    assert summary.trouble is None
    assert summary.left == 0
    return summary


def test_each_trial_has_exactly_its_epochs_of_each_metric(database: Database) -> None:
    trials = [make_trial(seed, epochs, done=epochs) for seed, epochs in ((0, 10), (3, 7))]
    replay(database, Shelf(*trials))
    for trial in trials:
        expected = {}
        for record in trial.epochs:
            expected["mi_bits", record.epoch] = record.metrics["mi_bits"]
            expected["true_mi_bits", record.epoch] = record.metrics["true_mi_bits"]
            expected["detail/grad", record.epoch] = record.metrics["grad"]
            expected["time/seconds", record.epoch] = record.seconds
        name = f"seed {trial.spec.seed}"
        assert database.values(name) == expected
        assert len(database.points(name)) == len(expected)


def test_points_bear_the_times_at_which_they_were_recorded(database: Database) -> None:
    replay(database, Shelf(make_trial(epochs=5, done=5)))
    assert {(step, at) for _, step, _, at in database.points("seed 0")} == {
        (n, T0_MS + 1000 * n) for n in range(1, 6)
    }
    [times] = database.rows("SELECT start_time, end_time FROM runs WHERE name = 'seed 0'")
    assert times == (T0_MS + 1000 - 750, T0_MS + 5000)


def test_final_estimates_stand_at_the_epoch_at_which_they_were_taken(database: Database) -> None:
    replay(database, Shelf(make_trial(seed=2, epochs=20, done=20, finals=(10, 20))))
    values = database.values("seed 2")
    assert values["test_mi_bits", 10] == 2.2
    assert values["test_mi_bits", 20] == 2.1
    assert values["detail/test_whole_bits", 20] == 1.8


def used(trial: StoredTrial) -> dict[tuple[str, int], float]:
    """The system metrics of a trial's run, by name and epoch."""
    image = seed_image(EXPERIMENT, trial, live=False)
    assert image is not None
    return {
        (name, row.epoch): value
        for row in image.rows
        for name, value in row.metrics.items()
        if name.startswith("system/")
    }


MEASURED = {"peak_memory_bytes": 3 << 20, "peak_gpu_memory_bytes": 2 << 20}


def test_what_a_trial_used_stands_among_the_system_metrics() -> None:
    trial = make_trial(epochs=5, done=5, finals=(5,))
    whole = replace(trial.finals[5], **MEASURED, cpu_seconds=7.5)
    assert used(replace(trial, finals={5: whole})) == {
        ("system/cpu_seconds", 5): 7.5,
        ("system/peak_memory_mib", 5): 3,
        ("system/peak_gpu_memory_mib", 5): 2,
    }
    resumed = replace(trial.finals[5], **MEASURED, cpu_seconds=None)
    assert used(replace(trial, finals={5: resumed})) == {}


def test_a_longer_run_changes_no_system_metric_of_the_shorter_one(database: Database) -> None:
    """What was sent live stays in MLflow, so `sync` into an empty one must send the same."""
    longer = make_trial(epochs=10, done=10, finals=(5, 10))
    finals = {
        5: replace(longer.finals[5], **MEASURED, cpu_seconds=7.5),
        10: replace(longer.finals[10], **MEASURED, cpu_seconds=None),
    }
    longer = replace(longer, finals=finals, provenance=(PROVENANCE,) * 2)
    shorter = make_trial(epochs=5, done=5)
    shorter = replace(shorter, finals={5: finals[5]})
    assert used(longer) == used(shorter) != {}
    replay(database, Shelf(shorter))
    replay(database, Shelf(longer))
    values = database.values("seed 0")
    kept = {key: value for key, value in values.items() if key[0].startswith("system/")}
    assert kept == used(longer)


def test_parameters_tags_and_data_tell_where_a_run_is_from(database: Database) -> None:
    trial = make_trial(seed=3, epochs=2, done=2)
    replay(database, Shelf(trial))
    assert database.params("seed 3") == {
        "rate": "0.5",
        "layers": "[2,3]",
        "seed": "3",
        "workload": "toy",
        "revision": "1",
    }
    tags = database.tags("seed 3")
    expected = {
        "harness.trial": trial.spec.id,
        "harness.kind": "seed",
        "harness.seed": "3",
        "harness.experiment": "toy-4",
        "manifest": EXPERIMENT.digest,
        "commit": "c0ffee",
        "dirty": "true",
        "host": "node-7",
        "device": "cpu",
        "version.torch": "2.14.1",
        "paper.command": "./run 1",
        "data.digits": "ab" * 32,
        "harness.epochs": "2",
    }
    assert expected.items() <= tags.items()
    assert "harness trial experiments/toy-4.yaml --seed 3" in tags["mlflow.note.content"]
    assert database.rows("SELECT name, digest FROM datasets") == [("digits", ("ab" * 32)[:36])]


def test_the_papers_run_holds_the_reported_values_at_the_reported_epochs(
    database: Database,
) -> None:
    replay(database, Shelf(make_trial(epochs=2, done=2)))
    assert database.values("paper") == {
        ("mi_bits", 1): 0.5,
        ("mi_bits", 10): 1.5,
        ("mi_bits", 50): 1.9,
        ("true_mi_bits", 1): 1.9991,
        ("true_mi_bits", 50): 1.9991,
        ("test_mi_bits", 50): 2.0831,
    }
    assert database.values("true value") == {("mi_bits", 1): 1.9991, ("mi_bits", 50): 1.9991}
    assert database.tags("paper")["mlflow.runColor"] == "#000000"
    assert database.tags("paper")["harness.kind"] == "paper"


def test_a_truth_that_varies_from_row_to_row_is_a_line_too(database: Database) -> None:
    truth = {**MANIFEST["claims"][1], "kind": "value", "reported": {1: 1.99, 50: 1.98}}
    del truth["decimals"]
    truth["tolerance"] = MANIFEST["claims"][0]["tolerance"]
    varying = make_experiment(claims=[MANIFEST["claims"][0], truth])
    replay_store(
        database.uri,
        workspace=database.workspace,
        read=Shelf().read,
        tracked=[Tracked(varying, ())],
    )
    assert database.values("true value") == {("mi_bits", 1): 1.99, ("mi_bits", 50): 1.98}


def test_seeds_in_a_row_have_colours_of_their_own(database: Database) -> None:
    replay(database, Shelf(*(make_trial(seed, 1, done=1) for seed in range(10))))
    colours = {database.tags(f"seed {seed}")["mlflow.runColor"] for seed in range(10)}
    assert len(colours) == 10


def test_a_control_that_holds_at_every_epoch_is_drawn_as_a_line(database: Database) -> None:
    band = {**MANIFEST["claims"][0], "kind": "band", "reported": 0.0}
    control = make_experiment(claims=[band])
    replay_store(
        database.uri,
        workspace=database.workspace,
        read=Shelf().read,
        tracked=[Tracked(control, ())],
    )
    assert database.values("paper") == {("mi_bits", 1): 0.0, ("mi_bits", 50): 0.0}


def test_the_tolerances_are_two_curves_around_the_reported_values(database: Database) -> None:
    replay(database, Shelf())
    lower, upper = (database.values(f"paper {sign} tolerance") for sign in "-+")
    # The truth is exact, so it has none.
    assert lower == {
        ("mi_bits", 1): 0.5 - 0.1,
        ("mi_bits", 10): 1.5 - 0.1,
        ("mi_bits", 50): 1.9 - 0.1,
        ("test_mi_bits", 50): 2.0831 - 0.1,
    }
    assert upper.keys() == lower.keys()
    assert all(upper[at] == pytest.approx(lower[at] + 0.2) for at in upper)


@pytest.mark.parametrize(("kind", "sign"), [("at_least", "-"), ("at_most", "+")])
def test_a_limit_has_a_tolerance_on_one_side(database: Database, kind: str, sign: str) -> None:
    limit = {**MANIFEST["claims"][2], "kind": kind}
    replay_store(
        database.uri,
        workspace=database.workspace,
        read=Shelf().read,
        tracked=[Tracked(make_experiment(claims=[limit]), ())],
    )
    assert set(database.statuses()) == {"paper", f"paper {sign} tolerance"}


def test_a_curve_that_is_compared_after_a_shift_has_no_tolerance_where_it_is_drawn(
    database: Database,
) -> None:
    takeoff = {"threshold": 0.7, "reason": "half way"}
    onset = {**MANIFEST["claims"][0], "name": "onset", "kind": "onset", "reported": 3.0}
    claims = [{**MANIFEST["claims"][0], "takeoff": takeoff}, {**onset, "takeoff": takeoff}]
    replay_store(
        database.uri,
        workspace=database.workspace,
        read=Shelf().read,
        tracked=[Tracked(make_experiment(claims=claims), ())],
    )
    assert set(database.statuses()) == {"paper"}


def saved_view(experiment: Experiment) -> dict[str, Any]:
    """How MLflow shows the experiment."""
    state: dict[str, Any] = json.loads(json.loads(view_tag(experiment))["state"])
    return state


@pytest.mark.parametrize("seeds", [3, 30])
def test_the_view_sorts_the_paper_among_the_runs_that_are_drawn_and_dates_it_by_no_trick(
    database: Database, seeds: int
) -> None:
    experiment = make_experiment(seeds=list(range(seeds)))
    # The later the seed, the earlier it ran.
    trials = [make_trial(n, 1, done=1, t0_ms=T0_MS - n * 10**8) for n in range(seeds)]
    replay_store(
        database.uri,
        workspace=database.workspace,
        read=(shelf := Shelf(*trials)).read,
        tracked=shelf.tracked(experiment),
    )
    [(latest,)] = database.rows("SELECT max(start_time) FROM runs")
    assert latest <= time.time() * 1000
    view = saved_view(experiment)
    order = f"{view['orderByKey']} {'ASC' if view['orderByAsc'] else 'DESC'}"
    listed = MlflowClient(database.uri).search_runs(["1"], order_by=[order])
    first = [run.info.run_name for run in listed][:20]
    if seeds == 3:  # the last is drawn over the others
        assert first == ["seed 0", "seed 1", "seed 2", *REFERENCES]
    else:
        assert first[:4] == [*REFERENCES[::-1]]


def test_the_newest_runs_hold_the_paper_whenever_seeds_are_added(database: Database) -> None:
    """MLflow's own page lists the newest runs first, and draws ten of them."""
    now_ms = time.time_ns() // 1_000_000
    experiment = make_experiment(seeds=list(range(20)))
    shelf = Shelf()
    for seeds in ([], range(12), range(12, 20)):
        for n in seeds:
            shelf.put(make_trial(n, 1, done=1, t0_ms=now_ms + 2000 * n))
        for _ in range(2):
            replay_store(
                database.uri,
                workspace=database.workspace,
                read=shelf.read,
                tracked=shelf.tracked(experiment),
            )
        query = "SELECT name, start_time, end_time FROM runs ORDER BY start_time DESC"
        newest = database.rows(query)
        assert [name for name, *_ in newest][:4] == [*REFERENCES[::-1]]
        assert len(newest) == len(REFERENCES) + len(shelf.trials)  # none was deleted
        if seeds:  # they follow the last seed at once: none is dated into the future
            last = [start for name, start, _ in newest if name == f"seed {seeds[-1]}"]
            assert [start for _, start, _ in newest[:4]] == [last[0] + n for n in (4, 3, 2, 1)]
        for name, start, end in newest[:4]:
            assert end == start
            assert {at for *_, at in database.points(name)} == {start}


def test_values_that_are_known_are_not_magnified_until_rounding_looks_like_a_difference() -> None:
    charts = {
        each["metricKey"]: each["range"] for each in saved_view(EXPERIMENT)["compareRunCharts"]
    }
    assert charts["true_mi_bits"] == {"yMin": 0.0, "yMax": 1.25 * 1.9991}
    assert charts["mi_bits"] == charts["test_mi_bits"] == {}
    truth = {**MANIFEST["claims"][1], "reported": 0.0}
    [chart] = saved_view(make_experiment(claims=[truth]))["compareRunCharts"]
    assert chart["range"] == {"yMin": -1.0, "yMax": 1.0}


def chart_limits(database: Database, metric: str) -> dict[str, float]:
    [(view,)] = database.rows(
        "SELECT value FROM experiment_tags WHERE key = ?", "mlflow.sharedViewState.curves"
    )
    charts = json.loads(json.loads(view)["state"])["compareRunCharts"]
    [limits] = [chart["range"] for chart in charts if chart["metricKey"] == metric]
    return dict(limits)


def test_a_chart_has_no_limits_once_a_seed_lies_outside_them(database: Database) -> None:
    replay(database, Shelf(make_trial(0, 3, done=3)))
    assert chart_limits(database, "true_mi_bits") == {"yMin": 0.0, "yMax": 1.25 * 1.9991}
    far = make_trial(1, 3, done=3)
    epochs = tuple(
        replace(epoch, metrics={**epoch.metrics, "true_mi_bits": value})
        for epoch, value in zip(far.epochs, (2.0, float("nan"), -7.0), strict=True)
    )
    shelf = Shelf(make_trial(0, 3, done=3), replace(far, epochs=epochs))
    replay(database, shelf)
    assert chart_limits(database, "true_mi_bits") == {}
    before = database.rows("SELECT key, value FROM experiment_tags ORDER BY key")
    replay(database, shelf)
    replay(database, Shelf(make_trial(0, 3, done=3)))  # another workspace knows of no such seed
    assert database.rows("SELECT key, value FROM experiment_tags ORDER BY key") == before


@pytest.mark.parametrize(
    ("trial", "status"),
    [
        (make_trial(epochs=5, done=5), "FINISHED"),
        (make_trial(epochs=5), "KILLED"),
        (make_trial(epochs=9, done=5, finals=(5,)), "KILLED"),
        (
            make_trial(epochs=5, failure=Failure(FailureKind.SCIENTIFIC, "NaN", "mi is nan", 5)),
            "FAILED",
        ),
    ],
)
def test_a_run_ends_as_its_trial_did(database: Database, trial: StoredTrial, status: str) -> None:
    replay(database, Shelf(trial))
    assert database.statuses()["seed 0"] == status


def test_a_failed_trial_says_what_failed_and_keeps_its_epochs(database: Database) -> None:
    failure = Failure(FailureKind.SCIENTIFIC, "NotFinite", "mi_bits is nan " + "x" * 9000, 3)
    replay(database, Shelf(make_trial(epochs=3, failure=failure)))
    tags = database.tags("seed 0")
    assert tags["failure.kind"] == "scientific"
    assert tags["failure.error"] == "NotFinite"
    assert tags["failure.message"].startswith("mi_bits is nan x")
    assert len(database.points("seed 0")) == 3 * 4


def test_a_trial_that_failed_at_once_has_a_run_too(database: Database) -> None:
    shelf = Shelf(make_trial(epochs=0, failure=Failure(FailureKind.SCIENTIFIC, "E", "m", 0)))
    replay(database, shelf)
    assert database.statuses()["seed 0"] == "FAILED"
    before = database.counts()
    assert replay(database, shelf).points == 0
    assert database.counts() == before


def test_a_failure_that_a_later_attempt_got_past_is_gone(database: Database) -> None:
    lost = Failure(FailureKind.INFRASTRUCTURE, "WorkerCrashedError", "gone", 3)
    shelf = Shelf(make_trial(epochs=3, failure=lost))
    replay(database, shelf)
    shelf.put(make_trial(epochs=5, done=5))
    replay(database, shelf)
    assert database.statuses()["seed 0"] == "FINISHED"
    assert not [name for name in database.tags("seed 0") if name.startswith("failure.")]


def test_no_page_is_kept_once_it_is_attached(database: Database) -> None:
    class Page(str):
        __slots__ = ("__weakref__",)

    shelf = Shelf(make_trial(epochs=1, done=1))
    projector = Projector(
        database.uri,
        workspace=database.workspace,
        read=shelf.read,
        tracked=shelf.tracked(EXPERIMENT),
        kept=nothing_kept,
    )
    page = Page("# Report")
    kept = weakref.ref(page)
    projector.conclude(Conclusion("toy-4", "REPRODUCED", True, {"report.md": page}))
    del page
    gc.collect()
    assert kept() is None
    projector.project(next(iter(projector.trials)), live=False)
    assert database.tags("seed 0")["verdict"] == "REPRODUCED"


def test_replaying_twice_does_nothing(database: Database, tmp_path: Path) -> None:
    shelf = Shelf(
        make_trial(0, 10, done=10, finals=(10,)),
        make_trial(1, 4),
        make_trial(2, 3, failure=Failure(FailureKind.SCIENTIFIC, "NaN", "nan", 3)),
    )
    figure = tmp_path / "curve.svg"
    figure.write_text("<svg/>")
    conclusion = Conclusion("toy-4", "REPRODUCED", True, {"report.md": "# Report"}, (figure,))
    replay(database, shelf, conclusion)
    written = database.rows("SELECT * FROM tags"), database.rows("SELECT * FROM runs")
    counts = database.counts()
    for again in (replay(database, shelf, conclusion), replay(database, shelf)):
        assert again.points == 0
        assert database.counts() == counts
    assert (database.rows("SELECT * FROM tags"), database.rows("SELECT * FROM runs")) == written


def test_a_trial_continued_from_10_to_50_epochs_appends(database: Database) -> None:
    shelf = Shelf(make_trial(epochs=10, done=10, finals=(10,)))
    first = replay(database, shelf)
    run, points = database.run_id("seed 0"), database.points("seed 0")
    shelf.put(make_trial(epochs=50, done=50, finals=(10, 50)))
    second = replay(database, shelf)
    assert database.run_id("seed 0") == run
    assert set(points) < set(database.points("seed 0"))
    assert second.points == 40 * 4 + 3
    assert len(database.points("seed 0")) == 50 * 4 + 2 * 3
    assert first.points > 0


def test_a_trial_recorded_afresh_replaces_the_run_of_the_old_recording(
    database: Database,
) -> None:
    replay(database, Shelf(make_trial(epochs=5, done=5)))
    again = make_trial(epochs=3, done=3, t0_ms=T0_MS + 10**7)
    replay(database, Shelf(again))
    assert {at for _, _, _, at in database.points("seed 0")} == {
        record.ended_ms for record in again.epochs
    }


def test_a_reported_value_that_was_corrected_replaces_the_papers_run(database: Database) -> None:
    shelf = Shelf()
    replay(database, shelf)
    curve = MANIFEST["claims"][0]
    changed = make_experiment(claims=[{**curve, "reported": {1: 0.6}}])
    replay_store(
        database.uri,
        workspace=database.workspace,
        read=shelf.read,
        tracked=shelf.tracked(changed),
    )
    assert database.values("paper") == {("mi_bits", 1): 0.6}


def test_a_trial_that_two_experiments_ask_for_has_a_run_in_each(database: Database) -> None:
    shelf = Shelf(make_trial(epochs=2, done=2))
    replay_store(
        database.uri,
        workspace=database.workspace,
        read=shelf.read,
        tracked=shelf.tracked(EXPERIMENT, make_experiment("toy-8")),
    )
    runs = database.rows("SELECT experiment_id FROM runs WHERE name = 'seed 0'")
    assert len(set(runs)) == 2


def test_two_workspaces_share_an_experiment_and_keep_their_own_runs(
    database: Database, tmp_path: Path
) -> None:
    shelf = Shelf(make_trial(epochs=2, done=2))
    for workspace in (database.workspace, tmp_path / "other"):
        replay_store(
            database.uri, workspace=workspace, read=shelf.read, tracked=shelf.tracked(EXPERIMENT)
        )
    assert database.rows("SELECT count(*) FROM experiments WHERE name = 'toy-4'") == [(1,)]
    tags = database.rows("SELECT DISTINCT value FROM tags WHERE key = 'harness.workspace'")
    assert len(tags) == 2
    assert database.rows("SELECT count(*) FROM runs WHERE name = 'seed 0'") == [(2,)]


def test_the_verdict_and_the_report_go_to_the_runs(database: Database, tmp_path: Path) -> None:
    shelf = Shelf(make_trial(0, 2, done=2), make_trial(1, 2, done=2))
    figure = tmp_path / "curve.svg"
    figure.write_text("<svg/>")
    conclusion = Conclusion(
        experiment="toy-4",
        verdict="NOT REPRODUCED",
        as_expected=False,
        pages={"report.md": "# Report\n", "report.html": "<p>Report</p>"},
        files=(figure,),
        whole=Telling("They differ.", {"reported": "1.9"}),
        trials={make_trial(1).spec.id: Telling("This one differs.", {"difference": "0.3"})},
    )
    replay(database, shelf, conclusion)
    for name in (*REFERENCES, "seed 0", "seed 1"):
        assert database.tags(name)["verdict"] == "NOT REPRODUCED"
        assert database.tags(name)["verdict.as_expected"] == "false"
    assert database.tags("paper")["mlflow.note.content"].startswith("They differ.")
    assert database.tags("paper")["reported"] == "1.9"
    assert database.tags("seed 1")["mlflow.note.content"].startswith("This one differs.")
    assert database.tags("seed 1")["difference"] == "0.3"
    assert "difference" not in database.tags("seed 0")
    artifacts = database.workspace / "mlflow/artifacts/toy-4" / database.run_id("paper")
    assert (artifacts / "artifacts/report.md").read_text() == "# Report\n"
    assert (artifacts / "artifacts/report.html").read_text() == "<p>Report</p>"
    assert (artifacts / "artifacts/curve.svg").read_text() == "<svg/>"
    replay(database, shelf)
    assert database.tags("seed 1")["mlflow.note.content"].startswith("This one differs.")
    new = replace(conclusion, verdict="REPRODUCED", pages={"report.md": "# New\n"})
    replay(database, shelf, new)
    assert (artifacts / "artifacts/report.md").read_text() == "# New\n"
    assert database.tags("seed 0")["verdict"] == "REPRODUCED"


def test_what_trials_printed_and_left_is_sent_once(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(database.workspace)
    talking, silent = make_trial(0, 2), make_trial(1, 2)
    left = b"weights"
    sha256 = digest(left)
    said: list[Message] = [
        Output(Printed.STDOUT, b"loss 1\n"),
        Artifact("deep/model.bin", len(left), sha256),
        ArtifactPart(left),
    ]
    with store.lock():
        for trial, side in ((talking, said), (silent, [])):
            all_of_it = [Started(0, PROVENANCE), *trial.epochs, *side, Finished(2)]
            store.append([(trial.spec, message) for message in all_of_it])
    calls = list[str]()
    log_artifacts = MlflowClient.log_artifacts

    def counted(client: MlflowClient, run_id: str, folder: str) -> None:
        calls.append(run_id)
        log_artifacts(client, run_id, folder)

    monkeypatch.setattr(MlflowClient, "log_artifacts", counted)

    def synced() -> dict[str, bytes]:
        summary = replay_store(
            database.uri,
            workspace=database.workspace,
            read=store.read,
            kept=store.kept,
            tracked=[Tracked(EXPERIMENT, tuple(store.trials()))],
        )
        assert (summary.trouble, summary.left) == (None, 0)
        folder = database.workspace / "mlflow/artifacts/toy-4"
        files = (path for path in folder.rglob("*") if path.is_file())
        assert not any(path.is_symlink() for path in folder.rglob("*"))
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}

    first = synced()
    run = database.run_id("seed 0")
    assert first == {
        f"{run}/artifacts/stdout.txt": b"loss 1\n",
        f"{run}/artifacts/artifacts/deep/model.bin": left,
    }
    assert synced() == first
    assert calls == [run]
    with store.lock():  # a later attempt prints more
        more = [Started(0, PROVENANCE), *talking.epochs, Output(Printed.STDERR, b"!"), Finished(2)]
        store.append([(talking.spec, message) for message in more])
    assert synced() == {**first, f"{run}/artifacts/stderr.txt": b"!"}
    assert calls == [run, run]
    assert "harness.kept" not in database.tags("seed 1")


def test_a_run_longer_than_one_call_may_be_arrives_whole(database: Database) -> None:
    replay(database, Shelf(make_trial(epochs=450, done=450)))
    assert len(database.points("seed 0")) == 450 * 4


def test_the_cells_of_a_grid_are_one_experiment_with_runs_named_by_cell(database: Database) -> None:
    axes = {"shape": ("1*64", "8*8")}
    cells = [
        make_experiment(cell.id).model_copy(update={"cell": cell})
        for cell in (Cell("toys", "Toys", axes, {"shape": shape}) for shape in axes["shape"])
    ]
    own = [make_trial(epochs=3, done=3), make_trial(epochs=3, done=3)]
    trials = {
        trial.spec.id: trial
        for shape, trial in zip(axes["shape"], own, strict=True)
        for trial in (replace(trial, spec=replace(trial.spec, parameters={"shape": shape})),)
    }
    tracked = [Tracked(cell, (name,)) for cell, name in zip(cells, trials, strict=True)]
    pages = Conclusion(
        experiment=cells[1].id,
        verdict="REPRODUCED",
        as_expected=True,
        pages={"report.md": "# Toys"},
    )
    for _ in range(2):  # the second time nothing is left to send
        summary = replay_store(
            database.uri,
            workspace=database.workspace,
            read=trials.get,
            tracked=tracked,
            conclusions=[pages],
        )
        assert (summary.trouble, summary.left) == (None, 0)
    names = database.rows("SELECT name FROM experiments WHERE name != 'Default'")
    assert names == [("toys",)]
    runs = sorted(name for (name,) in database.rows("SELECT name FROM runs"))
    assert runs == sorted(
        f"{shape}: {name}" for shape in axes["shape"] for name in ("seed 0", *REFERENCES)
    )
    # In the list of runs each cell's stand together.
    listed = MlflowClient(database.uri).search_runs(["1"], order_by=["tags.`harness.order`"])
    assert [run.info.run_name for run in listed] == [
        f"{shape}: {name}" for shape in axes["shape"] for name in ("seed 0", *REFERENCES)
    ]
