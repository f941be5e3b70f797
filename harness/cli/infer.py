"""`infer`: search for values of unstated parameters that give the reported numbers."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from harness.cli import options
from harness.cli.console import ConsoleObserver, log_to, show_verdicts
from harness.errors import Exit
from harness.output import STDOUT
from harness.plan import Selection
from harness.report.documents import search_document
from harness.session import RunOptions
from harness.session.study import confirm, plan_search, run_search
from harness.store import Store


def infer(
    manifest: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="One manifest with a section `search`.", show_default=False
        ),
    ],
    run_options: RunOptions,
    settings: Annotated[
        int, typer.Option(min=1, help="How many settings to try, including those of earlier calls.")
    ] = 50,
    confirmed: Annotated[
        bool,
        typer.Option(
            "--confirm",
            help="Then run the best setting with the manifest's seeds and all epochs, and judge it "
            "by the rows that were not searched on.",
        ),
    ] = False,
    cpus_per_trial: options.CpusPerTrial = None,
    gpus_per_trial: options.GpusPerTrial = None,
    workspace: options.Workspace = options.DEFAULT_WORKSPACE,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for the page, the figure and the JSON file.",
            show_default="infer/ID in the workspace",
            callback=options.folder,
        ),
    ] = None,
    json_file: options.Json = None,
    quiet: options.Quiet = False,
) -> None:
    """Search for values of unstated parameters that give the reported numbers.

    The manifest's section `search` names the parameters to vary and the rows to compare; the other
    rows are held out. The report shows which values are compatible with the paper, or says that
    none are. The same command continues where the last call ended. Exit 0: the search is complete,
    whatever it found; 4: trials were lost; 2: wrong usage. With --confirm the exit code is that of
    the verdict.

    Example: harness infer experiments/sequence-pair-16.yaml --settings 30
    """
    console = Console(stderr=json_file == STDOUT, quiet=quiet)
    log_to(Console(stderr=True))
    space, store, observer = plan_search(manifest), Store(workspace), ConsoleObserver(console)
    selection = Selection(cpus_per_trial=cpus_per_trial, gpus_per_trial=gpus_per_trial)
    region, page = run_search(
        space, store, run_options, observer, settings=settings, selection=selection, folder=out
    )
    from harness.report.study_page import search_sentences  # noqa: PLC0415 - imports matplotlib

    for sentence in search_sentences(region):
        console.print(sentence, highlight=False, markup=False)
    if json_file is not None:
        options.write_json(json_file, search_document(region).text())
    console.print(f"search: {page}", highlight=False, soft_wrap=True)
    code = Exit.INCOMPLETE if region.found.lost else Exit.AS_EXPECTED
    if confirmed:
        result = confirm(region, store, run_options, observer, selection=selection, folder=out)
        show_verdicts(result.verdicts, console, every_row=True, more="")
        code = result.exit_code
    raise typer.Exit(code)
