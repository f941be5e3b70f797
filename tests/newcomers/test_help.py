"""Help and completion: what a newcomer asks first."""

import os
import re
import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

import harness
from harness.cli import app
from tests.waiting import HANG_S

GROUP = typer.main.get_command(app)
COMMANDS = sorted(GROUP.commands)  # type: ignore[attr-defined]


def test_the_contract_names_commands_that_there_are() -> None:
    contract = "list validate plan run check trial report sync ui status export compare nightly"
    assert {*contract.split(), "init", "doctor"} <= set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_an_example_that_its_parser_takes(name: str) -> None:
    """The example's words are the command's own: no option is invented or misspelt."""
    command = GROUP.commands[name]  # type: ignore[attr-defined]
    assert command.help
    found = re.search(r"^\s*Example: harness (.+)$", command.help, re.MULTILINE)
    assert found, f"harness {name} --help has no example"
    said, *arguments = found[1].split()
    assert said == name
    command.make_context(name, arguments)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_shows_the_example_on_a_line_of_its_own(name: str) -> None:
    shown = CliRunner().invoke(app, [name, "--help"], env={"COLUMNS": "200", "TERM": "dumb"})
    assert shown.exit_code == 0
    assert re.search(rf"^\W*Example: harness {name}\b", shown.output, re.MULTILINE), shown.output


def test_the_command_tells_its_version() -> None:
    shown = CliRunner().invoke(app, ["--version"])
    assert (shown.exit_code, shown.output) == (0, f"harness {harness.__version__}\n")


@pytest.mark.parametrize(("shell", "words"), [("bash", "harness val"), ("zsh", "harness val")])
def test_a_shell_completes_a_command(shell: str, words: str) -> None:
    asked = {
        "bash": {"COMP_WORDS": words, "COMP_CWORD": "1"},
        "zsh": {"_TYPER_COMPLETE_ARGS": words},
    }
    done = subprocess.run(
        [sys.executable, "-c", "from harness.cli import main; main()"],
        env=os.environ | asked[shell] | {"_HARNESS_COMPLETE": f"complete_{shell}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=HANG_S,
    )
    assert "validate" in done.stdout, done.stderr
    assert "nightly" not in done.stdout
