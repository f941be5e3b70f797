"""'Add your paper', followed literally: its files written, its commands run, in an empty folder."""

import os
import re
import site
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cli.conftest import ONE_CORE
from tests.waiting import HANG_S

PAGE = Path(__file__).parents[2] / "experiments" / "ADD-YOUR-PAPER.md"
_BLOCK = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A code block: a file to write, or commands to run."""

    text: str
    file: str | None
    exit: int


def blocks() -> list[Block]:
    found = []
    for language, words, text in _BLOCK.findall(PAGE.read_text(encoding="utf-8")):
        said = dict(word.split("=", 1) for word in words.split())
        assert language == "sh" or "file" in said, f"neither a file nor commands: {text[:40]}"
        found.append(Block(text, said.get("file"), int(said.get("exit", 0))))
    return found


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """An activated environment that sees everything of ours, and takes in what the page installs.

    A package of the page's must not end up among our own, nor be fetched from anywhere.
    """
    folder = tmp_path / "environment"
    venv.create(folder, symlinks=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    ours = [*site.getsitepackages(), str(Path(__file__).parents[2])]
    lines = [f"import site; site.addsitedir({path!r})" for path in ours]
    (packages / "ours.pth").write_text("\n".join(lines) + "\n")
    commands = {
        "harness": "from harness.cli import main; main()",
        "pip": "from pip._internal.cli.main import main; import sys; sys.exit(main())",
    }
    for name, code in commands.items():
        script = folder / "bin" / name
        script.write_text(f"#!{folder}/bin/python\n{code}\n")
        script.chmod(0o755)
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("HARNESS_", "MLFLOW_", "RAY_", "GITHUB_", "PYTHON"))
    }
    return {
        **kept,
        **ONE_CORE,
        "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "COLUMNS": "200",
        "MLFLOW_TRACKING_URI": "none",  # MLflow has tests of its own, and takes seconds a command
        "PIP_NO_INDEX": "1",
        "PIP_NO_DEPS": "1",
        "PIP_NO_BUILD_ISOLATION": "0",  # pip reads this as it reads the option's own opposite
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }


@pytest.mark.skipif(sys.platform == "win32", reason="the page's commands are a POSIX shell's")
def test_the_page_leads_from_a_listing_to_a_nightly(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    outputs = []
    for block in blocks():
        if block.file is not None:
            path = folder / block.file
            path.parent.mkdir(exist_ok=True)
            path.write_text(block.text, encoding="utf-8")
            continue
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block.text],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=HANG_S,
        )
        assert done.returncode == block.exit, f"{block.text}\n{done.stdout}\n{done.stderr}"
        outputs.append(done.stdout + done.stderr)
    whole = "".join(outputs)
    assert "add --allow-commands (results-rings remembers it" in whole
    assert re.search(r"REPRODUCED +rings ", whole)
    # Before the run, and again once the script has changed.
    assert len(re.findall(r"^rings +5 +0 +5 ", whole, re.MULTILINE)) == 2
    assert "left blank" in whole
    assert "no faults in lazzarini\n" in whole
    assert "needles lie across a line" in whole
    assert re.search(r"^test 3\.\d{4}$", whole, re.MULTILINE)
    assert "no faults in lazzarini-1901" in whole
    assert "🟢 green (1 passing)" in whole
    assert "unchanged bit for bit, 3 seeds" in whole
