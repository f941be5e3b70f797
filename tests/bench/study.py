"""A seed study at its real size on a cluster of this machine, with faults along the way.

    python -m tests.bench.study --out FOLDER [--shapes 98] [--epochs 1] [--pack 10] [--nodes 2]

By default it is as large as the second paper's: 98 shapes x 6 modes x 10 seeds. While it runs a
worker, a node and the driver are killed. Then it checks that every trial is there once and that
cells which are trained again, undisturbed, give the same values bit for bit. It writes what it
measured to `study.json`. It takes from minutes to hours, so neither `make test` nor `make bench`
runs it. Exit 1 if an invariant is broken.
"""

import argparse
import json
import os
import resource
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import cast

from harness import workloads
from harness.manifest import Experiment, load
from harness.plan import Selection, specs
from harness.record import TrialSpec
from harness.store import Store
from harness.workload import Context, Packing
from tests.bench import grids
from tests.bench.loops import DATA
from tests.bench.machine import describe
from tests.bench.processes import HARNESS, REPOSITORY, measured
from tests.cluster.clusters import Cluster, cluster

LOOK_S = 2.0
PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass
class Found:
    """What was measured."""

    machine: dict[str, str]
    arguments: dict[str, object]
    trials: int
    wall_s: float = 0.0
    """From the first command to the last trial's end, with the faults."""
    driver_mib: list[tuple[float, int, float]] = field(default_factory=list)
    """The driver's memory over time: seconds, trials begun, MiB."""
    faults: list[tuple[float, str]] = field(default_factory=list)
    store_mib: float = 0.0
    files: int = 0
    runs: dict[str, int] = field(default_factory=dict)
    """MLflow's runs at the end of the study and after the sync, and the trials."""
    mlflow_mib: float = 0.0
    sync_s: float = 0.0
    commands: dict[str, tuple[float, float]] = field(default_factory=dict)
    """Seconds and MiB of the commands that read the study."""
    compared: int = 0
    """Trials that were run again, undisturbed."""
    broken: list[str] = field(default_factory=list)


@dataclass
class Study:
    """One study in a folder."""

    folder: Path
    grid: Path
    pack: int
    on: Cluster
    found: Found
    began_s: float = field(default_factory=time.monotonic)

    @property
    def workspace(self) -> Path:
        return self.folder / "results"

    def started(self) -> int:
        """How many trials have a folder."""
        trials = self.workspace / "trials"
        return len(os.listdir(trials)) if trials.exists() else 0

    def driver(self) -> "subprocess.Popen[bytes]":
        """The command that runs the study, or goes on with it."""
        options = ("--workspace", self.workspace, "--address", self.on.address, "--quiet")
        words = [*HARNESS, "run", self.grid, *options, "--pack", self.pack, "--retries", 10]
        data = {"HARNESS_DATA": os.environ.get("HARNESS_DATA", str(REPOSITORY / ".data"))}
        with (self.folder / "driver.log").open("ab") as log:
            return subprocess.Popen(
                list(map(str, words)),
                cwd=REPOSITORY,
                env=self.on.environment | data,
                stdout=log,
                stderr=log,
            )

    def watch(self, driver: "subprocess.Popen[bytes]", until: Callable[[], bool]) -> None:
        """Note the driver's memory until something holds or the driver ends."""
        while driver.poll() is None and not until():
            self.found.driver_mib.append((self.now_s(), self.started(), _resident_mib(driver.pid)))
            time.sleep(LOOK_S)

    def now_s(self) -> float:
        return round(time.monotonic() - self.began_s, 1)

    def note(self, what: str) -> None:
        self.found.faults.append((self.now_s(), what))
        print(f"{self.now_s():8.0f} s, {self.started()} trials begun: {what}", flush=True)


def run(study: Study, stack: ExitStack, nodes: int) -> None:
    """Run the study to its end, and kill a worker, a node and the driver."""
    here = [stack.enter_context(study.on.node("--num-cpus", "1")) for _ in range(nodes)]
    total = study.found.trials

    def share(part: float) -> Callable[[], bool]:
        return lambda: study.started() >= part * total

    driver = study.driver()
    study.watch(driver, share(0.15))
    study.note(f"worker killed: {_kill_a_worker(study.on)}")
    study.watch(driver, share(0.35))
    here[0].kill()
    study.note("node killed")
    stack.enter_context(study.on.node("--num-cpus", "1"))
    study.note("another node joined")
    study.watch(driver, share(0.6))
    if driver.poll() is None:
        driver.kill()
        driver.wait()
        study.note("driver killed")
    for _ in range(3):
        driver = study.driver()
        study.watch(driver, lambda: False)
        study.note(f"driver ended with exit code {driver.returncode}")
        if driver.returncode in (0, 1, 3):
            break


