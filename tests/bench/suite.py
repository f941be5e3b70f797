"""Whole suites, which take minutes to hours: `python -m tests.bench.suite COMMAND --out FILE`.

`overhead` holds `harness run` against the same trials in a bare pool of processes; `ten` all six
experiments over their first ten epochs by the harness against the plain loop, one experiment
after another; `full` a finished workspace of all six in full against the plain loop's measured
seconds an epoch times its epochs.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from harness import workloads
from harness.manifest import Experiment, load
from harness.plan import Selection, specs
from harness.record import StoredTrial
from harness.store import Store
from tests.bench import results
from tests.bench.loops import Stamps
from tests.bench.machine import describe
from tests.bench.paired import in_turns, seconds
from tests.bench.processes import as_the_author, environment, harness, run
from tests.bench.results import Figure
from tests.bench.trials import EXPERIMENTS, SIX, experiment

WHOLE = "All six experiments, two trials at a time, against the plain loop one after another"


@dataclass(frozen=True)
class Timed:
    """A command that ran trials."""

    wall_s: float
    """From its start to its end."""
    trials: Sequence[Stamps]

    @property
    def work_s(self) -> float:
        """From the first trial's first epoch to the last trial's test estimate."""
        return max(t.ended_s for t in self.trials) - min(t.began_s for t in self.trials)


def bare(which: str, manifest: Path, *arguments: object) -> Timed:
    """One of the loops without a harness, as a process."""
    command = [sys.executable, "-m", "tests.bench.loops", which, str(manifest)]
    began_s = time.perf_counter()
    with environment(as_the_author() if which == "plain" else os.environ.copy()):
        printed = run([*command, *map(str, arguments)])
    wall_s = time.perf_counter() - began_s
    return Timed(wall_s, [Stamps(**each) for each in json.loads(printed)])


def harnessed(experiments: Sequence[Path], *, seeds: int, epochs: int) -> Timed:
    """`harness run` as users run it, tracking and report included, in a new workspace."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        options = ("--seeds", f"0-{seeds - 1}", "--epochs", epochs, "--workspace", folder)
        wall_s = seconds(lambda: harness("run", *experiments, *options, "--quiet"))
        found = load(experiments, workloads.registry())
        chosen = Selection(seeds=tuple(range(seeds)), epochs=epochs)
        return Timed(wall_s, [_stamps(each) for each in stored(Path(folder), found, chosen)])


def stored(
    workspace: Path, experiments: Sequence[Experiment], chosen: Selection
) -> Iterator[StoredTrial]:
    """The trials in a workspace, all of them finished.

    Raises:
        SystemExit: one is not.
    """
    registry = workloads.registry()
    for each in experiments:
        for spec in specs(each, registry[each.manifest.workload.name], chosen):
            trial = Store(workspace).read(spec.id)
            if trial is None or trial.done < chosen.epochs_of(each):
                raise SystemExit(f"{workspace}: {each.id} seed {spec.seed} is not finished")
            yield trial


def _stamps(trial: StoredTrial) -> Stamps:
    first = trial.epochs[0]
    ended_ms = max(final.ended_ms for final in trial.finals.values())
    spent = [record.seconds for record in trial.epochs]
    return Stamps(first.ended_ms / 1000 - first.seconds, ended_ms / 1000, spent)


def overhead(asked: argparse.Namespace) -> list[Figure]:
    """The harness against a bare pool, for trials of about the length asked for."""
    manifest = EXPERIMENTS / f"{asked.experiment}.yaml"
    alone = bare("pool", manifest, "--epochs", 3, "--seeds", asked.cores)
    wanted = max(1, round(asked.seconds / mean(alone.trials[-1].epochs_s)))
    epochs = min(wanted, experiment(manifest.stem).manifest.epochs.value)
    size = {"seeds": asked.trials_per_core * asked.cores, "epochs": epochs}
    ours: list[Timed] = []
    theirs: list[Timed] = []
    options = ("--epochs", epochs, "--seeds", size["seeds"])
    in_turns(
        lambda: ours.append(harnessed([manifest], **size)),
        lambda: theirs.append(bare("pool", manifest, *options)),
        rounds=asked.rounds,
    )
    pairs = list(zip(ours, theirs, strict=True))
    length_s = mean(trial.ended_s - trial.began_s for timed in theirs for trial in timed.trials)
    group = "`harness run` against the same trials in a bare pool of processes"
    promised = 1.05 if asked.seconds >= 60 else None
    return [
        Figure.of(
            (a.wall_s / b.wall_s for a, b in pairs),
            group=group,
            name="wall time, from command to exit",
            at_most=promised,
            note=f"{size['seeds']} trials of {length_s:.0f} s each",
        ),
        Figure.of(
            (a.work_s / b.work_s for a, b in pairs),
            group=group,
            name="wall time, from the first epoch to the last",
            at_most=promised,
        ),
        Figure.of(
            ((a.wall_s - a.work_s) - (b.wall_s - b.work_s) for a, b in pairs),
            group=group,
            name="start-up, verdict, report and tracking's end, beyond the pool's start-up",
            unit="s",
        ),
    ]


