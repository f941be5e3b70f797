"""One MLflow server on PostgreSQL and several drivers: nothing twice, nothing left running."""

import os
import shutil
import stat
import subprocess
from collections import Counter
from contextlib import suppress
from pathlib import Path
from urllib.request import urlopen

import pytest
from mlflow import MlflowClient

from harness import workloads
from harness.errors import Exit
from harness.manifest import load
from harness.plan import Selection, jobs
from harness.source import source
from harness.store import Store
from harness.trial import attempt
from tests.cli.conftest import (  # noqa: F401 - fixtures, used by their names
    TINY,
    command,
    environment,
)
from tests.cluster.conftest import Mlflow
from tests.waiting import HANG_S

DRIVERS = 4


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with every trial of the tiny experiment in it, so that drivers only track."""
    store = Store(tmp_path_factory.mktemp("trained") / "results")
    registry = workloads.registry()
    with store.lock():
        for job in jobs(load([TINY], registry), registry, Selection()):
            messages = attempt(job, registry[job.spec.workload], data={}, source=source())
            store.append([(job.spec, message) for message in messages])
    return store.root


def driver(
    environment: dict[str, str],  # noqa: F811
    workspace: Path,
    url: str,
) -> "subprocess.Popen[str]":
    words = command("run", TINY, "--workspace", workspace, "--tracking-uri", url)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(words, env=environment, text=True, **pipes)  # type: ignore[call-overload]


def test_drivers_that_begin_at_once_make_one_experiment_and_each_its_own_runs(
    environment: dict[str, str],  # noqa: F811
    mlflow_server: Mlflow,
    trained: Path,
    tmp_path: Path,
) -> None:
    workspaces = [
        Path(shutil.copytree(trained, tmp_path / str(number))) for number in range(DRIVERS)
    ]
    drivers = [driver(environment, workspace, mlflow_server.url) for workspace in workspaces]
    for each in drivers:
        printed, said = each.communicate(timeout=HANG_S)
        assert each.returncode == Exit.AS_EXPECTED, said
        assert "does not work" not in printed + said
    client = MlflowClient(mlflow_server.url)
    (found,) = [one for one in client.search_experiments() if one.name == "tiny"]
    runs = client.search_runs([found.experiment_id])
    keys = Counter(
        (run.data.tags["harness.workspace"], run.data.tags["harness.trial"]) for run in runs
    )
    assert set(keys.values()) == {1}
    assert len({workspace for workspace, _ in keys}) == DRIVERS
    names = Counter(run.info.run_name for run in runs)
    assert names.keys() >= {"seed 0", "seed 1", "paper"}
    assert set(names.values()) == {DRIVERS}
    assert {run.info.status for run in runs} == {"FINISHED"}
    with urlopen(f"{mlflow_server.url}/harness", timeout=60) as landing:
        assert '<th scope="row"><a href="/#/experiments/' in landing.read().decode()


def test_a_second_driver_of_a_workspace_is_refused_and_the_first_one_named(
    environment: dict[str, str],  # noqa: F811
    mlflow_server: Mlflow,
    trained: Path,
    tmp_path: Path,
) -> None:
    workspace = Path(shutil.copytree(trained, tmp_path / "results"))
    with Store(workspace).lock():
        second = driver(environment, workspace, mlflow_server.url)
        _, said = second.communicate(timeout=HANG_S)
    assert second.returncode == Exit.INCOMPLETE
    assert f"in use by the driver with pid {os.getpid()} on " in said.replace("\n", " ")


def test_the_password_is_nobody_else_s_to_read_and_in_no_command_line(
    mlflow_server: Mlflow,
) -> None:
    file = mlflow_server.folder / "pgpass"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    password = file.read_text().strip().rpartition(":")[2]
    assert len(password) >= 24
    assert not (mlflow_server.folder / "password").exists()
    log = (mlflow_server.folder / "database" / "log").read_text()
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it has ended since
            lines.append(path.read_bytes())
    assert any(b"postgres" in line for line in lines)
    assert not any(password.encode() in line for line in lines)
    assert password not in log
