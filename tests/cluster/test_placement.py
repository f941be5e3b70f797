"""Which devices trials see that run at the same time, and which nodes a cluster can still bring."""

import json
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from harness.errors import Exit
from tests.cli.conftest import command
from tests.cluster.clusters import REPOSITORY, Cluster, cluster, free_ports, own_address
from tests.cluster.walks import WALK, install_walks
from tests.waiting import HANG_S


def test_whole_devices_and_quarters_share_a_node_and_no_device_is_given_twice(
    tmp_path: Path,
) -> None:
    """Two trials of one device and eight of a quarter, all at once, fill four devices."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.cluster.crowd", tmp_path],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
        timeout=HANG_S,
    )
    shares: defaultdict[str, list[float]] = defaultdict(list)
    for share, visible, by_ray in json.loads(done.stdout):
        assert visible == by_ray
        shares[visible].append(share)
    assert sorted(shares) == ["0", "1", "2", "3"]
    assert sorted(shares.values()) == [[0.25] * 4, [0.25] * 4, [1.0], [1.0]]


def run_walk(found: Cluster, folder: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    packages, manifest = folder / "lib", folder / "walk.yaml"
    install_walks(packages)
    manifest.write_text(WALK)
    arguments = ("--workspace", folder / "results", "--tracking-uri", "none")
    return subprocess.run(
        command("run", manifest, *arguments, "--address", found.address, *options),
        env=found.environment | {"PYTHONPATH": str(packages)},
        capture_output=True,
        text=True,
        check=False,
        timeout=HANG_S,
    )


def test_what_no_node_has_is_refused_with_what_the_cluster_has(
    joinable: Cluster, tmp_path: Path
) -> None:
    done = run_walk(joinable, tmp_path, "--gpus-per-trial", "5")
    assert done.returncode == Exit.INCOMPLETE
    said = " ".join(done.stderr.split())
    assert "walk: a trial wants 1 CPUs and 5 GPUs on one node" in said
    assert "have 4 CPUs and 4 GPUs" in said
    assert "autoscales" not in said


def autoscaling(folder: Path, port: int) -> tuple[list[str], dict[str, str]]:
    """Options and environment of a head that brings a node of 2 CPUs and a GPU when it is asked.

    Ray's own provider of nodes for such tests, which are processes on this machine.
    """
    kinds = {
        "ray.head.default": {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
        "gpu": {
            "resources": {"CPU": 2, "GPU": 1},
            "node_config": {},
            "min_workers": 0,
            "max_workers": 1,
        },
    }
    commands = ("setup_commands", "head_setup_commands", "worker_setup_commands")
    starts = ("initialization_commands", "head_start_ray_commands", "worker_start_ray_commands")
    lists = (*commands, *starts, "cluster_synced_files", "rsync_exclude", "rsync_filter")
    maps = ("auth", "docker", "file_mounts")
    config: dict[str, object] = {
        "cluster_name": "test",
        "max_workers": 1,
        "idle_timeout_minutes": 5,
        "upscaling_speed": 1,
        "provider": {"type": "fake_multinode", "gcs_address": f"{own_address()}:{port}"},
        "file_mounts_sync_continuously": False,
        "available_node_types": kinds,
        "head_node_type": "ray.head.default",
    }
    config |= {name: [] for name in lists} | {name: {} for name in maps}
    file = folder / "autoscaling.json"
    file.write_text(json.dumps(config))
    options = ["--num-cpus", "0", "--num-gpus", "0", f"--autoscaling-config={file}"]
    return options, {"AUTOSCALER_UPDATE_INTERVAL_S": "1", "RAY_FAKE_CLUSTER": "1"}


@pytest.mark.slow
def test_a_node_that_the_cluster_can_still_bring_is_waited_for_aloud(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    options, environment = autoscaling(tmp_path, port)
    with cluster(*options, environment=environment, port=port) as found:
        done = run_walk(found, tmp_path, "--gpus-per-trial", "0.5")
    said = " ".join((done.stdout + done.stderr).split())
    assert done.returncode == Exit.AS_EXPECTED, said
    assert "no node has 1 CPUs and 0.5 GPUs yet: the cluster autoscales" in said
