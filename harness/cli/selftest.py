"""`selftest`: does the verdict see what is wrong, and let pass what is not?"""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from harness import cluster_address, workloads
from harness.cli import options
from harness.cli.live import ConsoleObserver, log_to
from harness.errors import Exit, StoppedError, StoreError, UsageError
from harness.options import DEFAULT_DATA, RunOptions
from harness.plan import Selection
from harness.record import FailureKind
from harness.report.tables import Column, FittedTable
from harness.selftest import STORED, Bench, Check, Plant, Training, check
from harness.selftest.bench import guarded
from harness.selftest.stored import MEMORISED
from harness.session import Session, load
from harness.session.committed import FOLDER
from harness.session.runner import run_trials
from harness.session.signals import stop_on_signals
from harness.session.tracking import Untracked
from harness.store import Archive, Store
from harness.verdict import ExperimentVerdict

DEFAULT_EXPERIMENTS = Path("experiments")
SUBJECT, OTHER = "image-pair-4", "image-pair-8"
DRAWN_ONCE = f"{SUBJECT}[redraw=false]"
"""The study's variant whose committed records show memorised pairs."""


def selftest(
    experiments: Annotated[
        Path, typer.Argument(help="The folder of the paper's manifests and records.")
    ] = DEFAULT_EXPERIMENTS,
    full: Annotated[
        bool,
        typer.Option(
            "--full", help="Train over the whole run too: a quarter of an hour on two cores."
        ),
    ] = False,
    data: options.Data = DEFAULT_DATA,
    quiet: options.Quiet = False,
) -> None:
    """Plant faults that must be caught, and nulls that must not; exit 1 if one gets through.

    In stored curves, and in real training where one function of the method is replaced in a worker.
    Everything lies in a temporary workspace.

    Example: harness selftest --full
    """
    console = Console(quiet=quiet)
    log_to(Console(stderr=True, quiet=True))  # damage that was planted is not worth a warning
    bench = bench_of(experiments)
    with TemporaryDirectory(prefix="harness-selftest-") as root:
        stored = [on_stored(bench, plant, Path(root) / str(at)) for at, plant in enumerate(STORED)]
        stored.append(on_stored(bench, MEMORISED, Path(root) / "memorised"))
        trained = on_training(Training.short(bench), Path(root) / "short", console, data=data)
        if full:
            whole = Training.whole(bench)
            trained += on_training(whole, Path(root) / "whole", console, data=data)
    _show({"stored": stored, "trained": trained}, console)
    slipped = [found for found in (*stored, *trained) if not found.passed]
    raise typer.Exit(Exit.NOT_AS_EXPECTED if slipped else Exit.AS_EXPECTED)


def bench_of(folder: Path) -> Bench:
    """What faults are planted in.

    Raises:
        ManifestError: a manifest is not there, or has faults.
        UsageError: the records of memorised pairs are not there.
    """
    subject, other = load([folder / f"{SUBJECT}.yaml", folder / f"{OTHER}.yaml"])
    archive = Archive(folder / FOLDER)
    memorised = archive.kept(DRAWN_ONCE).trials
    if not memorised:
        raise UsageError(f"{archive.file(DRAWN_ONCE)}: not there; selftest needs these records")
    return guarded(Bench(subject, other, workloads.registry(), memorised))


def on_stored(bench: Bench, plant: Plant, root: Path) -> Check:
    """Plant it in a workspace of its own, and judge that."""
    store = Store(root)
    experiments = plant.prepare(bench, store)
    seeds = tuple(trial.spec.seed for trial in bench.memorised) if plant is MEMORISED else None
    selection = Selection(seeds=seeds)
    verdicts = [
        verdict
        for experiment in experiments
        for verdict in Session((experiment,), selection, store).verdicts()
    ]
    return check(plant, verdicts)


def on_training(training: Training, root: Path, console: Console, *, data: Path) -> list[Check]:
    """Train with each fault on Ray, and judge what was recorded.

    Raises:
        StoreError: trials were lost to infrastructure, so that nothing can be said.
    """
    session = Session(
        training.experiments,
        training.selection,
        Store(root),
        registry=training.registry,
        apart=True,
    )
    how = RunOptions(data=data)
    with session.store.lock(), stop_on_signals() as stop:
        session.declare()
        observer = ConsoleObserver(console)
        run_trials(
            session.left(),
            session,
            how,
            observer,
            address=cluster_address.choose(None),
            tracking=Untracked(),
            stop=stop,
        )
        if stop.exit_code is not Exit.AS_EXPECTED:
            raise StoppedError(stop.exit_code)
        verdicts = session.verdicts()
    _refuse_lost(verdicts)
    pairs = zip(training.plants, verdicts, strict=True)
    return [check(plant, [verdict]) for plant, verdict in pairs]


def _refuse_lost(verdicts: Sequence[ExperimentVerdict]) -> None:
    for verdict in verdicts:
        for seed, failure in verdict.failures.items():
            if failure.kind is FailureKind.INFRASTRUCTURE:
                raise StoreError(f"{verdict.id} seed {seed} was lost: {failure.message}")


def _show(found: dict[str, list[Check]], console: Console) -> None:
    table = FittedTable(
        (
            Column("planted"),
            Column("result", whole=True),
            Column("verdict", whole=True),
            Column("curves", whole=True),
            Column("shown by"),
            Column("level"),
        )
    )
    for where, checks in found.items():
        for each in checks:
            table.add_row(*_row(each, where))
    console.print(table)
    checks = [each for group in found.values() for each in group]
    caught = sum(each.passed for each in checks if each.planted)
    passed = sum(each.passed for each in checks if not each.planted)
    faults = sum(each.planted for each in checks)
    console.print(
        f"{caught} of {faults} faults caught, {passed} of {len(checks) - faults} nulls let pass"
    )


def _row(found: Check, where: str) -> list[Text]:
    mark = Text("ok", "green") if found.passed else Text("NO", "bold red")
    name = Text(found.name if found.planted else f"nothing: {found.name}")
    by, level = (found.catch.by, found.catch.level) if found.catch else ("nothing", "")
    return [name, mark, Text(found.verdict), Text(where), Text(by), Text(level)]
