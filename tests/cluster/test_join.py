"""Drivers that join a cluster: by address, by job, with code and data of their own."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

from harness.errors import Exit
from harness.source import package_digest
from harness.store import Store
from tests.cli.conftest import TINY, command
from tests.cluster.clusters import REPOSITORY, Cluster, other_torch
from tests.cluster.walks import WALK, install_walks
from tests.waiting import HANG_S

SUBMIT = REPOSITORY / "ci" / "cluster" / "submit.py"


def run(
    cluster: Cluster, *arguments: str | Path, **environment: str
) -> "subprocess.CompletedProcess[str]":
    """A command with the cluster's token, somewhere else than in the repository."""
    return subprocess.run(
        command(*arguments),
        env=cluster.environment | environment,
        cwd=cluster.folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=HANG_S,
    )


def digests(workspace: Path) -> set[str]:
    """Which code made the records, as the workers said."""
    store = Store(workspace)
    trials = [store.read(trial_id) for trial_id in store.trials()]
    return {one.source.digest for trial in trials if trial for one in trial.provenance}


def test_the_code_of_the_driver_reaches_workers_that_have_none_of_it(
    joinable: Cluster, tmp_path: Path
) -> None:
    """A harness that is edited, and a workload's package that only the driver has."""
    packages = tmp_path / "packages"
    install_walks(packages)
    shutil.copytree(
        REPOSITORY / "harness", packages / "harness", ignore=shutil.ignore_patterns("__pycache__")
    )
    with (packages / "harness" / "source.py").open("a") as file:
        file.write("# edited\n")
    manifest = tmp_path / "walk.yaml"
    manifest.write_text(WALK)
    workspace = tmp_path / "results"
    arguments = ("--workspace", workspace, "--tracking-uri", "none", "--address", joinable.address)
    done = run(joinable, "run", manifest, *arguments, PYTHONPATH=str(packages))
    assert done.returncode == Exit.AS_EXPECTED, done.stdout + done.stderr
    (used,) = digests(workspace)
    assert used != package_digest()


def test_a_data_set_reaches_workers_through_ray_alone(
    joinable: Cluster, tmp_path: Path, mnist_cache: Path
) -> None:
    """The nodes know no cache, and one that they would make up is empty afterwards."""
    manifest = REPOSITORY / "experiments" / "image-pair-4.yaml"
    workspace = tmp_path / "results"
    few = ("--seeds", "0", "--epochs", "1", "--tracking-uri", "none", "--json", "-")
    where = ("--workspace", workspace, "--address", joinable.address, "--data", mnist_cache)
    done = run(joinable, "run", manifest, *few, *where)
    (experiment,) = json.loads(done.stdout)["experiments"]
    assert experiment["failures"] == []
    assert digests(workspace) == {package_digest()}
    assert not list((joinable.folder / "home").rglob("*ubyte*"))


def test_a_node_with_another_torch_is_named_and_gets_no_trial(
    joinable: Cluster, tmp_path: Path
) -> None:
    older = other_torch(tmp_path)
    workspace = tmp_path / "results"
    arguments = ("--workspace", workspace, "--tracking-uri", "none", "--address", joinable.address)
    with joinable.node("--num-cpus", "1", environment={"PYTHONPATH": str(older)}):
        done = run(joinable, "run", TINY, *arguments)
    assert done.returncode == Exit.AS_EXPECTED, done.stdout + done.stderr
    assert " ".join(done.stderr.split()).count("torch 1.13.1 there and") == 1
    assert "Traceback" not in done.stderr
    for trial_id in Store(workspace).trials():
        trial = Store(workspace).read(trial_id)
        assert trial is not None
        assert len(trial.provenance) == 1


def test_an_address_of_another_kind_is_refused_before_anything_is_made(
    joinable: Cluster, tmp_path: Path
) -> None:
    """Which these are: tests/test_cluster_address.py."""
    address = "ray://127.0.0.1:10001"
    done = run(joinable, "run", TINY, "--workspace", tmp_path / "results", "--address", address)
    assert done.returncode == Exit.USAGE
    assert "ray job submit" in done.stderr
    assert done.stdout == ""
    assert not (tmp_path / "results").exists()


def test_a_wrong_token_is_refused_in_words(joinable: Cluster, tmp_path: Path) -> None:
    other = tmp_path / "token"
    other.write_text("0" * 64)
    arguments = ("--workspace", tmp_path / "results", "--tracking-uri", "none")
    done = run(
        joinable,
        *("run", TINY, *arguments, "--address", joinable.address),
        RAY_AUTH_TOKEN_PATH=str(other),
    )
    assert done.returncode == Exit.INCOMPLETE, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert "0" * 64 not in done.stdout + done.stderr


def submit(
    cluster: Cluster, folder: Path, *arguments: str | Path
) -> "subprocess.CompletedProcess[str]":
    """The wrapper of `ray job submit`, called from anywhere."""
    return subprocess.run(
        [sys.executable, SUBMIT, cluster.dashboard, *arguments],
        env=cluster.environment,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=HANG_S,
    )


def test_the_command_runs_inside_a_submitted_job(joinable: Cluster, tmp_path: Path) -> None:
    """It finds the cluster whose job it is, and its own exit code comes back."""
    workspace = tmp_path / "results"
    arguments = ("run", "tests/cli/tiny.yaml", "--workspace", workspace, "--tracking-uri", "none")
    done = submit(joinable, tmp_path, *arguments)
    said = done.stdout + done.stderr
    assert done.returncode == Exit.AS_EXPECTED, said
    assert "2 trials, 0 of them done" in said
    assert len(list(Store(workspace).trials())) == 2
    assert digests(workspace) == {package_digest()}
    more = submit(joinable, tmp_path, "check", *arguments[1:4], "--seeds", "0-5")
    assert more.returncode == Exit.INCOMPLETE, more.stdout + more.stderr


def test_a_workspace_that_would_not_outlast_the_job_is_refused(
    joinable: Cluster, tmp_path: Path
) -> None:
    for workspace in ((), ("--workspace", "results"), ("--workspace=results",)):
        done = submit(joinable, tmp_path, "run", "experiments", *workspace)
        assert (done.returncode, done.stdout) == (Exit.USAGE, "")
        assert "absolute path" in done.stderr
