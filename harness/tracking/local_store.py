"""Manage MLflow's local storage: the workspace's own database, its artifacts, and their server.

The database and the artifacts are in the workspace's folder. MLflow stores the artifacts' location
as an absolute URI. So this module corrects it after the folder has been moved or copied.

It also gives a workspace its name in MLflow, and a copy of a workspace a new name.

Each run on a shared server carries the name of its workspace. A workspace that is moved must keep
its name; otherwise all its runs would be created a second time. A copy must get another name;
otherwise the copy and the original would treat each other's runs as their own and delete them.

`mlflow/identity.json` records the name and the place of the workspace: its path, its host, and the
device and inode of its `mlflow` folder. If the recorded place differs from the present one, the
first rule that applies decides:

1. Another folder at the recorded path has the same name: this workspace is a copy.
2. Same path and same host: it is the same workspace (for example, restored from a backup).
3. Same inode: it is the same workspace (moved by `mv`, or mounted in a container or on another
   host).
4. Another host: it is a copy.
5. Same device but another inode: it is a copy, and its original has moved. (`mv` keeps the inode.)
6. Otherwise: it is the same workspace, moved to another disk.

The rules miss one case: a snapshot of a whole disk or virtual machine keeps path and inode, so both
sides keep the name. Remove `mlflow/identity.json` from one of them, and it gets a new name.
"""

import json
import os
import socket
import sqlite3
import sys
import uuid
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import quote, unquote_to_bytes, urlsplit

from mlflow.exceptions import MlflowException
from pydantic import TypeAdapter, ValidationError
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.pool import NullPool

from harness.errors import Exit, HarnessError
from harness.store import files
from harness.tracking.images import Tag

_FOLDER = "mlflow"
_MOST_FORMER = 20


@dataclass(frozen=True)
class Place:
    """The place of a workspace: its path, its host, and where its `mlflow` folder is on disk."""

    path: str
    host: str
    device: int
    inode: int

    @classmethod
    def of(cls, workspace: Path) -> "Place":
        """Return the present place of a workspace."""
        found = (workspace / _FOLDER).stat()
        return cls(str(workspace.resolve()), socket.gethostname(), found.st_dev, found.st_ino)


@dataclass(frozen=True)
class Identity:
    """A workspace's name in MLflow, and where it was when it last used that name."""

    name: str
    place: Place
    former: tuple[str, ...] = ()
    """Names of the workspaces it was copied from. Runs in its own database may still have one."""


_IDENTITY = TypeAdapter(Identity)


def identify(workspace: Path) -> Identity:
    """Return the workspace's identity. Create or update its file if necessary.

    Raises:
        OSError: the workspace cannot be read or written.
        StoreError: a file in the workspace cannot be read or written.
    """
    (workspace / _FOLDER).mkdir(parents=True, exist_ok=True)
    here = Place.of(workspace)
    recorded = _recorded(workspace)
    if recorded is None:
        now = Identity(_old_name(workspace) or uuid.uuid4().hex, here)
    elif is_copy(recorded.place, here, original_stands=_original_stands(recorded, workspace)):
        former = (recorded.name, *recorded.former)[:_MOST_FORMER]
        now = Identity(uuid.uuid4().hex, here, former)
    else:
        now = Identity(recorded.name, here, recorded.former)
    if now != recorded:
        files.replace(_file(workspace), json.dumps(asdict(now), indent=1).encode() + b"\n")
        files.sync_folder(workspace / _FOLDER)
    return now


def is_copy(recorded: Place, here: Place, *, original_stands: bool) -> bool:
    """Whether a workspace is a copy, by the rules in this module's docstring.

    Args:
        recorded: the place where it last used its name.
        here: its present place.
        original_stands: whether another folder at the recorded path has the same name.
    """
    if original_stands:
        return True
    if (recorded.path, recorded.host) == (here.path, here.host):
        return False
    if recorded.inode == here.inode:
        return False
    return recorded.host != here.host or recorded.device == here.device


def _original_stands(recorded: Identity, workspace: Path) -> bool:
    original = Path(recorded.place.path)
    try:
        if original.samefile(workspace):
            return False
    except (OSError, ValueError):  # the path does not exist, or we may not read it
        return False
    other = _recorded(original)
    return other is not None and other.name == recorded.name


