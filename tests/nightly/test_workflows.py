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


PERMISSIONS = {
    "pages": {"pages": "write", "id-token": "write"},
    "issue": {"contents": "read", "issues": "write"},
}
"""What a job may do beyond reading the repository: to publish a page, to open an issue."""

JOB_KEYS = {
    *("runs-on", "timeout-minutes", "steps", "needs", "if", "permissions", "environment"),
    *("outputs", "strategy"),
}


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
    for name, job in document["jobs"].items():
        assert job.get("permissions", {}) == PERMISSIONS.get(name, {})
        assert set(job) <= JOB_KEYS
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
    # Even if no night was ever recorded: the next step fails without a folder of pages.
    assert "No night" in (tmp_path / "results/pages/index.html").read_text()
    assert ("::warning" in done.stdout) is (night in (3, 4))


def test_the_script_makes_its_environment_by_a_rule_that_exists() -> None:
    script = (REPOSITORY / "ci" / "nightly.sh").read_text()
    makefile = (REPOSITORY / "Makefile").read_text()
    assert "make --silent .venv/.installed" in script
    assert "VENV := .venv\n" in makefile
    assert "STAMP := $(VENV)/.installed\n" in makefile


def test_later_jobs_read_only_what_the_night_hands_on() -> None:
    jobs = yaml.safe_load((REPOSITORY / ".github/workflows/nightly.yml").read_text())["jobs"]
    assert jobs["nightly"]["outputs"] == {"code": "${{ steps.night.outputs.code }}"}
    assert [step["run"] for step in jobs["nightly"]["steps"] if step.get("id") == "night"]
    for job in (jobs["pages"], jobs["issue"]):
        assert job["needs"] == "nightly"
        assert set(re.findall(r"needs\.[\w.]+", str(job))) == {"needs.nightly.outputs.code"}


def test_a_night_hands_on_its_code_its_pages_and_what_failed(tmp_path: Path) -> None:
    folder = tmp_path / "ci"
    folder.mkdir()
    for name in ("github-night.sh", "annotations.py"):
        shutil.copy(REPOSITORY / "ci" / name, folder)
    nights = tmp_path / "results" / "nights"
    for day in (1, 2):
        (nights / "grid" / f"2026-01-0{day}").mkdir(parents=True)
        case = f'<failure message="off, 100%&#10;on day {day}"/>'
        (nights / "grid" / f"2026-01-0{day}" / "junit.xml").write_text(
            f'<testsuites><testsuite><testcase classname="psa" name="row: 1">{case}</testcase>'
            '<testcase classname="psa" name="row 2"><skipped/></testcase></testsuite></testsuites>'
        )
    for name in ("grid", "light"):
        (nights / f"{name}.html").write_text(name)
        (nights / f"{name}.svg").write_text(f"badge of {name}")
    (folder / "nightly.sh").write_text("#!/bin/sh\nexit 1\n")
    (folder / "nightly.sh").chmod(0o755)
    output = tmp_path / "output"
    done = subprocess.run(
        [folder / "github-night.sh", "grid"],
        env=os.environ | {"GITHUB_OUTPUT": str(output)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert output.read_text() == "code=1\n"
    assert done.stdout == "::error title=psa%3A row%3A 1::off, 100%25%0Aon day 2\n"
    pages = {path.name: path.read_text() for path in (tmp_path / "results" / "pages").iterdir()}
    assert pages == {
        **{"grid.html": "grid", "light.html": "light", "index.html": "grid"},
        **{"grid.svg": "badge of grid", "light.svg": "badge of light"},
    }


def test_each_badge_of_the_readme_is_made_by_a_workflow() -> None:
    readme = (REPOSITORY / "README.md").read_text()
    badges = re.findall(r"\[!\[[^]]+\]\((\S+)\)\]\((\S+)\)", readme)
    made = [
        *(f"/actions/workflows/{path.name}/badge.svg" for path in WORKFLOWS[::-1]),
        "/light.svg",
    ]
    assert len(badges) == len(made)
    for (picture, page), ending in zip(badges, made, strict=True):
        assert picture.endswith(ending)
        assert page in (picture.removesuffix("/badge.svg"), picture.replace(".svg", ".html"))
    light = (REPOSITORY / "ci" / "nightly.yaml").read_text()
    assert "light" in yaml.safe_load(light)["nights"]


def test_what_fails_in_the_test_run_is_annotated_for_every_python() -> None:
    job = yaml.safe_load((REPOSITORY / ".github/workflows/test.yml").read_text())["jobs"]["test"]
    assert job["strategy"]["matrix"]["python"] == ["3.11", "3.12", "3.13"]
    [step] = [each for each in job["steps"] if "annotations" in each.get("run", "")]
    assert step["if"] == "${{ failure() && hashFiles('results/test.xml') != '' }}"
    assert step["run"] == "ci/annotations.py results/test.xml"
    assert "--junit-xml results/test.xml" in (REPOSITORY / "Makefile").read_text()


@pytest.mark.parametrize(
    ("code", "known", "called"),
    [
        ("1", "", "create"),
        ("1", "7", "comment"),
        ("", "", "create"),  # the job ended before the night had a code
        ("0", "7", "close"),
        ("0", "", ""),
        ("3", "7", ""),
        ("4", "", ""),
    ],
)
def test_an_issue_opens_on_red_and_closes_on_green(
    tmp_path: Path, code: str, known: str, called: str
) -> None:
    gh = tmp_path / "gh"
    gh.write_text(f'#!/bin/sh\nif [ "$2" = list ]; then echo {known}; else echo "$@"; fi\n')
    gh.chmod(0o755)
    done = subprocess.run(
        [REPOSITORY / "ci" / "github-issue.sh"],
        env={
            **{"PATH": f"{tmp_path}:{os.environ['PATH']}", "NIGHT": "light", "CODE": code},
            "RUN_URL": "https://run",
        },
        capture_output=True,
        text=True,
        check=True,
    )
    words = done.stdout.split()
    assert words[1:2] == ([called] if called else [])
    assert ("https://run" in done.stdout) is bool(called)
    assert (known in words) is (bool(known) and bool(called))
