"""A workspace, its experiments, and the command line on them as processes to be struck."""

import json
import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness import workloads
from harness.manifest import load
from harness.plan import Job, Selection, jobs
from harness.store import Store
from harness.workload import Workload
from tests.faults.processes import MARK, marked
from tests.faults.workload import RUDE
from tests.waiting import HANG_S, eventually

REPOSITORY = Path(__file__).parents[2]

_MANIFEST = """\
format: 1
title: A walk that may fail
paper: {{title: On walks, author: nobody, listing: none, command: none}}
unit: steps
workload:
  name: rude
  parameters: {parameters}
epochs: {{value: {epochs}, assumed: as long as the fault needs}}
seeds: {seeds}
claims:
  - name: rows
    kind: value
    metric: place
    source: made up
    reported: {{1: 0.0}}
    tolerance: {{value: 1000, reason: a walk is no claim}}
  - name: end
    kind: value
    metric: end
    source: made up
    reported: 0.0
    tolerance: {{value: 1000, reason: a walk is no claim}}
"""


def registry() -> Mapping[str, Workload]:
    """What the processes of a world find installed."""
    return {**workloads.registry(), RUDE.name: RUDE}


@dataclass
class World:
    """A folder to live in; the workload is announced there as an installed package would be."""

    folder: Path
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)
    manifests: list[Path] = field(default_factory=list)
    temp: Path = field(init=False)
    """Where Ray's private folders go: short, as its sockets need."""

    def __post_init__(self) -> None:
        self.temp = Path(tempfile.mkdtemp(prefix="h-"))
        info = self.folder / "installed" / "rude-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: rude\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(
            "[harness.workloads]\nrude = tests.faults.workload:RUDE\n"
        )

    @property
    def workspace(self) -> Path:
        """Made by the first run."""
        return self.folder / "results"

    @property
    def store(self) -> Store:
        """As it stands now."""
        return Store(self.workspace)

    @property
    def environment(self) -> dict[str, str]:
        """Of the processes: nothing of the user's own, and a mark to find them by."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("HARNESS_", "MLFLOW_", "RAY_"))
        }
        return kept | {
            "HOME": str(self.folder),
            "COLUMNS": "200",
            "TMPDIR": str(self.temp),
            "PYTHONPATH": f"{self.folder / 'installed'}{os.pathsep}{REPOSITORY}",
            MARK: self.mark,
        }

    def walk(
        self, name: str = "walk", *, epochs: int, seeds: str = "0-1", **parameters: Any
    ) -> Path:
        """Add an experiment of the rude workload."""
        sourced = {key: {"value": value, "assumed": "x"} for key, value in parameters.items()}
        path = self.folder / f"{name}.yaml"
        text = _MANIFEST.format(epochs=epochs, seeds=seeds, parameters=json.dumps(sourced))
        path.write_text(text)
        self.manifests.append(path)
        return path

    def jobs(self) -> Sequence[Job]:
        """Every trial of the experiments."""
        found = registry()
        return list(jobs(load(self.manifests, found), found, Selection()))

    def command(self, name: str, *options: str | Path) -> list[str]:
        """A command on all experiments and the workspace."""
        words = [*self.manifests, "--workspace", self.workspace, *options]
        return [sys.executable, "-m", "tests.faults.entry", name, *map(str, words)]

    def start(
        self, name: str, *options: str | Path, group: bool = False, **env: str
    ) -> "subprocess.Popen[str]":
        """A command under way; `group` gives it a process group of its own, as a shell does."""
        return subprocess.Popen(
            self.command(name, *options),
            env=self.environment | env,
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=group,
        )

    def run(
        self, name: str, *options: str | Path, **env: str
    ) -> "subprocess.CompletedProcess[str]":
        """A command to its end; both outputs are in `stdout`."""
        process = self.start(name, *options, **env)
        output, _ = process.communicate(timeout=HANG_S)
        return subprocess.CompletedProcess(process.args, process.returncode, output)

    def going_on(self, *options: str | Path) -> float:
        """Run to the end, and tell after how many seconds more was recorded than before.

        Raises:
            RuntimeError: it did not end well.
        """
        began_s, before = time.monotonic(), self.recorded()
        process = self.start("run", *options)
        eventually(lambda: self.recorded() != before or process.poll() is not None, 240)
        again_s = time.monotonic() - began_s
        output, _ = process.communicate(timeout=HANG_S)
        if process.returncode:
            raise RuntimeError(f"exit {process.returncode}: {output}")
        return again_s

    def processes(self) -> dict[int, str]:
        """Whatever is alive of all that was started here."""
        return marked(self.mark)

    def recorded(self) -> int:
        """How many bytes of records there are, durable or not."""
        return sum(file.stat().st_size for file in self.workspace.glob("trials/*/records.jsonl"))
