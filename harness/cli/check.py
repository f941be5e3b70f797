"""`check`: judge the stored records again."""

import typer
from rich.console import Console

from harness.cli import options
from harness.cli.console import show_verdicts
from harness.cli.options import Outputs, judged
from harness.plan import Request
from harness.verdict import exit_code


def check(
    paths: options.Paths,
    request: Request,
    outputs: Outputs,
    workspace: options.Workspace = options.DEFAULT_WORKSPACE,
    committed: options.Committed = False,
    every_row: options.EveryRow = False,
) -> None:
    """Judge the stored records again, without Ray, MLflow or training.

    It prints a line for each experiment, and the rows that failed or are undecided.

    Without --seeds and --epochs, it judges the seeds and epochs of the last run. If the workspace
    holds no trial of an experiment, it judges the records committed beside the manifest, and says
    so.

    Example: harness check experiments --json -
    """
    session = judged(paths, request, workspace, committed=committed)
    console = Console(stderr=outputs.use_stdout)
    for line in session.described_requests():
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    verdicts = session.verdicts()
    show_verdicts(verdicts, console, every_row=every_row, more="add --all")
    outputs.write(verdicts)
    raise typer.Exit(exit_code(verdicts))
