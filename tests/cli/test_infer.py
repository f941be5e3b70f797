"""`harness infer` as its users meet it: real Ray, interrupted and resumed."""

import json
import signal
import subprocess
from pathlib import Path

from tests.cli.conftest import REPOSITORY, TINY, Harness, command

SEARCH = """
search:
  parameters:
    learning_rate: {low: 1e-4, high: 1e-2, log: true}
    batch_size: {choices: [25, 50]}
  rows: {rows: [1]}
  epochs: 2
  rungs: [1]
  seeds: 100-101
"""


def test_a_search_that_is_interrupted_goes_on_where_it_ended(
    harness: Harness, environment: dict[str, str], tmp_path: Path
) -> None:
    manifest, workspace = tmp_path / "tiny.yaml", tmp_path / "results"
    manifest.write_text(TINY.read_text() + SEARCH)
    words = ("infer", manifest, "--settings", "4", "--workspace", workspace, "--address", "local")
    with subprocess.Popen(
        command(*words), env=environment, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
    ) as cut:
        assert cut.stdout is not None
        for line in cut.stdout:
            if "1 setting tried" in line:
                cut.send_signal(signal.SIGTERM)
                break
        cut.stdout.read()
    assert cut.returncode == 143
    assert not (workspace / "infer").exists()
    before = {path: path.read_bytes() for path in workspace.glob("trials/*/result.json")}
    assert len(before) >= 2

    done = harness(*words, "--json", "-")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert len(document["settings"]) == 4
    assert document["settings"][0]["settings"] == {"learning_rate": 1e-3, "batch_size": 50}
    assert {path: path.read_bytes() for path in before} == before
    page = (workspace / "infer" / "tiny" / "infer.md").read_text()
    assert "4 settings tried" in page
    assert (workspace / "infer" / "tiny" / "infer.png").exists()
    assert document == json.loads((workspace / "infer" / "tiny" / "infer.json").read_text())

    again = harness(*words, "--json", "-")
    assert json.loads(again.stdout) == document
    assert "starting Ray" not in again.stderr


def test_a_manifest_without_a_search_is_refused(harness: Harness, tmp_path: Path) -> None:
    refused = harness("infer", TINY, "--workspace", tmp_path / "results")
    assert refused.returncode == 2
    assert "has no section `search`" in refused.stderr
    assert not (tmp_path / "results").exists()
