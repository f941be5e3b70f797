"""`study`: find out which verdicts depend on parameters that the paper leaves open."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from harness import workloads
from harness.cli import options
from harness.cli.live import ConsoleObserver, log_to
from harness.cli.plan import show_plan
from harness.errors import Exit, UsageError
from harness.manifest import Experiment
from harness.output import STDOUT, check_target, write
from harness.plan import Selection
from harness.report.documents import study_document
from harness.session import RunOptions, Session, load, run_session
from harness.store import Store
from harness.study import Factor, Result, Study, Variant, factors, variants
from harness.study.results import sentences


def study(
    manifest: Annotated[
        Path, typer.Argument(metavar="FILE", help="One manifest.", show_default=False)
    ],
    vary: Annotated[
        list[str],
        typer.Option(
            metavar="NAME=VALUE,...",
            help="An assumed or inferred parameter, or 'metric of CLAIM', and the values to try. "
            "Give it several times to vary several.",
        ),
    ],
    selection: Selection,
    run_options: RunOptions,
    grid: Annotated[
        bool, typer.Option("--grid", help="Try every combination, not one change at a time.")
    ] = False,
    plan: Annotated[
        bool,
        typer.Option("--plan", help="Show what would be run and what is done, and run nothing."),
    ] = False,
    workspace: options.Workspace = options.DEFAULT_WORKSPACE,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for the study's pages and figure.",
            show_default="study/ID in the workspace",
        ),
    ] = None,
    json_file: options.Json = None,
    quiet: options.Quiet = False,
) -> None:
    """Run a sensitivity analysis: re-run with other values and report which verdicts change.

    You vary parameters that the paper leaves open. The manifest's own values are always among the
    variants, and trials that are done are not run again. The verdicts are exploratory. Exit 0: the
    study is complete, whatever it found; 4: trials are missing or were lost; 2: wrong usage.

    Example: harness study experiments/sequence-pair-16.yaml --vary length=1200,1600 --seeds 0-4
    """
    console = Console(stderr=json_file == STDOUT, quiet=quiet)
    log_to(Console(stderr=True))
    if json_file is not None:
        check_target(json_file)
    experiment, varied, made = _variants(manifest, vary, grid=grid)
    store = Store(workspace)
    experiments = tuple(variant.experiment for variant in made)
    if plan:
        show_plan(experiments, selection, store)
        return
    folder = out or workspace / "study" / experiment.id
    session = Session(experiments, selection, store, apart=True)
    verdicts = run_session(session, run_options, ConsoleObserver(console), report=folder).verdicts
    results = tuple(map(Result, made, verdicts))
    found = Study(experiment, varied, results, grid)
    _show(found, console)
    page = _write(found, folder, json_file)
    console.print(f"study: {page}", highlight=False, soft_wrap=True)
    raise typer.Exit(Exit.INCOMPLETE if found.incomplete else Exit.AS_EXPECTED)


def _variants(
    path: Path, vary: Sequence[str], *, grid: bool
) -> tuple[Experiment, tuple[Factor, ...], tuple[Variant, ...]]:
    """Read the manifest and make its variants.

    Raises:
        ManifestError: with every fault of the file.
        UsageError: with every fault of the options.
    """
    experiments = load([path])
    if len(experiments) != 1:
        raise UsageError(f"{path}: {len(experiments)} manifests; name one")
    (experiment,) = experiments
    asked = factors(experiment, vary)
    return experiment, *variants(experiment, asked, workloads.registry(), grid=grid)


def _show(found: Study, console: Console) -> None:
    from harness.report.study import tables  # noqa: PLC0415 - `check` and `plan` set no pages

    for table in tables(found):
        console.print(table)
    for sentence in sentences(found):
        console.print(sentence, highlight=False, markup=False)


def _write(found: Study, folder: Path, json_file: str | None) -> Path:
    """Write the page, figure and JSON into the folder, and the JSON also to `json_file`."""
    from harness.report import figures, study_figure  # noqa: PLC0415 - as above
    from harness.report.study import markdown  # noqa: PLC0415 - as above

    drawn = study_figure.figure(found)
    if drawn is not None:
        write(folder / "study.png", figures.image(drawn, "png"))
    page = folder / "study.md"
    write(page, markdown(found, "study.png" if drawn else None))
    text = study_document(found).text()
    write(folder / "study.json", text)
    if json_file is not None:
        write(json_file, text)
    return page
