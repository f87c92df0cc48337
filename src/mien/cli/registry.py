"""Commands for registered models and the tracking store."""

import getpass
import json
import os
import socket
import sys
from pathlib import Path
from typing import Annotated

import typer

from mien.base.errors import UserError
from mien.base.settings import read_usage
from mien.cli import workspace
from mien.cli.predict import find_photos
from mien.cli.workspace import completed, console, quiet_libraries, say, table
from mien.inference.default_model import find_root, model_address, registered_model

Reason = Annotated[str, typer.Option(metavar="TEXT", help="Reason to record in the history.")]


def card(model: Annotated[str | None, completed(typer.Argument, **workspace.MODEL)] = None) -> None:
    """Print a model card: data, numbers, known failures, intended use and misuse.

    The default model is the champion of params.yaml's data set. Output is formatted on a terminal and Markdown
    elsewhere: `mien card > card.md`.
    """
    from mien.inference.address import load_model_of

    address = model_address(model)
    text = load_model_of(address).card
    if not text:
        raise UserError(f"{address} has no model card; models that `dvc repro` registers now have one.")
    if sys.stdout.isatty():
        from rich.markdown import Markdown

        console().print(Markdown(text))
    else:
        typer.echo(text, nl=False)


def export(
    model: workspace.MeasuredOption = None,
    data: workspace.DataOption = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Default: NAME-VERSION.onnx.")] = None,
    int8: Annotated[bool, typer.Option("--int8", help="Quantise weights and activations to int8.")] = False,
    photos: Annotated[
        list[str] | None, typer.Option(metavar="PHOTO", help="Photos, folder or glob to check on.")
    ] = None,
) -> None:
    """Write a model as one ONNX file for other programs.

    The file is checked on the model's validation faces, and --int8 is calibrated on its training faces, if build/crop
    has them. Test faces are never used.
    """
    from mien.inference.address import open_measured
    from mien.inference.export import export_onnx, generated_faces, own_faces, photo_faces
    from mien.inference.predictor import Predictor

    root, measured = find_root(), open_measured(model_address(model, data))
    if photos:
        files, problems, _ = find_photos(photos)
        if problems:
            raise UserError(problems[0])
        faces = photo_faces(Predictor(measured.loaded, settings=read_usage(root, "predict")), files)
    elif own := own_faces(measured, root / "build/crop"):
        faces = own
    else:
        lacking = f"build/crop has no training and validation faces of {measured.name}, cut as it takes them"
        if int8:
            raise UserError(f"int8 needs faces for its calibration: {lacking}; pass --photos FOLDER.")
        say(f"mien: {lacking}: the file is checked on generated pictures; --photos FOLDER uses yours.")
        faces = generated_faces(measured.loaded.spec.cut)
    file = out or Path(f"{measured.slug}{'-int8' if int8 else ''}.onnx")
    with quiet_libraries():
        done = export_onnx(measured, faces, file, int8=int8)
    size, difference = done.file.stat().st_size / 1e6, done.float32.difference
    typer.echo(f"{done.file}: {measured.name} in {'int8' if done.int8 else 'float32'}, {size:.1f} MB")
    typer.echo(f"float32 against the model, on {faces.says}: probabilities differ by at most {difference:.1g}")
    if done.int8:
        same = f"the same expression on {done.int8.same:,} of {done.int8.faces:,}"
        typer.echo(f"int8 against float32: {same}, probabilities differ by at most {done.int8.difference:.2f}")
        if change := done.int8.change:
            accuracies = f"accuracy in float32 {done.int8.before:.3f}, in int8 {done.int8.after:.3f}"
            typer.echo(f"{accuracies}: {change.text('+.3f')}, 95 % interval")
    typer.echo(f"Use it with `mien predict PHOTO --model {done.file}`.")


