"""The options that several commands share, each with one name, one meaning and one help text.

A command that takes a `Request`, `Selection`, `RunOptions` or `Outputs` gets one option for each
field or format.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from harness.errors import UsageError
from harness.manifest import parse_seeds, plain_words
from harness.options import Flag, RunOptions
from harness.output import STDOUT, check_target, given_by, write_output
from harness.plan import Request, Selection
from harness.report import FORMATS
from harness.session import CommittedUse, Session, load_experiments
from harness.store import Store
from harness.verdict import ExperimentVerdict

Paths = Annotated[
    list[Path],
    typer.Argument(help="Manifests, or folders that hold manifests.", show_default=False),
]
Seeds = Annotated[
    str | None,
    typer.Option(
        help="Seeds to use instead of the manifest's, such as 0-4 or 0,2,5-7.", show_default=False
    ),
]
Epochs = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Use only the first N epochs; claims about later epochs are 'not run'. Manifests with "
        "fewer epochs run whole, and the output says so.",
        show_default=False,
    ),
]


def folder(parameter: typer.CallbackParam, given: Path | None) -> Path | None:
    """Refuse a file as the value of an option that takes a folder, which need not exist.

    Raises:
        UsageError: names the option and the path.
    """
    for path in () if given is None else (given, *given.parents):
        if path.exists() and not path.is_dir():
            option = f"--{str(parameter.name).replace('_', '-')}"
            raise UsageError(f"{option}: {path}: is no folder; a folder's name is needed")
    return given


def _json_file(given: str | None) -> str | None:
    """Check before the command begins that its JSON can be written.

    Raises:
        OutputError: it cannot.
    """
    if given is not None:
        with given_by("--json"):
            check_target(given)
    return given


def write_json(target: str, text: str) -> None:
    """Write the result of a command to the file of `--json`.

    Raises:
        OutputError: the file cannot be written.
    """
    with given_by("--json"):
        write_output(target, text)


Workspace = Annotated[
    Path,
    typer.Option(
        envvar="HARNESS_WORKSPACE",
        help="Folder that holds the trials and the report.",
        callback=folder,
    ),
]
Seed = Annotated[int, typer.Option(help="The trial's seed.")]
Data = Annotated[
    Path | None,
    typer.Option(
        envvar="HARNESS_DATA",
        help="Folder of data sets; several processes may share it.",
        show_default="the user's cache folder",
        callback=folder,
    ),
]
Committed = Annotated[
    bool,
    typer.Option(
        "--committed",
        help="Judge by the records committed beside the manifests, not by the workspace.",
    ),
]
EveryRow = Annotated[
    bool, typer.Option("--all", help="Print every row, not only what failed or is undecided.")
]
Json = Annotated[
    str | None,
    typer.Option(
        "--json",
        metavar="FILE",
        help="File to write the result to, as JSON; - prints the JSON and nothing else.",
        callback=_json_file,
    ),
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
    float | None, typer.Option(min=0.01, help="CPUs for each trial, instead of the manifest's.")
]
GpusPerTrial = Annotated[
    float | None,
    typer.Option(
        min=0,
        help="GPUs for each trial, instead of the manifest's; with 0.5, two trials share one.",
    ),
]
AllowCommands = Annotated[
    bool,
    typer.Option("--allow-commands", help="Run the commands and functions that manifests name."),
]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="Print nothing but warnings and errors.")
]

DEFAULT_WORKSPACE = Path("results")
DEFAULT_PORT = 5000
"""MLflow's own default port."""


def parse_request(seeds: str | None, epochs: int | None = None) -> Request:
    """Read --seeds and --epochs.

    Raises:
        UsageError: the seeds are not a list of ranges.
    """
    try:
        return Request(None if seeds is None else parse_seeds(seeds), epochs)
    except ValueError as fault:
        raise UsageError(f"--seeds: {fault}") from None


def selection(asked: Request) -> Selection:
    """Make the same request of every manifest."""
    return Selection(seeds=asked.seeds, epochs=asked.epochs)


def stored(paths: list[Path], asked: Request, workspace: Path, *, committed: bool) -> Session:
    """Open a workspace for reading. Committed records replace experiments that it lacks."""
    use = CommittedUse.ALWAYS if committed else CommittedUse.WHERE_EMPTY
    return Session(load_experiments(paths), selection(asked), Store(workspace), use)


def judged(paths: list[Path], asked: Request, workspace: Path, *, committed: bool) -> Session:
    """Open a workspace for judging. Without --seeds and --epochs, use those of the last run."""
    return stored(paths, asked, workspace, committed=committed).as_last_requested()


def existing(workspace: Path) -> Store:
    """Open a workspace that must exist.

    Raises:
        UsageError: it does not exist: the name is mistyped, or nothing was run yet.
    """
    store = Store(workspace)
    if not store.exists:
        raise UsageError(
            f"{workspace}: no workspace is here; make one with `harness run`, or give --workspace"
        )
    return store


