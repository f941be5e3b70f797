"""Where MLflow keeps things: the workspace's own database and artifacts, and the server on them.

The database and the artifacts lie in the workspace's folder. MLflow stores the artifacts' place as
an absolute URI, so it is corrected whenever the folder has been moved or copied.
"""

import os
import sqlite3
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote_to_bytes, urlsplit

from mlflow.exceptions import MlflowException
from sqlalchemy import create_engine, make_url
from sqlalchemy.pool import NullPool

from harness.errors import Exit, HarnessError
from harness.tracking.identity import Identity
from harness.tracking.images import Tag

_FOLDER = "mlflow"
_SERVERS = ("postgresql", "mysql", "mssql")
_LOCK_WAIT_S = 20
"""For a database that another process writes; as long as MLflow itself waits."""


class LocationError(HarnessError):
    """An experiment's artifacts belong in a folder that does not exist."""

    exit_code = Exit.INCOMPLETE


@dataclass(frozen=True)
class ServerCommand:
    """How to start MLflow's server, as `subprocess` takes it."""

    argv: tuple[str, ...]
    env: Mapping[str, str]
    """The whole environment, this process's included."""


def database_file(workspace: Path) -> Path:
    """The workspace's own SQLite database, by absolute path.

    Relative, it would be another database in every folder that a process happens to start in.
    """
    return workspace.resolve() / _FOLDER / "mlflow.db"


def default_uri(workspace: Path) -> str:
    """The workspace's own database as SQLAlchemy and MLflow take it, whatever its path holds."""
    path = os.fsencode(database_file(workspace))
    quoted = quote(path)
    # SQLAlchemy decodes the path, but MLflow does not before it makes the parent folders of what
    # begins with 'sqlite:///'. So a path that needs quoting names the driver too.
    plain = quoted == os.fsdecode(path)
    return f"sqlite:///{quoted}" if plain else f"sqlite+pysqlite:///{quoted}"


def artifact_location(uri: str, workspace: Path, experiment: str) -> str | None:
    """Where an experiment's artifacts go: into the workspace, or None for the server's choice."""
    if uri.startswith(("http://", "https://")):
        return None
    return f"{_artifacts(workspace)}/{quote(experiment, safe='')}"


def set_wal(uri: str) -> None:
    """Let readers and the writer of a SQLite database not wait for one another.

    Raises:
        sqlite3.Error: the database is locked, or not to be written.
    """
    path = _sqlite_path(uri)
    if path is not None:
        with _connected(path) as connection:
            connection.execute("PRAGMA journal_mode=WAL")


def follow_folder(workspace: Path, identity: Identity | None = None) -> None:
    """Make the workspace's own database agree with where the workspace is now.

    After a move or a copy the artifacts' places are corrected; after a copy the runs are given the
    copy's own name. Does nothing where all is in order, and may be repeated.

    Args:
        workspace: its own database must exist.
        identity: of the workspace, where runs of former names are to be renamed.

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
    """Refuse to make again a folder for artifacts that was moved or removed.

    Args:
        uri: of a run's artifacts.
        workspace: in which everything may be made.

    Raises:
        LocationError: the folder is outside the workspace, and not even its parents exist.
    """
    parts = urlsplit(uri)
    if parts.scheme not in ("", "file"):
        return
    path = Path(os.fsdecode(unquote_to_bytes(parts.path)))
    if path.is_relative_to(workspace.resolve()):
        return
    # <location of the experiment>/<run>/artifacts; an experiment without any has no location yet.
    experiment = path.parent.parent
    if not experiment.parent.parent.is_dir():
        raise LocationError(
            f"{experiment}: the experiment's artifacts belong there, and that folder does not "
            "exist; if its workspace was moved, link the old place to the new one"
        )


def ui_command(workspace: Path, port: int, host: str = "127.0.0.1") -> ServerCommand:
    """MLflow's server on the workspace's database; by default for this machine only."""
    argv = (
        *(sys.executable, "-m", "mlflow", "server"),
        *("--backend-store-uri", default_uri(workspace)),
        *("--artifacts-destination", _artifacts(workspace)),
        *("--host", host, "--port", str(port), "--workers", "1"),
        *("--uvicorn-opts", "--log-level warning"),  # not a line for each picture it serves
    )
    # Job execution would start eight more processes that nothing here has a use for.
    return ServerCommand(argv, {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"})


def require_answer(uri: str) -> None:
    """Refuse a database that does not answer, or cannot be opened; make the folder of a new one.

    MLflow would try again, a server for most of an hour and a file for two minutes, and keep every
    other store of this process waiting.

    Raises:
        OSError: the folder cannot be made.
        sqlite3.Error: the file cannot be opened, or is no database.
        sqlalchemy.exc.SQLAlchemyError: it does not answer, or not to this user.
        mlflow.exceptions.MlflowException: the driver that the address names is not installed.
    """
    path = _sqlite_path(uri)
    if path is not None:
        # MLflow makes the folder too, but not where the address names a driver.
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


def _sqlite_path(uri: str) -> Path | None:
    """The file of a SQLite database; None for any other store, or one in memory."""
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