def _recorded(workspace: Path) -> Identity | None:
    """Read the recorded identity. Return None if the file is missing or invalid."""
    text = files.read_file(_file(workspace))
    try:
        return None if text is None else _IDENTITY.validate_json(text)
    except ValidationError:
        return None


def _old_name(workspace: Path) -> str | None:
    """Read the name that earlier versions recorded, which did not record the place."""
    text = files.read_file(workspace / _FOLDER / "workspace-id")
    name = (text or b"").decode("ascii", "replace").strip()
    return name if name.isalnum() else None


def _file(workspace: Path) -> Path:
    return workspace / _FOLDER / "identity.json"


_SERVERS = ("postgresql", "mysql", "mssql")
_LOCK_WAIT_S = 20
"""How long to wait for a database that another process locks. MLflow waits as long."""


class LocationError(HarnessError):
    """The folder for an experiment's artifacts does not exist."""

    exit_code = Exit.INCOMPLETE


@dataclass(frozen=True)
class ServerCommand:
    """The command that starts MLflow's server, as arguments for `subprocess`."""

    argv: tuple[str, ...]
    env: Mapping[str, str]
    """The whole environment, including the variables of this process."""


def database_file(workspace: Path) -> Path:
    """Return the absolute path of the workspace's own SQLite database.

    A relative path would mean another database in each folder in which a process starts.
    """
    return workspace.resolve() / _FOLDER / "mlflow.db"


def default_uri(workspace: Path) -> str:
    """Return the URI of the workspace's own database. Any character may occur in its path."""
    path = os.fsencode(database_file(workspace))
    quoted = quote(path)
    # SQLAlchemy decodes the path. MLflow creates the parent folders of a URI that begins with
    # 'sqlite:///' without decoding it first. To avoid that, a URI with a quoted path names the
    # driver too.
    plain = quoted == os.fsdecode(path)
    return f"sqlite:///{quoted}" if plain else f"sqlite+pysqlite:///{quoted}"


def artifact_location(uri: str, workspace: Path, experiment: str) -> str | None:
    """Return where to keep an experiment's artifacts; None if the MLflow server chooses."""
    if uri.startswith(("http://", "https://")):
        return None
    return f"{_artifacts(workspace)}/{quote(experiment, safe='')}"


def set_wal(uri: str) -> None:
    """Set a SQLite database to WAL mode, so that readers and the writer do not block each other.

    Raises:
        sqlite3.Error: the database is locked, or cannot be written.
    """
    path = _sqlite_path(uri)
    if path is not None:
        with _connected(path) as connection:
            connection.execute("PRAGMA journal_mode=WAL")


def follow_folder(workspace: Path, identity: Identity | None = None) -> None:
    """Update the workspace's own database after the workspace has been moved or copied.

    After a move or a copy, correct the locations of the artifacts. After a copy, also give the runs
    the copy's own name. If nothing has changed, do nothing. It is safe to repeat.

    Args:
        workspace: the workspace. Its own database must exist.
        identity: the workspace's identity. If given, runs with one of its former names get its
            present name.

    Raises:
        sqlite3.Error: the database is locked, or cannot be written.
    """
    artifacts = _artifacts(workspace)
    with _connected(database_file(workspace)) as connection, connection:
        ours = connection.execute(
            "SELECT e.experiment_id, e.artifact_location, t.value FROM experiments e"
            " JOIN experiment_tags t ON t.experiment_id = e.experiment_id AND t.key = ?",
            (Tag.EXPERIMENT,),
        ).fetchall()
        for number, location, name in ours:
            place = f"{artifacts}/{quote(name, safe='')}"
            if location is None or location == place or not location.startswith(("file:", "/")):
                continue
            connection.execute(
                "UPDATE experiments SET artifact_location = ? WHERE experiment_id = ?",
                (place, number),
            )
            connection.execute(
                "UPDATE runs SET artifact_uri = ? || substr(artifact_uri, ?)"
                " WHERE experiment_id = ? AND substr(artifact_uri, 1, ?) = ?",
                (place, len(location) + 1, number, len(location) + 1, location + "/"),
            )
        for former in identity.former if identity else ():
            connection.execute(
                "UPDATE tags SET value = ? WHERE key = ? AND value = ?",
                (identity.name if identity else "", Tag.WORKSPACE, former),
            )


