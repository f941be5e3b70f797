"""`selftest`: check that verdicts detect planted faults and raise no false alarms."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from harness.cli import options
from harness.cli.console import ConsoleObserver, log_to
from harness.errors import Exit
from harness.report.terminal import Column, FittedTable
from harness.selftest import CaseResult, Training, cases, kind_cases
from harness.session.selftest import choose_subject, run_stored, run_training


def selftest(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[PATH]...",
            help="Manifests, or folders of manifests. The test uses the experiment whose workload "
            "has the most planted faults.",
            show_default="experiments",
        ),
    ] = None,
    full: Annotated[
        bool,
        typer.Option(
            "--full",
            help="Also plant the workload's other faults, and those that only runs of full length "
            "show; takes a quarter of an hour on two cores.",
        ),
    ] = False,
    data: options.Data = None,
    quiet: options.Quiet = False,
) -> None:
    """Plant faults and check that the verdicts detect them; exit 1 if a verdict is wrong.

    Sound runs must pass. Most faults are planted in stored records, with one for each kind of
    claim. Some of the workload's own faults are planted in real training. Everything happens in a
    temporary workspace.

    Example: harness selftest --full
    """
    console = Console(quiet=quiet)
    log_to(Console(stderr=True, quiet=True))  # warnings about planted damage are noise
    subject = choose_subject(paths or [Path("experiments")])
    console.print(f"faults are planted in {subject.experiment.id}", highlight=False)
    observer = ConsoleObserver(console)
    with TemporaryDirectory(prefix="harness-selftest-") as root:
        stored = [
            run_stored(subject, case, Path(root) / str(number))
            for number, case in enumerate((*cases(subject), *kind_cases(subject)))
        ]
        trained = run_training(Training.short(subject), Path(root) / "short", observer, data=data)
        if full:
            for name, training in ("others", Training.others), ("whole", Training.whole):
                planted = training(subject)
                if planted.cases:
                    trained += run_training(planted, Path(root) / name, observer, data=data)
    _show({"stored": stored, "trained": trained}, console)
    failed = [result for result in (*stored, *trained) if not result.passed]
    raise typer.Exit(Exit.NOT_AS_EXPECTED if failed else Exit.AS_EXPECTED)


def _show(results: dict[str, list[CaseResult]], console: Console) -> None:
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
    for where, group in results.items():
        for result in group:
            table.add_row(*_row(result, where))
    console.print(table)
    every = [result for group in results.values() for result in group]
    faults = [result.passed for result in every if result.is_fault]
    sound = [result.passed for result in every if not result.is_fault]
    console.print(
        f"{sum(faults)} of {len(faults)} planted faults detected, "
        f"{sum(sound)} of {len(sound)} sound runs passed"
    )


def _row(result: CaseResult, where: str) -> list[Text]:
    mark = Text("ok", "green") if result.passed else Text("NO", "bold red")
    name = Text(result.name if result.is_fault else f"nothing: {result.name}")
    detection = result.detection
    by, level = (detection.by, detection.level) if detection else ("nothing", "")
    return [name, mark, Text(result.verdict), Text(where), Text(by), Text(level)]
