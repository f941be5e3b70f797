"""Servers that are down, broken, slow, or real."""

import logging
import os
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from mlflow import MlflowClient

from harness.tracking import (
    Conclusion,
    Tracker,
    chart_urls,
    default_uri,
    replay_store,
    ui_command,
)
from tests.tracking.conftest import Database, Shelf, make_experiment, make_trial
from tests.waiting import wait_until

EXPERIMENT = make_experiment()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def bad_server(delay_s: float) -> Iterator[str]:
    """Answers every call with 500, after a while."""
    released = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            released.wait(delay_s)
            self.send_response(500)
            self.end_headers()
            self.wfile.write(b"no")

        do_POST = do_GET  # noqa: N815  # http.server's name

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        released.set()
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def trouble(how: str) -> Iterator[str]:
    if how == "down":
        yield f"http://somebody:secret@127.0.0.1:{free_port()}"
    else:
        with bad_server(delay_s=60 if how == "slow" else 0) as uri:
            yield uri


@pytest.mark.parametrize("how", ["down", "broken", "slow"])
def test_trouble_is_told_once_and_slows_nothing(
    how: str, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    shelf = Shelf(*(make_trial(seed, 3, done=3) for seed in range(5)))
    tracked = shelf.tracked(EXPERIMENT)
    with trouble(how) as uri, caplog.at_level(logging.WARNING):
        with Tracker(
            uri, workspace=database.workspace, read=shelf.read, tracked=tracked
        ) as tracker:
            began = time.monotonic()
            for trial_id in shelf.trials:
                tracker.notify(trial_id)
            notified = time.monotonic()
            if how != "slow":
                wait_until(lambda: caplog.records, "a warning")
            summary = tracker.close(timeout_s=2)
            closed = time.monotonic()
        # One call takes 60 s here, so neither waited for one, however busy this machine is.
        assert notified - began < 30
        assert closed - notified < 50
    assert summary.left > 0
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 1
    assert "secret" not in "".join(said) + str(summary)

    mended = replay_store(
        database.uri, workspace=database.workspace, read=shelf.read, tracked=tracked
    )
    assert (mended.left, mended.trouble) == (0, None)
    assert all(len(database.points(f"seed {seed}")) == 3 * 4 for seed in range(5))


def test_sync_tells_that_a_server_is_down_and_gives_up_at_once(tmp_path: Path) -> None:
    shelf = Shelf(make_trial(0, 3), make_trial(1, 3))
    uri = f"http://127.0.0.1:{free_port()}"
    summary = replay_store(
        uri, workspace=tmp_path, read=shelf.read, tracked=shelf.tracked(EXPERIMENT)
    )
    assert summary.left == 3
    assert str(summary.trouble).startswith("ConnectionRefusedError")


@contextmanager
def real_server(workspace: Path) -> Iterator[str]:
    port = free_port()
    command = ui_command(workspace, port)
    process = subprocess.Popen(
        command.argv,
        env=command.env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        _until_it_answers(f"http://127.0.0.1:{port}/health", process)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)


def _until_it_answers(url: str, process: "subprocess.Popen[bytes]") -> None:
    def answers() -> bool:
        try:
            urllib.request.urlopen(url, timeout=5).close()
        except (urllib.error.URLError, OSError):
            return False
        return True

    wait_until(answers, f"an answer from {url}", process=process)


def test_a_real_server_takes_the_same_and_shows_the_report(database: Database) -> None:
    shelf = Shelf(make_trial(0, 10, done=10, finals=(10,)), make_trial(1, 300))
    tracked = shelf.tracked(EXPERIMENT)
    conclusion = Conclusion("toy-4", "REPRODUCED", True, {"report.md": "# Report\n"})
    with real_server(database.workspace) as uri:
        with Tracker(
            uri, workspace=database.workspace, read=shelf.read, tracked=tracked
        ) as tracker:
            for trial_id in shelf.trials:
                tracker.notify(trial_id)
            tracker.conclude([conclusion])
            summary = tracker.close(timeout_s=120)
        assert (summary.left, summary.trouble) == (0, None)
        again = replay_store(uri, workspace=database.workspace, read=shelf.read, tracked=tracked)
        assert (again.points, again.trouble) == (0, None)
        report = f"{uri}/get-artifact?path=report.md&run_uuid={database.run_id('paper')}"
        with urllib.request.urlopen(report, timeout=30) as answer:
            assert answer.read() == b"# Report\n"
        assert chart_urls(uri, uri).keys() == {"toy-4"}
    assert set(database.statuses().values()) == {"FINISHED", "KILLED"}
    assert len(database.points("seed 1")) == 300 * 4


def test_the_server_is_for_this_machine_and_starts_no_jobs(tmp_path: Path) -> None:
    command = ui_command(tmp_path, 5005)
    assert command.argv[command.argv.index("--host") + 1] == "127.0.0.1"
    assert "0.0.0.0" in ui_command(tmp_path, 5005, "0.0.0.0").argv
    assert command.env["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] == "false"
    assert default_uri(tmp_path) in command.argv


def test_the_default_database_does_not_depend_on_where_a_process_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    here = default_uri(Path("results"))
    assert here == f"sqlite:///{tmp_path}/results/mlflow/mlflow.db"


def test_the_chart_view_is_the_one_for_curves(database: Database) -> None:
    """A view of ours only where there is one: MLflow greets a key that it lacks with an error."""
    client = MlflowClient(database.uri)
    number = client.create_experiment("old", tags={"harness.experiment": "old"})
    client.create_experiment("a stranger's")
    view = "workflowType=machine_learning&compareRunsMode=CHART"
    urls = chart_urls(database.uri, "http://127.0.0.1:5000/")
    assert urls == {"old": f"http://127.0.0.1:5000/#/experiments/{number}/runs?{view}"}
    tracked = Shelf().tracked(EXPERIMENT)
    replay_store(database.uri, workspace=database.workspace, read=Shelf().read, tracked=tracked)
    assert chart_urls(database.uri, "")["toy-4"].endswith("&viewStateShareKey=curves")