def require_location(uri: str, workspace: Path) -> None:
    """Refuse to re-create an artifact folder that was moved or removed.

    Args:
        uri: the URI of a run's artifacts.
        workspace: the workspace. Any folder inside it may be created.

    Raises:
        LocationError: the folder is outside the workspace, and its parents do not exist either.
    """
    parts = urlsplit(uri)
    if parts.scheme not in ("", "file"):
        return
    path = Path(os.fsdecode(unquote_to_bytes(parts.path)))
    if path.is_relative_to(workspace.resolve()):
        return
    # The path is <experiment's location>/<run>/artifacts. The location is created with the first
    # artifact, so the check is on a folder above it.
    experiment = path.parent.parent
    if not experiment.parent.parent.is_dir():
        raise LocationError(
            f"{experiment}: the experiment's artifacts belong there, and that folder does not "
            "exist; if its workspace was moved, link the old place to the new one"
        )


def ui_command(workspace: Path, port: int, host: str = "127.0.0.1") -> ServerCommand:
    """Return the command that serves the workspace's database; by default to this machine only."""
    argv = (
        *(sys.executable, "-m", "mlflow", "server"),
        *("--backend-store-uri", default_uri(workspace)),
        *("--artifacts-destination", _artifacts(workspace)),
        *("--host", host, "--port", str(port), "--workers", "1"),
        *("--uvicorn-opts", "--log-level warning"),  # otherwise it logs a line for each picture
        *("--app-name", "harness"),  # `harness.tracking.web`
    )
    # Job execution would start eight more processes, which we do not need.
    settings = {
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "HARNESS_UI_WORKSPACE": str(workspace.resolve()),
    }
    return ServerCommand(argv, os.environ | settings)


def require_answer(uri: str) -> None:
    """Check that a database answers. Create the folder of a new SQLite database.

    MLflow itself would retry: most of an hour for a server, two minutes for a file. Meanwhile every
    other store of this process would wait.

    Raises:
        OSError: the folder cannot be created.
        sqlite3.Error: the file cannot be opened, or is not a database.
        sqlalchemy.exc.SQLAlchemyError: the server does not answer, or refuses this user.
        mlflow.exceptions.MlflowException: the driver that the URI names is not installed.
    """
    path = _sqlite_path(uri)
    if path is not None:
        # MLflow also creates the folder, but not if the URI names a driver.
        path.parent.mkdir(parents=True, exist_ok=True)
        with _connected(path) as connection:
            connection.execute("PRAGMA schema_version")
    if not uri.startswith(_SERVERS):
        return
    try:
        engine = create_engine(uri, poolclass=NullPool)
    except ImportError as error:
        raise MlflowException(f"{error}; install what the database needs") from error
    with engine.connect():
        pass


def is_database(uri: str) -> bool:
    """Whether a URI names a database, whose tables we can reach; else it names a server."""
    return uri.startswith(("sqlite", *_SERVERS))


def redate(uri: str, starts: Mapping[str, int]) -> None:
    """Change when runs started, in MLflow's tables: its client can set the time only once.

    Their points and their ends move with them.

    Args:
        uri: a database, see `is_database`.
        starts: the new times in Unix milliseconds, by MLflow's ids of the runs.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: the database is locked, or cannot be written.
    """
    wait = {"timeout": _LOCK_WAIT_S} if uri.startswith("sqlite") else {}
    engine = create_engine(uri, poolclass=NullPool, connect_args=wait)
    shift = ":start - (SELECT start_time FROM runs WHERE run_uuid = :run)"
    with engine.begin() as connection:
        for run, start_ms in starts.items():
            values = {"run": run, "start": start_ms}
            for points in ("metrics", "latest_metrics"):
                moved = f"UPDATE {points} SET timestamp = timestamp + {shift}"  # noqa: S608 - ours
                connection.execute(text(f"{moved} WHERE run_uuid = :run"), values)
            connection.execute(
                text(
                    "UPDATE runs SET start_time = :start, end_time = :start WHERE run_uuid = :run"
                ),
                values,
            )


def _sqlite_path(uri: str) -> Path | None:
    """Return the file of a SQLite database; None for any other store or one in memory."""
    if not uri.startswith("sqlite"):
        return None
    database = make_url(uri).database
    return Path(database) if database and not database.startswith((":", "file:")) else None


@contextmanager
def _connected(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path, timeout=_LOCK_WAIT_S)) as connection:
        yield connection


def _artifacts(workspace: Path) -> str:
    return (workspace.resolve() / _FOLDER / "artifacts").as_uri()