def promote(
    version: Annotated[int | None, typer.Argument(help="Version; default: the challenger.", min=1)] = None,
    data: workspace.DataOption = None,
    reason: Reason = "Promoted by hand.",
) -> None:
    """Make a registered version champion, regardless of the gate's decision."""
    from mien.registry import promotion

    typer.echo(promotion.promote(_model_in_store(data), version, by=_user(), reason=reason))


def rollback(data: workspace.DataOption = None, reason: Reason = "Rolled back by hand.") -> None:
    """Restore the previous champion."""
    from mien.registry import promotion

    typer.echo(promotion.rollback(_model_in_store(data), by=_user(), reason=reason))


def history(data: workspace.DataOption = None, as_json: workspace.JsonOption = False) -> None:
    """Show who was champion when, and why."""
    from rich.table import Column

    from mien.registry import promotion

    name = _model_in_store(data)
    events = promotion.history(name)
    if as_json:
        typer.echo(json.dumps(events, indent=2, ensure_ascii=False))
        return
    if not events:
        typer.echo(f"{name} has no history yet: nothing has been promoted or refused.")
        return
    columns = Column("when (UTC)", no_wrap=True, style="dim"), Column("what", style="bold"), "version", "by", "why"
    rows = table(*columns, title=name, title_justify="left")
    for event in reversed(events):  # the newest first
        before, version = event["from_version"], event["version"] or "none"
        change = str(version) if before in (None, version) else f"{before} → {version}"
        when = event["at"][:16].replace("T", " ")
        rows.add_row(when, event["action"], change, event["by"], " ".join(event["reasons"]))
    console().print(rows)


def _user() -> str:
    """Who acts: $MIEN_USER, else the login name."""
    return os.environ.get("MIEN_USER") or getpass.getuser()


def _model_in_store(data: str | None) -> str:
    """The registered model, in the tracking store of this checkout; a UserError, and no new store, where none is."""
    from mien.tracking.store import database_file, use_store

    root = find_root()
    name = registered_model(root, data)
    if (file := database_file(use_store(root))) and not file.exists():
        raise UserError(f"there is no {name} yet: nothing has been registered in {file}; run `make repro`.")
    return name


def sync() -> None:
    """Upload what the tracking store lacks, for example after an outage."""
    from mien.tracking import publish

    typer.echo(publish.sync(find_root()))


def ui(
    port: Annotated[int, typer.Option(help="Port to listen on.", min=1, max=65535)] = 5000,
    host: Annotated[str, typer.Option(help="0.0.0.0 admits other machines, without a password.")] = "127.0.0.1",
) -> None:
    """Serve the MLflow UI on the tracking store, with one worker; Ctrl-C stops it."""
    from mien.tracking.store import connect, run_links, shown, store_errors, use_store

    uri = use_store(find_root())
    if uri.startswith(("http://", "https://")):
        typer.echo(f"The tracking store is a server already; open {shown(uri)} in a browser.")
        return
    with store_errors("the tracking store", uri):
        links = run_links(connect(uri), f"http://{host}:{port}")  # makes a file where it is missing
    try:
        socket.create_server((host, port)).close()
    except OSError as error:
        raise UserError(f"port {port} on {host} cannot be used ({error.strerror}); pass another --port.") from error
    typer.echo(f"MLflow UI on {shown(uri)}: open http://{host}:{port} in a browser; Ctrl-C stops it.")
    # In MLflow 3 nothing that a store or an address says chooses this for the whole UI.
    typer.echo("Choose `Model training` at the top left; the UI opens on language models, without the registry.")
    for name, link in links.items():
        typer.echo(f"Trainings on {name}, most accurate first: {link}")
    sys.stdout.flush()
    address = ["--backend-store-uri", uri, "--host", host, "--port", str(port)]
    # MLflow's default of four workers and a job queue takes 2.1 GB; this takes 0.5 GB.
    os.environ["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"
    os.execv(sys.executable, [sys.executable, "-m", "mlflow", "server", *address, "--workers", "1"])
