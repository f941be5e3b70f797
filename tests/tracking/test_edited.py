"""MLflow as users treat it: they delete, rename and edit, and other programs change it."""

import logging
import os
import re
import shlex
import sqlite3
import subprocess
import sys
import time
from contextlib import closing

import pytest
from mlflow import MlflowClient

from harness.manifest import Experiment
from harness.tracking import Summary, Tracked, Tracker, chart_urls, replay_store
from tests.tracking.conftest import REFERENCES, Database, Shelf, make_experiment, make_trial
from tests.waiting import wait_until

ONE, OTHER = make_experiment("one"), make_experiment("other")
POINTS = 4 * 3 + 16
"""Of three epochs of four metrics, and of the four references."""


def shelf() -> Shelf:
    return Shelf(make_trial(0, 3, done=3))


def tracked(held: Shelf, *experiments: Experiment) -> list[Tracked]:
    return [Tracked(experiment, tuple(held.trials)) for experiment in experiments]


def send(database: Database, held: Shelf, *experiments: Experiment) -> Summary:
    return replay_store(
        database.uri,
        workspace=database.workspace,
        read=held.read,
        tracked=tracked(held, *(experiments or (ONE,))),
    )


def number(database: Database, name: str) -> str:
    [(found,)] = database.rows("SELECT experiment_id FROM experiments WHERE name = ?", name)
    return str(found)


