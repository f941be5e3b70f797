"""The workflows: valid, and every step calls what is there."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

REPOSITORY = Path(__file__).parents[2]
WORKFLOWS = sorted((REPOSITORY / ".github" / "workflows").glob("*.yml"))


def steps(path: Path) -> list[dict[str, Any]]:
    jobs = yaml.safe_load(path.read_text())["jobs"].values()
    return [step for job in jobs for step in job["steps"]]


def test_there_is_a_workflow_for_tests_and_one_for_nights() -> None:
    assert [path.stem for path in WORKFLOWS] == ["nightly", "test"]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_has_the_form_that_github_wants(path: Path) -> None:
    document = yaml.safe_load(path.read_text())
    # YAML 1.1 reads the key `on` as true; GitHub does not.
    assert set(document) <= {"name", True, "permissions", "concurrency", "jobs"}
    assert document["permissions"] == {"contents": "read"}
    for job in document["jobs"].values():
        assert job["timeout-minutes"] <= 120
        for step in job["steps"]:
            assert ("run" in step) != ("uses" in step)
            # A tag can be moved to other code; a commit cannot.
            assert re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", step.get("uses", "a@" + 40 * "0"))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_each_step_calls_a_target_or_script_that_exists(path: Path) -> None:
    makefile = (REPOSITORY / "Makefile").read_text()
    commands = [step["run"] for step in steps(path) if "run" in step]
    assert commands
    for command in commands:
        program, *arguments = command.split()
        if program == "make":
            assert re.search(rf"^{arguments[0]}:", makefile, re.MULTILINE)
        else:
            assert os.access(REPOSITORY / program, os.X_OK)


def test_no_secret_or_input_is_pasted_into_a_command() -> None:
    """What an expression puts into a script would be run; into the environment it is not."""
    for path in WORKFLOWS:
        assert not [step for step in steps(path) if "${{" in step.get("run", "")]


@pytest.mark.parametrize(
    ("night", "step"), [(0, 0), (1, 1), (2, 2), (3, 0), (4, 0), (70, 70), (143, 143)]
)
def test_an_undecided_night_is_a_warning_and_only_a_surprise_is_red(
    tmp_path: Path, night: int, step: int
) -> None:
    folder = tmp_path / "ci"
    folder.mkdir()
    shutil.copy(REPOSITORY / "ci" / "github-night.sh", folder)
    (folder / "nightly.sh").write_text(f"#!/bin/sh\nexit {night}\n")
    (folder / "nightly.sh").chmod(0o755)
    done = subprocess.run([folder / "github-night.sh"], capture_output=True, text=True, check=False)
    assert done.returncode == step
    assert ("::warning" in done.stdout) is (night in (3, 4))


def test_the_script_makes_its_environment_by_a_rule_that_exists() -> None:
    script = (REPOSITORY / "ci" / "nightly.sh").read_text()
    makefile = (REPOSITORY / "Makefile").read_text()
    assert "make --silent .venv/.installed" in script
    assert "VENV := .venv\n" in makefile
    assert "STAMP := $(VENV)/.installed\n" in makefile
