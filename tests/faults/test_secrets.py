"""Passwords and tokens reach no log, no tag, no page and no file that others can read."""

import logging
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UsageError, without_secrets
from harness.plan import Selection
from harness.session import Session
from harness.session.tracking import TrackingError, chart_links, open_tracking
from harness.store import Store
from harness.tracking import Tracker, replay_store
from tests.faults.world import World
from tests.tracking.conftest import Shelf, make_experiment, make_trial

SECRET = "hunter2x"
ADDRESSES = [
    f"http://user:{SECRET}@127.0.0.1:1",
    f"https://user:{SECRET}@127.0.0.1:1/mlflow",
    f"postgresql://user:{SECRET}@127.0.0.1:1/db",
    f"postgresql+psycopg://user:{SECRET}@127.0.0.1:1/db",
    f"postgresql://127.0.0.1:1/db?user=u&password={SECRET}",
    f"mysql+pymysql://user:{SECRET}@127.0.0.1:1/db",
    f"nonsense://user:{SECRET}@127.0.0.1",
]

MALFORMED = [
    f"postgresql://user:p@{SECRET}@127.0.0.1:1/db",
    f"http://user:{SECRET}@[::bad",
    f"http://user:{SECRET}@127.0.0.1:notaport",
    f"postgresql://user:p/{SECRET}@127.0.0.1:1/db",
    f"postgresql://user:{SECRET}@127.0.0.1:notaport/db",
]


@pytest.mark.parametrize("uri", ADDRESSES)
@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_address_that_does_not_work_is_told_without_its_password(
    uri: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    # MLflow tries ten times, for 102 s, to reach a database whose driver is installed.
    monkeypatch.setattr("mlflow.store.db.utils.MAX_RETRY_COUNT", 1)
    shelf = Shelf(make_trial(0, 3))
    tracked = shelf.tracked(make_experiment())
    options = {"workspace": tmp_path, "read": shelf.read, "tracked": tracked}
    with caplog.at_level(logging.DEBUG):
        with Tracker(uri, **options) as tracker:
            live = tracker.close(timeout_s=20)
        replayed = replay_store(uri, **options)
    assert live.left > 0
    assert live.trouble
    assert replayed.left > 0
    said = "".join(map(str, [caplog.messages, *capfd.readouterr(), live, replayed]))
    assert "sends later what it misses" in said
    assert SECRET not in said


@pytest.mark.parametrize("uri", MALFORMED)
def test_what_is_no_address_is_refused_before_anything_is_run(uri: str, tmp_path: Path) -> None:
    session = Session((), Selection(), Store(tmp_path))
    with pytest.raises(UsageError, match="is no address") as refused:
        open_tracking(uri, session).__enter__()
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize("uri", [*ADDRESSES, *MALFORMED])
def test_a_page_is_not_linked_to_an_address_with_a_password(uri: str) -> None:
    with pytest.raises((TrackingError, UsageError)) as refused:
        chart_links(uri)
    assert SECRET not in str(refused.value)


def test_links_on_a_page_hold_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def urls(uri: str, base: str) -> dict[str, str]:
        asked.extend([uri, base])
        return {"walk": f"{base}/#/experiments/1"}

    monkeypatch.setattr("harness.tracking.chart_urls", urls)
    address = f"http://user:{SECRET}@127.0.0.1:5000"
    assert chart_links(address) == {"walk": "http://127.0.0.1:5000/#/experiments/1"}
    assert asked == [address, "http://127.0.0.1:5000"]


@given(
    user=st.text(alphabet=st.characters(categories=["L", "N"]), max_size=5),
    password=st.text(
        alphabet=st.characters(categories=["L", "N", "P", "S"]), min_size=6, max_size=20
    ),
)
def test_whatever_stands_before_the_host_is_hidden(user: str, password: str) -> None:
    told = without_secrets(f"cannot reach postgresql://{user}:{password}@the.host/db: it is down")
    assert told == "cannot reach postgresql://***@the.host/db: it is down"


def test_a_whole_run_and_its_night_leave_no_secret_behind(world: World) -> None:
    """Every byte printed or written: the workspace, the home and the temporary folder."""
    world.walk(epochs=3, seeds="[0]")
    (world.folder / "night.yaml").write_text(
        "format: 1\nwebhook_env: HOOK\nnights: {light: {experiments: [walk.yaml]}}\n"
    )
    secrets = {
        "MLFLOW_TRACKING_URI": f"http://user:{SECRET}@127.0.0.1:1",
        "MLFLOW_TRACKING_PASSWORD": SECRET,
        "MLFLOW_TRACKING_TOKEN": SECRET,
        "HOOK": f"http://127.0.0.1:1/{SECRET}",
    }
    manifests, world.manifests = world.manifests, []
    night = world.run("nightly", "--config", world.folder / "night.yaml", **secrets)
    world.manifests = manifests
    assert night.returncode == 0, night.stdout
    assert "tracking at http://***@127.0.0.1:1 does not work" in night.stdout
    assert SECRET not in night.stdout
    files = [
        path
        for folder in (world.workspace, world.folder, world.temp)
        for path in folder.rglob("*")
        if path.is_file()
    ]
    assert any(path.name == "environment.json" for path in files)
    assert [path for path in files if SECRET.encode() in path.read_bytes()] == []