def ten(asked: argparse.Namespace) -> list[Figure]:
    """The first epochs of all six."""
    manifests = [EXPERIMENTS / f"{name}.yaml" for name in SIX]
    ours = harnessed(manifests, seeds=1, epochs=asked.epochs)
    plain_s = sum(_plain_s(path, asked.epochs, asked.plain_epochs) for path in manifests)
    return [
        Figure(
            group=WHOLE,
            name=f"first {asked.epochs} epochs, with start-up",
            value=plain_s / ours.wall_s,
            at_least=4.0,
            note=f"{plain_s / 60:.1f} min, now {ours.wall_s / 60:.1f} min",
        )
    ]


def full(asked: argparse.Namespace) -> list[Figure]:
    """All epochs of all six, from the records of a run that did nothing else, uninterrupted."""
    manifests = [EXPERIMENTS / f"{name}.yaml" for name in SIX]
    found = load(manifests, workloads.registry())
    chosen = Selection(seeds=(asked.seed,))
    ours = Timed(0.0, [_stamps(each) for each in stored(asked.workspace, found, chosen)])
    wall_s = asked.wall_s or ours.work_s
    plain_s = sum(
        _plain_s(path, each.manifest.epochs.value, asked.plain_epochs)
        for path, each in zip(manifests, found, strict=True)
    )
    return [
        Figure(
            group=WHOLE,
            name="to the last epoch" + (", with start-up" if asked.wall_s else ""),
            value=plain_s / wall_s,
            at_least=6.0,
            note=f"{plain_s / 60:.0f} min, now {wall_s / 60:.0f} min",
        )
    ]


def _plain_s(manifest: Path, epochs: int, measured: int) -> float:
    """The plain loop's wall time; epochs that are not measured count as the mean of the others."""
    timed = bare("plain", manifest, "--epochs", min(epochs, measured))
    (trial,) = timed.trials
    more = max(0, epochs - measured)
    # The first epoch of a process is slower, so that it speaks for itself alone.
    wall_s = timed.wall_s + more * mean(trial.epochs_s[1:] or trial.epochs_s)
    print(f"{manifest.stem}: plain loop {wall_s:.0f} s, {more} of {epochs} epochs not measured")
    return wall_s


COMMANDS: dict[str, Callable[[argparse.Namespace], list[Figure]]] = {
    "overhead": overhead,
    "ten": ten,
    "full": full,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    by_name = {name: commands.add_parser(name) for name in COMMANDS}
    for command in by_name.values():
        command.add_argument("--out", type=Path, required=True, help="a JSON file")
    # A trial of images is over within the minute.
    by_name["overhead"].add_argument("--experiment", default="sequence-pair-16")
    # Alone; side by side some have turned out a tenth shorter, and a minute is what was promised.
    by_name["overhead"].add_argument("--seconds", type=float, default=66.0, help="of a trial")
    by_name["overhead"].add_argument("--trials-per-core", type=int, default=6)
    by_name["overhead"].add_argument("--rounds", type=int, default=2)
    by_name["overhead"].add_argument("--cores", type=int, default=os.cpu_count())
    by_name["ten"].add_argument("--epochs", type=int, default=10)
    by_name["full"].add_argument("--workspace", type=Path, required=True)
    by_name["full"].add_argument("--seed", type=int, default=0)
    by_name["full"].add_argument("--wall-s", type=float, help="of the command; else the records'")
    for name in ("ten", "full"):
        by_name[name].add_argument("--plain-epochs", type=int, default=3, help="measured")
    asked = parser.parse_args()
    figures = COMMANDS[asked.command](asked)
    for figure in figures:
        print(f"{figure.name}: {figure.value:.3g} {figure.unit} {figure.note}")
    results.save(asked.out, describe(), figures)


if __name__ == "__main__":
    main()