@dataclass(frozen=True)
class Outputs:
    """The files that a command writes the verdicts to, by format."""

    targets: Mapping[str, str]

    def __post_init__(self) -> None:
        if list(self.targets.values()).count(STDOUT) > 1:
            raise UsageError(
                "only one format can go to standard output (-); give the others a file name"
            )
        for name, target in self.targets.items():
            with given_by(f"--{name}"):
                check_target(target)

    @property
    def use_stdout(self) -> bool:
        """Whether a document goes to standard output. Then nothing else may be printed there."""
        return STDOUT in self.targets.values()

    def write(self, verdicts: Sequence[ExperimentVerdict]) -> None:
        """Write every file.

        Raises:
            OutputError: a file cannot be written.
        """
        for name, target in self.targets.items():
            with given_by(f"--{name}"):
                write_output(target, FORMATS[name].render(verdicts))


def expand_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command an option for each field of the objects in `_GROUPS` that it takes.

    The result is for typer: its signature holds plain options, from which it builds the objects.
    """
    plain: list[inspect.Parameter] = []
    built: dict[str, tuple[_Build, tuple[str, ...]]] = {}
    for parameter in inspect.signature(command).parameters.values():
        if parameter.annotation not in _GROUPS:
            plain.append(parameter)
            continue
        list_flags, build = _GROUPS[parameter.annotation]
        flags = list(list_flags())
        plain += flags
        built[parameter.name] = (build, tuple(flag.name for flag in flags))

    def expanded(**given: Any) -> None:
        for name, (build, taken) in built.items():
            given[name] = build({flag: given.pop(flag) for flag in taken})
        command(**given)

    keywords = [item.replace(kind=inspect.Parameter.KEYWORD_ONLY) for item in plain]
    expanded.__signature__ = inspect.Signature(keywords)  # type: ignore[attr-defined]
    expanded.__annotations__ = {item.name: item.annotation for item in keywords}
    expanded.__doc__, expanded.__name__ = command.__doc__, command.__name__
    return expanded


def _run_flags() -> Iterator[inspect.Parameter]:
    for name, info in RunOptions.model_fields.items():
        for flag in info.metadata:
            if isinstance(flag, Flag):
                option = typer.Option(
                    f"--{name.replace('_', '-')}",
                    *flag.also,
                    help=info.description,
                    envvar=flag.env,
                    show_default=flag.default or True,
                    callback=folder if info.annotation == Path | None else None,
                )
                yield inspect.Parameter(
                    name,
                    inspect.Parameter.KEYWORD_ONLY,
                    default=info.get_default(call_default_factory=True),
                    annotation=Annotated[info.annotation, option],
                )


def _run_options(given: dict[str, Any]) -> RunOptions:
    try:
        return RunOptions(**given)
    except ValidationError as error:
        faults = (
            f"--{str(fault['loc'][0]).replace('_', '-')}: {plain_words(fault, RunOptions)}"
            for fault in error.errors()
        )
        raise UsageError("\n".join(faults)) from None


def _request_flags() -> Iterator[inspect.Parameter]:
    yield _optional("seeds", Seeds)
    yield _optional("epochs", Epochs)


def _selection_flags() -> Iterator[inspect.Parameter]:
    yield from _request_flags()
    yield _optional("cpus_per_trial", CpusPerTrial)
    yield _optional("gpus_per_trial", GpusPerTrial)


def _selection(given: dict[str, Any]) -> Selection:
    asked = parse_request(given.pop("seeds"), given.pop("epochs"))
    return replace(selection(asked), **given)


def _optional(name: str, annotation: object) -> inspect.Parameter:
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation
    )


def _format_flags() -> Iterator[inspect.Parameter]:
    for form in FORMATS.values():
        help_ = f"File to write the verdicts to, as {form.title}; - prints only that."
        option = typer.Option(f"--{form.name}", metavar="FILE", help=help_)
        yield _optional(form.name.replace("-", "_"), Annotated[str | None, option])


def _outputs(given: dict[str, Any]) -> Outputs:
    targets = {name.replace("_", "-"): target for name, target in given.items()}
    return Outputs({name: target for name, target in targets.items() if target is not None})


_Build = Callable[[dict[str, Any]], object]
_GROUPS: Mapping[type, tuple[Callable[[], Iterator[inspect.Parameter]], _Build]] = {
    Request: (_request_flags, lambda given: parse_request(**given)),
    Selection: (_selection_flags, _selection),
    RunOptions: (_run_flags, _run_options),
    Outputs: (_format_flags, _outputs),
}
"""For each class: a function that lists its options, and one that builds it from them."""
