"""`logs`: show what a trial printed."""

import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from harness.cli import options
from harness.errors import Exit, UsageError
from harness.plan import Selection
from harness.record import Printed
from harness.session import Session, load_experiments

_LOOK_S = 0.5
"""How often --follow looks for new lines, in seconds."""

_OVERLAP = 4096
"""Length of the end by which a shortened text is found again, in bytes."""


def logs(
    manifest: Annotated[Path, typer.Argument(help="One manifest.", show_default=False)],
    seed: options.Seed,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Show new lines until the trial has ended.")
    ] = False,
    epochs: options.Epochs = None,
    workspace: options.Workspace = options.DEFAULT_WORKSPACE,
) -> None:
    """Show what a trial printed: its standard output and its standard error, each on ours.

    Of long output the beginning and the end are kept. New lines come with the trial's epochs.
    Exit 4 if the workspace holds nothing of the trial.

    Example: harness logs experiments/image-pair-4.yaml --seed 3 --follow
    """
    experiments = load_experiments([manifest])
    if len(experiments) != 1:
        raise UsageError(f"{manifest} holds {len(experiments)} experiments; name one of them")
    store = options.existing(workspace)
    session = Session(experiments, Selection(seeds=(seed,), epochs=epochs), store)
    (job,) = session.jobs()
    trial_id = job.spec.id
    if trial_id not in frozenset(store.trials()) and not follow:
        typer.echo(f"seed {seed} has not begun in {workspace}; --workspace names another", err=True)
        raise typer.Exit(Exit.INCOMPLETE)
    shown = dict.fromkeys(Printed, b"")
    while True:
        # Look at the state first: what was printed before the end is there once the end is.
        ended = not follow or store.settled(trial_id, job.epochs)
        for stream, before in shown.items():
            now = store.printed(trial_id, stream)
            out = sys.stdout if stream is Printed.STDOUT else sys.stderr
            out.write(appended(before, now).decode(errors="replace"))
            out.flush()
            shown[stream] = now
        if ended:
            return
        time.sleep(_LOOK_S)


def appended(before: bytes, now: bytes) -> bytes:
    """Return what was added to a text, whose middle may have been cut out since."""
    if now.startswith(before):
        return now[len(before) :]
    at = now.rfind(before[-_OVERLAP:])
    return now if at < 0 else now[at + min(len(before), _OVERLAP) :]
