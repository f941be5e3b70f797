"""MLflow kept in the workspace: its database, its artifacts, and the server to look at them."""

import os
import sqlite3
import sys
import uuid
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

_SQLITE = "sqlite:///"
_FOLDER = "mlflow"


@dataclass(frozen=True)
class ServerCommand:
    """How to start MLflow's server, as `subprocess` takes it."""

    argv: tuple[str, ...]
    env: Mapping[str, str]
    """The whole environment, this process's included."""


def default_uri(workspace: Path) -> str:
    """The SQLite database inside the workspace, by absolute path.

    Relative, it would be another database in every folder that a process happens to start in.
    """
    return f"{_SQLITE}{workspace.resolve() / _FOLDER / 'mlflow.db'}"


def artifact_location(uri: str, workspace: Path, experiment: str) -> str | None:
    """Where an experiment's artifacts go: into the workspace, or None for the server's choice."""
    if uri.startswith(("http://", "https://")):
        return None
    return (workspace.resolve() / _FOLDER / "artifacts" / experiment).as_uri()


def set_wal(uri: str) -> None:
    """Let readers and the writer of a SQLite database not wait for one another.

    Raises:
        sqlite3.Error: the database is locked, or not to be written.
    """
    if uri.startswith(_SQLITE):
        with closing(sqlite3.connect(uri.removeprefix(_SQLITE))) as connection:
            connection.execute("PRAGMA journal_mode=WAL")


def workspace_id(workspace: Path) -> str:
    """A name for the workspace that stays when its folder is moved; made on first use.

    Raises:
        OSError: the workspace cannot be read or written.
    """
    path = workspace / _FOLDER / "workspace-id"
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with path.open("x") as file:
            file.write(uuid.uuid4().hex)
    except FileExistsError:
        pass  # the usual case: made by an earlier run
    return path.read_text()


def ui_command(workspace: Path, port: int, host: str = "127.0.0.1") -> ServerCommand:
    """MLflow's server on the workspace's database; by default for this machine only."""
    folder = workspace.resolve() / _FOLDER
    argv = (
        *(sys.executable, "-m", "mlflow", "server"),
        *("--backend-store-uri", default_uri(workspace)),
        *("--artifacts-destination", (folder / "artifacts").as_uri()),
        *("--host", host, "--port", str(port), "--workers", "1"),
        *("--uvicorn-opts", "--log-level warning"),  # not a line for each picture it serves
    )
    # Job execution would start eight more processes that nothing here has a use for.
    return ServerCommand(argv, {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"})
