"""Whatever becomes of a command's output, its work and its exit code stay as they are."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.cli.console import guarded
from harness.errors import Exit
from tests.cli.conftest import REPOSITORY, TINY, command

GAUSSIAN = REPOSITORY / "experiments" / "gaussian-2d-rho-50.yaml"
SEQUENCES = REPOSITORY / "experiments" / "sequence-pair-16.yaml"
COMMANDS = [
    (["--help"], Exit.AS_EXPECTED),
    (["check", "nowhere.yaml"], Exit.USAGE),
    (["check", GAUSSIAN, "--committed", "--json", "-"], Exit.AS_EXPECTED),
]

needs_full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")


@contextmanager
def pipe_without_reader() -> Iterator[int]:
    """The writing end of a pipe that nobody reads any more."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        yield writing
    finally:
        os.close(writing)


@pytest.mark.parametrize(("arguments", "code"), COMMANDS)
def test_a_closed_pipe_changes_no_exit_code(
    environment: dict[str, str], arguments: list[str | Path], code: Exit
) -> None:
    with pipe_without_reader() as closed:
        done = subprocess.run(
            command(*arguments), env=environment, stdout=closed, stderr=closed, check=False
        )
    assert done.returncode == code


def test_head_gets_its_line_and_check_keeps_its_exit_code(environment: dict[str, str]) -> None:
    words = " ".join(map("'{}'".format, command("check", SEQUENCES, "--committed")))
    words = words.replace("'from harness.cli import main; main()'", '"$ENTRY"')
    done = subprocess.run(
        ["bash", "-c", f'{words} | head -1; exit "${{PIPESTATUS[0]}}"'],
        env=environment | {"ENTRY": "from harness.cli import main; main()"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == Exit.INCONCLUSIVE
    assert len(done.stdout.splitlines()) == 1
    assert not done.stderr


def test_a_trial_goes_on_to_its_end_without_a_reader(environment: dict[str, str]) -> None:
    with pipe_without_reader() as closed:
        done = subprocess.run(
            command("trial", TINY, "--seed", "0", "--epochs", "2"),
            env=environment,
            stdout=closed,
            check=False,
        )
    assert done.returncode == 0


@needs_full
@pytest.mark.parametrize(
    ("arguments", "code", "fault"),
    [
        (["check", SEQUENCES, "--committed", "--json", "-"], Exit.INCOMPLETE, "No space left"),
        (["check", "nowhere.yaml"], Exit.USAGE, "no such file or folder"),
    ],
)
def test_output_that_cannot_be_written_is_reported_and_incomplete(
    environment: dict[str, str], arguments: list[str | Path], code: Exit, fault: str
) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            command(*arguments),
            env=environment,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == code
    assert fault in done.stderr.splitlines()[-1]


@needs_full
@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_failed_verdict_outranks_lost_output_and_lost_warnings_change_nothing(
    monkeypatch: pytest.MonkeyPatch, stream: str
) -> None:
    codes = {}
    for code in Exit:
        with open("/dev/full", "w") as full, monkeypatch.context() as patch:
            patch.setattr(f"sys.{stream}", full)
            with guarded() as output:
                getattr(sys, stream).write("a verdict\n")
                codes[code] = output.exit_code(code)
    changed = {code: found for code, found in codes.items() if found != code}
    open_ = (Exit.AS_EXPECTED, Exit.INCONCLUSIVE) if stream == "stdout" else ()
    assert changed == dict.fromkeys(open_, Exit.INCOMPLETE)


@pytest.mark.parametrize(
    "encoding",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"PYTHONIOENCODING": "latin-1"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    ],
)
def test_characters_that_the_encoding_lacks_are_replaced(
    environment: dict[str, str], tmp_path: Path, encoding: dict[str, str]
) -> None:
    told = tmp_path / "told.yaml"
    told.write_text(GAUSSIAN.read_text().replace("title: ", "title: Σ ü → ", 1), encoding="utf-8")

    done = subprocess.run(
        command("check", told, "--committed", "--all", "--json", "-"),
        env=environment | encoding,
        capture_output=True,
        check=False,
    )
    assert done.returncode == Exit.INCOMPLETE, done.stderr  # no record is committed beside it
    shown = done.stderr.decode("ascii" if "latin-1" not in encoding.values() else "latin-1")
    assert "\\u03a3" in shown
    assert set("│─╭╯━") & set(shown) == set()
    (found,) = json.loads(done.stdout)["experiments"]
    assert found["title"].startswith("Σ ü → ")


def test_a_closed_descriptor_is_never_taken_by_a_file_of_ours(environment: dict[str, str]) -> None:
    entry = (
        "import sys\nfrom harness.cli.console import guarded\n"
        "with guarded(): sys.exit(open('/dev/zero').fileno() < 3)"
    )
    done = subprocess.run(
        ["bash", "-c", f'{sys.executable} -c "$ENTRY" >&- 2>&-'],
        env=environment | {"ENTRY": entry},
        check=False,
    )
    assert done.returncode == 0


def test_a_full_non_blocking_pipe_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    text = "x" * (1 << 20)
    got: list[bytes] = []

    def read() -> None:
        with open(reading, "rb") as stream:
            got.append(stream.read())

    reader = threading.Thread(target=read)
    with open(writing, "w") as stream:
        monkeypatch.setattr("sys.stdout", stream)
        reader.start()
        with guarded() as output:
            sys.stdout.write(text)
            assert output.exit_code(0) == 0
    reader.join()
    assert got == [text.encode()]