def _kill_a_worker(on: Cluster) -> str:
    """Kill a process that trains trials; return its title."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            title = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
            ours = str(on.folder).encode() in (entry / "environ").read_bytes()
        except OSError:
            continue
        if title.startswith("ray::") and "seed" in title and ours:
            os.kill(int(entry.name), signal.SIGKILL)
            return title
    return "none was there"


def _resident_mib(pid: int) -> float:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE / 2**20
    except OSError:
        return 0.0


def _specs(cells: Sequence[Experiment]) -> Iterator[TrialSpec]:
    registry = workloads.registry()
    for cell in cells:
        yield from specs(cell, cell.workload(registry), Selection())


def prove(study: Study, cells: Sequence[Experiment], epochs: int) -> None:
    """Check that every trial is there once, with every epoch once and nothing else beside it."""
    store, broken = Store(study.workspace), study.found.broken
    wanted = {spec.id for spec in _specs(cells)}
    stored = set(store.trials())
    if extra := stored - wanted:
        broken.append(f"{len(extra)} trials that nobody asked for")
    for trial_id in wanted:
        trial = store.read(trial_id)
        if trial is None or trial.done != epochs or trial.failure is not None:
            broken.append(f"{trial_id} is not finished")
        elif [record.epoch for record in trial.epochs] != list(range(1, epochs + 1)):
            broken.append(f"{trial_id}: epochs are lost or doubled")


def compare(study: Study, cells: Sequence[Experiment], epochs: int, count: int) -> None:
    """Train some cells again in this process, undisturbed, and compare all their values."""
    registry, store = workloads.registry(), Store(study.workspace)
    for cell in cells[:: max(1, len(cells) // count)][:count] if count else ():
        workload = cell.workload(registry)
        sets = workload.data_sets(cell.parameters)
        data = {each.name: workload.load_data(each.name, DATA) for each in sets}
        planned = list(specs(cell, workload, Selection()))
        contexts = [Context(spec.seed, data, "cpu", 1) for spec in planned]
        pack = cast(Packing, workload).start_pack(cell.parameters, contexts, study.pack)
        found = [pack.epoch(range(len(planned))) for _ in range(epochs)]
        for place, (spec, run) in enumerate(zip(planned, pack.runs, strict=True)):
            trial = store.read(spec.id)
            alone = [values[place] for values in found], run.final()
            if trial is None or alone != (
                [dict(record.metrics) for record in trial.epochs],
                dict(trial.finals[epochs].metrics) if epochs in trial.finals else {},
            ):
                study.found.broken.append(f"{cell.id}, seed {spec.seed}: not as undisturbed")
            study.found.compared += 1


def mlflow_runs(workspace: Path) -> dict[str, int]:
    """How many of MLflow's runs have each status."""
    file = workspace / "mlflow" / "mlflow.db"
    if not file.exists():
        return {}
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:
        return dict(database.execute("select status, count(*) from runs group by status"))


def size(folder: Path) -> tuple[float, int]:
    """The space that a folder takes on disk, in MiB, and the number of its files."""
    stats = [file.lstat() for file in folder.rglob("*") if file.is_file()]
    return sum(stat.st_blocks for stat in stats) * 512 / 2**20, len(stats)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="a new folder")
    parser.add_argument("--shapes", type=int, default=len(grids.SHAPES))
    parser.add_argument("--epochs", type=int, default=1, help="meta-loops")
    parser.add_argument("--validation-images", type=int, default=10_000, help="of 60,000")
    parser.add_argument("--pack", type=int, default=10)
    parser.add_argument("--nodes", type=int, default=2, help="of one CPU each")
    parser.add_argument("--compare", type=int, default=12, help="cells to train again, undisturbed")
    parser.add_argument("--sync", action=argparse.BooleanOptionalAction, default=True)
    asked = parser.parse_args()
    grid = grids.write(
        asked.out / "grid.yaml",
        shapes=asked.shapes,
        epochs=asked.epochs,
        validation_images=asked.validation_images,
    )
    cells = load([grid], workloads.registry())
    given = {name: str(value) for name, value in vars(asked).items() if name != "out"}
    found = Found(describe(), dict(given), trials=sum(1 for _ in _specs(cells)))
    with ExitStack() as stack:
        on = stack.enter_context(cluster("--num-cpus", "0"))
        study = Study(asked.out, grid, asked.pack, on, found)
        try:
            run(study, stack, asked.nodes)
            found.wall_s = study.now_s()
        finally:
            _save(study)
    prove(study, cells, asked.epochs)
    found.store_mib, found.files = size(study.workspace / "trials")
    found.runs = {f"{k} before sync": n for k, n in mlflow_runs(study.workspace).items()}
    _save(study)
    here = (grid, "--workspace", study.workspace)
    more = {"report": ("--out", asked.out / "report"), "export": ("--out", asked.out / "t.parquet")}
    for name in ("plan", "status", "check", "report", "export"):
        spent = measured(name, *here, *more.get(name, ()))
        found.commands[name] = (round(spent.wall_s, 1), round(spent.peak_bytes / 2**20))
    compare(study, cells, asked.epochs, asked.compare)
    _save(study)
    if asked.sync:
        found.sync_s = measured("sync", *here).wall_s
        found.runs |= mlflow_runs(study.workspace)
    found.mlflow_mib, _ = size(study.workspace / "mlflow")
    _save(study)
    peak_mib = max((mib for *_, mib in found.driver_mib), default=0.0)
    print(f"{found.trials} trials in {found.wall_s:.0f} s", end=", ")
    print(f"{3600 * found.trials / found.wall_s:.0f} an hour; driver {peak_mib:.0f} MiB at most")
    own_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"broken: {found.broken or 'nothing'} (this process {own_mib:.0f} MiB)")
    sys.exit(1 if found.broken else 0)


def _save(study: Study) -> None:
    text = json.dumps(asdict(study.found), indent=1)
    (study.folder / "study.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
