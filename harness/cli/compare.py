"""`compare`: two workspaces, nights, folders of committed records or tables, seed by seed."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from harness import workloads
from harness.cli import options
from harness.compare import Comparison, Side, Standing
from harness.compare import compare as compare_sides
from harness.compare.document import document
from harness.compare.wording import sentence
from harness.errors import Exit, UsageError
from harness.manifest import Experiment
from harness.nightly import read_record
from harness.nightly.book import MANIFESTS
from harness.output import STDOUT, write
from harness.plan import Selection, specs
from harness.record import StoredTrial, TrialSpec
from harness.report import table
from harness.report.tables import Column, FittedTable
from harness.session import load
from harness.store import Archive, Store

DEFAULT_EXPERIMENTS = Path("experiments")

_STYLES = {Standing.UNCHANGED: "green", Standing.MOVED: "bold red", Standing.NOTHING: "magenta"}


def compare(
    base: Annotated[
        Path,
        typer.Argument(
            help="A workspace, a night, committed records, or an exported .csv or .parquet."
        ),
    ],
    new: Annotated[Path, typer.Argument(help="Another, to be compared with it.")],
    manifests: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Manifests, or folders of them, whose claims are compared.",
            show_default="those of the night NEW, else experiments",
        ),
    ] = None,
    json_file: options.Json = None,
) -> None:
    """What changed from BASE to NEW: digests first, then each claim seed by seed.

    Exit 0: nothing is shown to have moved; 1: something moved; 3: one seed, and it differs;
    4: nothing to compare.

    Example: harness compare results/nights/light/2026-01-01T020000Z results
    """
    for side in (base, new):
        if not side.exists():
            raise UsageError(f"{side}: no such workspace, night, records or exported table")
    own = new / MANIFESTS
    experiments = load(manifests or [own if own.is_dir() else DEFAULT_EXPERIMENTS])
    found = compare_sides(experiments, _side(base, experiments), _side(new, experiments))
    found = tuple(each for each in found if each.seeds or each.only_base or each.only_new)
    _show(found, Console(stderr=json_file == STDOUT))
    _save(found, json_file)
    raise typer.Exit(_code(found))


def _show(found: Sequence[Comparison], console: Console) -> None:
    shown = FittedTable(
        (Column("experiment", whole=True), Column("standing", whole=True), Column("why"))
    )
    for each in found:
        style = _STYLES.get(each.standing, "yellow")
        shown.add_row(each.id, Text(each.standing, style=style), Text(sentence(each)))
    console.print(shown if found else "nothing to compare: neither side holds these experiments")


def _save(found: Sequence[Comparison], json_file: str | None) -> None:
    if json_file is not None:
        write(json_file, json.dumps(document(found), indent=2, allow_nan=False) + "\n")


def _code(found: Sequence[Comparison]) -> Exit:
    standings = {each.standing for each in found}
    if Standing.MOVED in standings:
        return Exit.NOT_AS_EXPECTED
    if Standing.NOTHING in standings or not found:
        return Exit.INCOMPLETE
    return Exit.INCONCLUSIVE if Standing.UNTESTED in standings else Exit.AS_EXPECTED


def _side(path: Path, experiments: Sequence[Experiment]) -> Side:
    """What a workspace, a night, committed records or a table hold of the experiments."""
    if path.is_file():
        return Side(table.read(path))
    if Archive.there(path):
        return Side(dict(_stored(Archive(path), experiments)))
    store, record = Store(path), read_record(path)
    if record is None:
        return Side(dict(_stored(store, experiments)))
    # A night says which trials were whose, whatever the manifests have become since.
    named = (
        (name, seed, store.read(trial))
        for name, entry in record.experiments.items()
        for seed, trial in entry.trials.items()
    )
    return Side({(name, seed): trial for name, seed, trial in named if trial is not None})


def _stored(
    store: Store | Archive, experiments: Sequence[Experiment]
) -> Iterator[tuple[tuple[str, int], StoredTrial]]:
    """The trials that the manifests, as they now stand, would have with any seed."""
    registry = workloads.registry()
    wanted: list[tuple[str, TrialSpec]] = []
    for experiment in experiments:
        workload = registry[experiment.manifest.workload.name]
        (spec,) = specs(experiment, workload, Selection(seeds=(0,)))
        wanted.append((experiment.id, spec))
    for trial_id in store.trials():
        trial = store.read(trial_id)
        for name, spec in wanted:
            if (
                trial
                and replace(spec, seed=trial.spec.seed, length=trial.spec.length) == trial.spec
            ):
                yield (name, trial.spec.seed), trial
