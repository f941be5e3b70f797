"""`study`: find out which verdicts depend on parameters that the paper leaves open."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from harness.cli import options
from harness.cli.console import ConsoleObserver, log_to
from harness.cli.plan import show_plan
from harness.errors import Exit
from harness.output import STDOUT
from harness.plan import Selection
from harness.report.documents import study_document
from harness.session import RunOptions
from harness.session.study import plan_study, run_study
from harness.store import Store
from harness.study import Study
from harness.study.sensitivity import sentences


def study(
    manifest: Annotated[
        Path, typer.Argument(metavar="FILE", help="One manifest.", show_default=False)
    ],
    vary: Annotated[
        list[str],
        typer.Option(
            metavar="NAME=VALUE,...",
            help="An assumed or inferred parameter, or 'metric of CLAIM', and the values to try. "
            "Repeat the option to vary several.",
        ),
    ],
    selection: Selection,
    run_options: RunOptions,
    grid: Annotated[
        bool, typer.Option("--grid", help="Try every combination, not one change at a time.")
    ] = False,
    plan: Annotated[
        bool,
        typer.Option("--plan", help="Show which trials would run and which are done. Run nothing."),
    ] = False,
    workspace: options.Workspace = options.DEFAULT_WORKSPACE,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for the study's pages and figure.",
            show_default="study/ID in the workspace",
            callback=options.folder,
        ),
    ] = None,
    json_file: options.Json = None,
    quiet: options.Quiet = False,
) -> None:
    """Sensitivity analysis: re-run with other values and report which verdicts change.

    You vary parameters that the paper leaves open. The manifest's own values are always one of the
    variants. Trials that are done do not run again. The verdicts are exploratory. Exit 0: the study
    is complete, whatever it found; 4: trials are missing or were lost; 2: wrong usage.

    Example: harness study experiments/sequence-pair-16.yaml --vary length=1200,1600 --seeds 0-4
    """
    console = Console(stderr=json_file == STDOUT, quiet=quiet)
    log_to(Console(stderr=True))
    variants = plan_study(manifest, vary, grid=grid)
    store = Store(workspace)
    if plan:
        show_plan(variants.experiments, selection, store)
        return
    finished, page = run_study(
        variants, selection, store, run_options, ConsoleObserver(console), folder=out
    )
    _show(finished, console)
    if json_file is not None:
        options.write_json(json_file, study_document(finished).text())
    console.print(f"study: {page}", highlight=False, soft_wrap=True)
    raise typer.Exit(Exit.INCOMPLETE if finished.incomplete else Exit.AS_EXPECTED)


def _show(finished: Study, console: Console) -> None:
    from harness.report.study_page import tables  # noqa: PLC0415 - only a study needs it

    for table in tables(finished):
        console.print(table)
    for sentence in sentences(finished):
        console.print(sentence, highlight=False, markup=False)
