"""`mien sync` and `mien ui`: the tracking store."""

import os
import socket
import sys
from typing import Annotated

import typer

from mien.base.errors import UserError
from mien.cli.workspace import find_root


def add_to(app: typer.Typer) -> None:
    """Make the commands known."""
    for command in (sync, ui):
        app.command()(command)


def sync() -> None:
    """Send to the tracking store what it lacks, for example after it was down."""
    from mien.tracking import publish

    typer.echo(publish.sync(find_root()))


def ui(
    port: Annotated[int, typer.Option(help="Where to listen.", min=1, max=65535)] = 5000,
    host: Annotated[str, typer.Option(help="0.0.0.0 lets other machines in: there is no password.")] = "127.0.0.1",
) -> None:
    """Open the MLflow UI on the tracking store (a lean server; Ctrl-C ends it)."""
    from mien.tracking.store import connect, database_file, shown, use_store

    uri = use_store(find_root())
    if uri.startswith(("http://", "https://")):
        typer.echo(f"The tracking store is a server already; open {shown(uri)} in a browser.")
        return
    if database_file(uri):
        connect(uri)  # makes it where it is missing, in one piece
    _check_free(host, port)
    typer.echo(f"MLflow UI on {shown(uri)}: open http://{host}:{port} in a browser; Ctrl-C ends it.")
    # In MLflow 3 nothing that a store or an address says chooses this for the whole UI.
    typer.echo("Choose `Model training` at its top left: it opens on language models, without the model registry.")
    sys.stdout.flush()
    address = ["--backend-store-uri", uri, "--host", host, "--port", str(port)]
    # MLflow's default of four workers and a job queue takes 2.1 GB; this takes 0.5 GB.
    os.environ["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"
    os.execv(sys.executable, [sys.executable, "-m", "mlflow", "server", *address, "--workers", "1"])


def _check_free(host: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise UserError(f"port {port} on {host} cannot be used ({error.strerror}); say --port OTHER.") from error