def test_a_deleted_experiment_holds_up_no_other_and_is_told_with_how_to_restore_it(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    held = shelf()
    assert send(database, held, ONE, OTHER).points == 2 * POINTS
    client = MlflowClient(database.uri)
    client.delete_experiment(number(database, "one"))
    held.put(make_trial(0, 5, done=5))
    with caplog.at_level(logging.WARNING):
        summary = send(database, held, ONE, OTHER)
    assert (summary.points, summary.left, summary.trouble) == (2 * 4, 0, None)
    [told] = summary.deleted
    assert caplog.messages == [told]
    assert told.startswith("experiment one: it was deleted in MLflow")
    # The command that the message gives does what it says.
    command = re.search(r"to restore it: (\S+)=(\S+) mlflow (.*?);", told)
    assert command is not None
    subprocess.run(
        [sys.executable, "-m", "mlflow", *shlex.split(command[3])],
        env={**os.environ, command[1]: shlex.split(command[2])[0]},
        check=True,
        capture_output=True,
    )
    mended = send(database, held, ONE, OTHER)
    assert (mended.points, mended.left, mended.deleted) == (2 * 4, 0, ())
    assert send(database, held, ONE, OTHER).points == 0


def test_an_experiment_that_is_deleted_during_a_run_stops_the_tracking_of_no_other(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    held = shelf()
    with (
        caplog.at_level(logging.WARNING),
        Tracker(
            database.uri,
            workspace=database.workspace,
            read=held.read,
            tracked=tracked(held, ONE, OTHER),
        ) as tracker,
    ):
        trial_id = held.put(make_trial(0, 4))
        tracker.notify(trial_id)
        query = "SELECT count(*) FROM metrics WHERE step = 4"
        wait_until(lambda: database.rows(query) == [(2 * 4,)], "both runs")
        MlflowClient(database.uri).delete_experiment(number(database, "one"))
        tracker.notify(held.put(make_trial(0, 6, done=6)))
        summary = tracker.close()
    assert (summary.left, summary.trouble) == (0, None)
    assert [message.split(":")[0] for message in caplog.messages] == ["experiment one"]
    query = "SELECT r.status FROM runs r WHERE r.name = 'seed 0' AND r.experiment_id = ?"
    assert database.rows(query, number(database, "other")) == [("FINISHED",)]


def test_a_renamed_experiment_is_followed_and_keeps_its_new_name(database: Database) -> None:
    held = shelf()
    send(database, held)
    client = MlflowClient(database.uri)
    client.rename_experiment(number(database, "one"), "my favourite")
    before = database.counts()
    again = send(database, held)
    assert (again.points, again.trouble) == (0, None)
    assert database.counts() == before
    assert number(database, "my favourite")
    assert chart_urls(database.uri, "").keys() == {"one"}


def test_a_strangers_experiment_of_the_new_name_is_not_taken_for_ours(database: Database) -> None:
    held = shelf()
    send(database, held)
    client = MlflowClient(database.uri)
    client.rename_experiment(number(database, "one"), "mine")
    client.create_experiment("one")
    assert send(database, held).points == 0


@pytest.mark.parametrize("name", ["seed 0", "paper"])
def test_a_run_that_somebody_deleted_is_made_again_from_the_store(
    database: Database, name: str
) -> None:
    held = shelf()
    send(database, held)
    MlflowClient(database.uri).delete_run(database.run_id(name))
    summary = send(database, held)
    assert (summary.points > 0, summary.left, summary.trouble) == (True, 0, None)
    assert set(database.statuses()) == {*REFERENCES, "seed 0"}
    assert send(database, held).points == 0


def test_a_run_that_is_deleted_while_it_is_recorded_goes_on_without_a_warning(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    held = shelf()
    with (
        caplog.at_level(logging.WARNING),
        Tracker(
            database.uri, workspace=database.workspace, read=held.read, tracked=tracked(held, ONE)
        ) as tracker,
    ):
        tracker.notify(held.put(make_trial(0, 4)))
        wait_until(lambda: database.statuses().get("seed 0") == "RUNNING", "the run")
        run_id = database.run_id("seed 0")
        query = "SELECT count(*) FROM metrics WHERE run_uuid = ?"
        wait_until(lambda: database.rows(query, run_id) == [(4 * 4,)], "its points")
        MlflowClient(database.uri).delete_run(run_id)
        tracker.notify(held.put(make_trial(0, 6, done=6)))
        summary = tracker.close()
    assert (summary.left, summary.trouble) == (0, None)
    assert caplog.messages == []
    assert len(database.points("seed 0")) == 6 * 4


TAGS = ["harness.epochs", "harness.finals", "harness.kind", "harness.origin", "harness.trial"]


@pytest.mark.parametrize("tag", [*TAGS, "harness.workspace", "harness.experiment", "manifest"])
@pytest.mark.parametrize("value", ["what?", None])
def test_whatever_is_done_to_a_tag_the_run_is_whole_again(
    database: Database, tag: str, value: str | None
) -> None:
    held = shelf()
    send(database, held)
    expected = database.values("seed 0")
    client = MlflowClient(database.uri)
    for name in ("seed 0", "paper"):
        if value is None:
            if tag in database.tags(name):
                client.delete_tag(database.run_id(name), tag)
        else:
            client.set_tag(database.run_id(name), tag, value)
    summary = send(database, held)
    assert (summary.left, summary.trouble) == (0, None)
    query = "SELECT run_uuid FROM runs WHERE name = 'seed 0' AND lifecycle_stage = 'active'"
    for (run_id,) in database.rows(query):
        rows = database.rows('SELECT "key", step, value FROM metrics WHERE run_uuid = ?', run_id)
        assert {(key, step): metric for key, step, metric in rows} == expected
    assert send(database, held).points == 0


def test_a_description_that_somebody_wrote_stays(database: Database) -> None:
    held = shelf()
    send(database, held)
    client = MlflowClient(database.uri)
    client.set_tag(database.run_id("seed 0"), "mlflow.note.content", "My own words.")
    client.set_experiment_tag(number(database, "one"), "mlflow.note.content", "Mine too.")
    held.put(make_trial(0, 5, done=5))
    assert send(database, held).trouble is None
    assert database.tags("seed 0")["mlflow.note.content"] == "My own words."
    query = "SELECT value FROM experiment_tags WHERE key = 'mlflow.note.content'"
    assert database.rows(query) == [("Mine too.",)]
    assert len(database.points("seed 0")) == 5 * 4


def test_a_database_of_a_newer_mlflow_is_told_by_that_name(database: Database) -> None:
    with closing(sqlite3.connect(database.path)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = 'f00ba5'")
    summary = send(database, shelf())
    assert summary.left == 2
    assert "probably a newer one (schema f00ba5)" in str(summary.trouble)


@pytest.mark.parametrize("content", [b"no database at all" * 100, None])
def test_a_file_that_is_no_database_costs_no_time(
    database: Database, content: bytes | None
) -> None:
    database.path.unlink()
    if content is None:
        database.path.mkdir()
    else:
        database.path.write_bytes(content)
    began = time.monotonic()
    summary = send(database, shelf())
    assert "DatabaseError" in str(summary.trouble) or "OperationalError" in str(summary.trouble)
    assert time.monotonic() - began < 60  # MLflow by itself tries for more than 100 s
