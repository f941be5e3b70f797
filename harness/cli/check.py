"""`check`: judge the stored records again."""

import typer
from rich.console import Console

from harness.cli import options
from harness.cli.console import STDOUT, save, show
from harness.cli.options import judged
from harness.verdict import exit_code


def check(
    paths: options.Paths,
    seeds: options.Seeds = None,
    epochs: options.Epochs = None,
    workspace: options.Workspace = options.DEFAULT_WORKSPACE,
    committed: options.Committed = False,
    json_file: options.Json = None,
    junit: options.Junit = None,
) -> None:
    """Judge the stored records again: no Ray, no MLflow, no training.

    Without --seeds and --epochs it judges what the last run asked for. An experiment of which the
    workspace holds nothing is judged by the records committed beside its manifest. It says so.

    Example: harness check experiments --json -
    """
    session = judged(paths, seeds, epochs, workspace, committed=committed)
    console = Console(stderr=json_file == STDOUT)
    for line in session.described_requests():
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    verdicts = session.verdicts()
    show(verdicts, console)
    save(verdicts, json_file=json_file, junit=junit)
    raise typer.Exit(exit_code(verdicts))
