"""What cannot be run here has at least the form that its reader wants, and the versions we test."""

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import typer
import yaml

from harness.cli import app
from harness.source import __version__
from tests.cluster.clusters import REPOSITORY

HERE = REPOSITORY / "ci" / "cluster"
SCRIPTS = sorted([*HERE.glob("*.sh"), *(REPOSITORY / "ci").glob("*.sh")])

QUANTITY = {"type": ["string", "integer"], "pattern": "^[0-9]+(m|Mi|Gi)?$"}
AMOUNTS = {"type": "object", "required": ["cpu", "memory"], "additionalProperties": QUANTITY}
CONTAINER = {
    "type": "object",
    "required": ["name", "image", "resources"],
    "additionalProperties": False,
    "properties": {
        "name": {"type": "string", "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"},
        # A tag that is a version, or a digest: what it stands for does not change.
        "image": {"type": "string", "pattern": r"^[^:@]+(:\d+\.\d+\.\d+|@sha256:[0-9a-f]{64})$"},
        "env": {"type": "array", "items": {"required": ["name"]}},
        "ports": {"type": "array", "items": {"required": ["name", "containerPort"]}},
        "resources": {"properties": {"requests": AMOUNTS, "limits": AMOUNTS}},
        "volumeMounts": {"type": "array", "items": {"required": ["name", "mountPath"]}},
    },
}
TEMPLATE = {
    "type": "object",
    "required": ["spec"],
    "properties": {
        "spec": {
            "required": ["containers"],
            "properties": {"containers": {"type": "array", "minItems": 1, "items": CONTAINER}},
        }
    },
}
PARAMETERS = {"type": "object", "additionalProperties": {"type": "string"}}
RAYJOB = {
    "type": "object",
    "required": ["apiVersion", "kind", "metadata", "spec"],
    "additionalProperties": False,
    "properties": {
        "apiVersion": {"const": "ray.io/v1"},
        "kind": {"const": "RayJob"},
        "metadata": {"required": ["name"]},
        "spec": {
            "required": [
                "entrypoint",
                "shutdownAfterJobFinishes",
                "ttlSecondsAfterFinished",
                "activeDeadlineSeconds",
                "rayClusterSpec",
            ],
            "additionalProperties": False,
            "properties": {
                "entrypoint": {"type": "string"},
                "backoffLimit": {"type": "integer", "minimum": 0},
                "shutdownAfterJobFinishes": {"const": True},
                "ttlSecondsAfterFinished": {"type": "integer", "minimum": 0},
                "activeDeadlineSeconds": {"type": "integer", "minimum": 1},
                "rayClusterSpec": {
                    "required": ["rayVersion", "authOptions", "headGroupSpec", "workerGroupSpecs"],
                    "additionalProperties": False,
                    "properties": {
                        "rayVersion": {"type": "string"},
                        "authOptions": {
                            "required": ["mode", "secretName"],
                            "properties": {"mode": {"const": "token"}},
                        },
                        "headGroupSpec": {
                            "required": ["rayStartParams", "template"],
                            "additionalProperties": False,
                            "properties": {"rayStartParams": PARAMETERS, "template": TEMPLATE},
                        },
                        "workerGroupSpecs": {
                            "type": "array",
                            "minItems": 1,
                            "items": {
                                "required": ["groupName", "rayStartParams", "template"],
                                "additionalProperties": False,
                                "properties": {
                                    "groupName": {"type": "string"},
                                    "replicas": {"type": "integer"},
                                    "minReplicas": {"type": "integer"},
                                    "maxReplicas": {"type": "integer"},
                                    "rayStartParams": PARAMETERS,
                                    "template": TEMPLATE,
                                },
                            },
                        },
                    },
                },
            },
        },
    },
}
"""The fields of KubeRay's ray.io/v1 reference that the manifest uses: a misspelt one is dropped by
a cluster in silence, and here refused."""


@pytest.fixture(scope="module")
def rayjob() -> dict[str, Any]:
    claim, job = yaml.safe_load_all((HERE / "rayjob.yaml").read_text())
    assert claim["kind"] == "PersistentVolumeClaim"
    return dict(job)


def containers(rayjob: dict[str, Any]) -> list[dict[str, Any]]:
    cluster = rayjob["spec"]["rayClusterSpec"]
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    return [one for group in groups for one in group["template"]["spec"]["containers"]]


def test_the_manifest_has_the_fields_of_a_rayjob(rayjob: dict[str, Any]) -> None:
    jsonschema.Draft202012Validator(RAYJOB).validate(rayjob)
    assert any("nvidia.com/gpu" in one["resources"]["limits"] for one in containers(rayjob))


def test_the_manifest_runs_the_versions_that_are_tested(rayjob: dict[str, Any]) -> None:
    pinned = (REPOSITORY / "ci" / "constraints.txt").read_text().splitlines()
    assert f"ray=={rayjob['spec']['rayClusterSpec']['rayVersion']}" in pinned
    images = {one["image"] for one in containers(rayjob)}
    assert images == {f"registry.example/harness:{__version__}"}
    texts = [(HERE / name).read_text() for name in ("Dockerfile", "README.md", "rayjob.yaml")]
    assert {
        found for text in texts for found in re.findall(r"registry\S+:[\d.]+\d", text)
    } == images


def test_the_entrypoint_is_a_command_of_ours_on_paths_that_are_there(
    rayjob: dict[str, Any],
) -> None:
    name, *words = shlex.split(rayjob["spec"]["entrypoint"])
    assert name == "harness"
    group = typer.main.get_command(app)
    command = group.commands[words[0]]  # type: ignore[attr-defined]
    asked = command.make_context(words[0], words[1:]).params
    (mount,) = containers(rayjob)[0]["volumeMounts"]
    assert Path(asked["workspace"]).is_relative_to(mount["mountPath"])
    assert Path(asked["data"]).is_relative_to(mount["mountPath"])
    home = re.search(r"^WORKDIR (\S+)", (HERE / "Dockerfile").read_text(), re.MULTILINE)
    assert home is not None
    assert [str(path) for path in asked["paths"]] == [f"{home[1]}/experiments"]


def lint(name: str, *arguments: str | Path) -> None:
    """Run a linter, and show what it says."""
    program = Path(sys.executable).with_name(name)
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_is_sound(script: Path) -> None:
    lint("shellcheck", script)


def test_the_image_is_made_soundly() -> None:
    lint("hadolint", HERE / "Dockerfile")
    ignored = (HERE / "Dockerfile.dockerignore").read_text().split()
    for source in re.findall(r"^COPY (.+) \S+$", (HERE / "Dockerfile").read_text(), re.MULTILINE):
        for path in source.split():
            assert (REPOSITORY / path).exists()
            assert f"!{path}" in ignored
