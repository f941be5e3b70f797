"""Options that several commands share: each has one name, one meaning and one text."""

from pathlib import Path
from typing import Annotated

import platformdirs
import typer

from harness.errors import UsageError
from harness.manifest import parse_seeds
from harness.plan import Selection
from harness.session import CommittedUse, Session, load
from harness.store import Store

Paths = Annotated[
    list[Path], typer.Argument(help="Manifests, or folders of them.", show_default=False)
]
Seeds = Annotated[
    str | None,
    typer.Option(help="Seeds instead of the manifest's, as 0-4 or 0,2,5-7.", show_default=False),
]
Epochs = Annotated[
    int | None,
    typer.Option(
        min=1, help="Only the first N epochs; later claims are 'not run'.", show_default=False
    ),
]
Workspace = Annotated[
    Path, typer.Option(envvar="HARNESS_WORKSPACE", help="Folder that holds trials and reports.")
]
Data = Annotated[
    Path,
    typer.Option(
        envvar="HARNESS_DATA",
        help="Cache of data sets; processes may share it.",
        show_default="the user's cache folder",
    ),
]
Committed = Annotated[
    bool,
    typer.Option(
        "--committed",
        help="Use the records committed beside the manifests, whatever the workspace holds.",
    ),
]
Json = Annotated[
    str | None,
    typer.Option(
        "--json", metavar="FILE", help="Write the verdicts as JSON; - prints it and nothing else."
    ),
]
Junit = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Write the verdicts as JUnit XML.")
]
TrackingUri = Annotated[
    str | None,
    typer.Option(
        envvar="MLFLOW_TRACKING_URI",
        help="An MLflow server or database; 'none' turns tracking off.",
        show_default="SQLite in the workspace",
    ),
]
CpusPerTrial = Annotated[
    float | None, typer.Option(min=0.01, help="CPUs a trial, instead of the manifest's.")
]
GpusPerTrial = Annotated[
    float | None,
    typer.Option(min=0, help="GPUs a trial, a fraction shares one; instead of the manifest's."),
]
Address = Annotated[
    str | None,
    typer.Option(
        help="Ray cluster to join: host:port, or auto for the one on this machine; "
        "local starts a private one.",
        show_default="RAY_ADDRESS, or else local",
    ),
]
Retries = Annotated[
    int, typer.Option(min=0, help="Further attempts at a trial lost to infrastructure.")
]
Deadline = Annotated[
    float, typer.Option(min=1, help="Seconds without progress after which a trial counts as lost.")
]
Isolate = Annotated[bool, typer.Option("--isolate", help="A fresh process for every trial.")]
FromRecords = Annotated[
    bool,
    typer.Option(
        "--from-records",
        help="Take over what is finished in the records committed beside the manifests.",
    ),
]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="Print nothing but warnings and errors.")
]

DEFAULT_WORKSPACE = Path("results")
DEFAULT_RETRIES = 3
DEFAULT_DEADLINE_S = 600.0
DEFAULT_PORT = 5000
"""Of MLflow's server, as MLflow has it."""
DEFAULT_DATA = Path(platformdirs.user_cache_dir("harness"))


def selection(
    seeds: str | None,
    epochs: int | None,
    cpus: float | None = None,
    gpus: float | None = None,
) -> Selection:
    """What the options ask of every manifest.

    Raises:
        UsageError: the seeds are not a list of ranges.
    """
    try:
        chosen = None if seeds is None else parse_seeds(seeds)
    except ValueError as fault:
        raise UsageError(f"--seeds: {fault}") from None
    return Selection(seeds=chosen, epochs=epochs, cpus=cpus, gpus=gpus)


def stored(
    paths: list[Path], seeds: str | None, epochs: int | None, workspace: Path, *, committed: bool
) -> Session:
    """What a workspace holds of what the options ask for, or else what is committed of it."""
    use = CommittedUse.ALWAYS if committed else CommittedUse.WHERE_EMPTY
    return Session(load(paths), selection(seeds, epochs), Store(workspace), use)


def judged(
    paths: list[Path], seeds: str | None, epochs: int | None, workspace: Path, *, committed: bool
) -> Session:
    """As `stored`; without --seeds and --epochs, what the last run asked for."""
    session = stored(paths, seeds, epochs, workspace, committed=committed)
    return session.as_last_requested() if seeds is None and epochs is None else session


def existing(workspace: Path) -> Store:
    """The workspace, which must exist.

    Raises:
        UsageError: there is none: a name was mistyped, or nothing has been run.
    """
    store = Store(workspace)
    if not store.exists:
        raise UsageError(
            f"{workspace}: no workspace is here; `harness run` makes one, --workspace names another"
        )
    return store
