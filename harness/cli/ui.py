"""`ui`: serve the workspace's MLflow until Ctrl-C."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import webbrowser
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli import options
from harness.errors import UsageError
from harness.session.runner import stop_on_signals
from harness.session.tracking import TrackingError

if TYPE_CHECKING:
    from harness.tracking import ServerCommand

LOCAL = "127.0.0.1"
POLL_S = 0.2

START_S = 120
"""MLflow's server takes seconds to import, and longer on a busy machine."""


def ui(
    workspace: options.Workspace = options.DEFAULT_WORKSPACE,
    port: Annotated[
        int, typer.Option(min=1, max=65535, help="Port to listen on.")
    ] = options.DEFAULT_PORT,
    host: Annotated[
        str, typer.Option(help="Address to listen on. The default lets only this machine connect.")
    ] = LOCAL,
    open_: Annotated[bool, typer.Option("--open", help="Open a browser at the verdicts.")] = False,
) -> None:
    """Start MLflow on the workspace, and print the address of the verdicts and of each chart.

    It serves until Ctrl-C or SIGTERM, and then exits with 0.

    Example: harness ui --workspace results --open
    """
    from harness import tracking  # noqa: PLC0415 - MLflow takes seconds to import

    options.existing(workspace)
    database = workspace / "mlflow" / "mlflow.db"
    if not database.exists():
        hint = "`harness sync` makes it, and so does `harness run` without --tracking-uri"
        raise TrackingError(f"{database}: no such database; {hint}")
    _refuse_port_in_use(host, port)
    base = f"http://{host}:{port}"
    command = tracking.ui_command(workspace, port, host)
    try:
        tracking.follow_folder(workspace)
        urls = tracking.chart_urls(tracking.default_uri(workspace), base)
    except tracking.TROUBLE as trouble:
        raise TrackingError(f"{database}: {tracking.cause(trouble)}") from trouble
    with stop_on_signals() as stop, _serving(command) as server:
        if not _answers(server, host, port, stop):
            return
        landing = f"{base}/harness"
        typer.echo(f"verdicts: {landing}")
        for name, url in urls.items():
            typer.echo(f"{name}: {url}")
        typer.echo("press Ctrl-C to stop the server")
        if open_:
            webbrowser.open(landing)
        while not stop.wait(POLL_S):
            _refuse_ended(server)


def _refuse_port_in_use(host: str, port: int) -> None:
    """Refuse a port in use. MLflow would report it only after seconds, in a traceback."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server itself does
        try:
            probe.bind((host, port))
        except OSError as error:
            raise UsageError(
                f"--port {port} on {host}: {error.strerror}; try another port"
            ) from None


@contextmanager
def _serving(command: "ServerCommand") -> "Iterator[subprocess.Popen[bytes]]":
    """Run the server in its own process group: Ctrl-C reaches us, and we end the group."""
    server = subprocess.Popen(  # noqa: S603 - our own words only
        command.argv,
        env=command.env,
        stdout=sys.stderr,  # standard output holds only addresses
        start_new_session=True,
    )
    try:
        yield server
    finally:
        with suppress(ProcessLookupError):  # it ended by itself
            os.killpg(server.pid, signal.SIGTERM)
        server.wait()


def _answers(
    server: "subprocess.Popen[bytes]", host: str, port: int, stop: threading.Event
) -> bool:
    """Wait until MLflow answers; False if a signal asks to stop first.

    Raises:
        TrackingError: the server ended, or does not answer in time.
    """
    until = time.monotonic() + START_S
    while time.monotonic() < until:
        _refuse_ended(server)
        # Not urllib, which would use a proxy from the environment.
        with (
            suppress(OSError, HTTPException),
            closing(HTTPConnection(host, port, timeout=1)) as ask,
        ):
            ask.request("GET", "/health")
            if ask.getresponse().status == HTTPStatus.OK:
                return True
        if stop.wait(POLL_S):
            return False
    raise TrackingError(f"http://{host}:{port}: MLflow's server did not answer within {START_S} s")


def _refuse_ended(server: "subprocess.Popen[bytes]") -> None:
    if server.poll() is not None:
        raise TrackingError(f"MLflow's server ended with exit code {server.returncode}")
