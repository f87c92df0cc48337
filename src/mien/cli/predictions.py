"""Predictions as a table, as JSON, as csv, and drawn into pictures."""

import csv
import io
import json
import os
from pathlib import Path
from typing import Any, Final

import cv2
import typer
from rich.table import Table
from rich.text import Text

from mien.base.errors import UserError
from mien.base.files import replacing
from mien.cli.output import console
from mien.inference.annotation import draw_faces
from mien.inference.detectors import PredictConfig
from mien.inference.predictor import FacePrediction, PhotoPrediction

Model = tuple[str, int | None]  # its name, and the version of a registered one
BAR: Final = 10  # characters
JPEG_QUALITY: Final = 92


def print_table(predictions: list[PhotoPrediction], model: Model) -> None:
    """Print the photos that gave faces in 80 columns: a line for each face, and the model last."""
    out = console()
    out.print(_face_rows([], header=True))
    for prediction in predictions:
        if prediction.faces:
            out.print(Text(prediction.picture.says, "bold", overflow="fold"))
            out.print(_face_rows(prediction.faces))
    faces = sum(len(prediction.faces) for prediction in predictions)
    photos = sum(bool(prediction.faces) for prediction in predictions)
    what = "photo" if all(prediction.picture.time is None for prediction in predictions) else "picture"
    name, version = model
    by = name if version is None else f"{name} version {version}"
    if any(face.unsure for prediction in predictions for face in prediction.faces):
        out.print(Text("?: unsure, no expression is likely enough (unsure_below in conf/predict.yaml)", "dim"))
    out.print(Text(f"{faces:,} face{'s' * (faces != 1)} in {photos:,} {what}{'s' * (photos != 1)}, by {by}", "dim"))


def _face_rows(faces: list[FacePrediction], *, header: bool = False) -> Table:
    """Each face's expression, its probability, the runner-up, and where the face is."""
    table = Table(box=None, show_header=header, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("face", width=5, justify="right")
    table.add_column("expression", width=10, style="bold")
    table.add_column("probability", width=BAR + 6)
    table.add_column("runner-up", width=14, style="dim")
    table.add_column("  top  left right bottom", width=24, style="dim")
    for number, face in enumerate(faces, start=1):
        share = face.probabilities[face.label]
        full = round(share * BAR)
        bar = f"[green]{'█' * full}[/green][dim]{'░' * (BAR - full)}[/dim] {share:4.0%}"
        second, second_share = sorted(face.probabilities.items(), key=lambda item: -item[1])[1]
        label = f"[dim]{face.label}?[/dim]" if face.unsure else face.label
        box = "{:5d}{:6d}{:6d}{:7d}".format(*face.box)
        table.add_row(str(number), label, bar, f"{second} {second_share:.0%}", box)
    return table


def print_json(predictions: list[PhotoPrediction], model: Model) -> None:
    """Print a list with an object for each face on stdout."""
    typer.echo(json.dumps(_objects(predictions, model), indent=2, ensure_ascii=False))


def write_csv(predictions: list[PhotoPrediction], model: Model, where: str) -> None:
    """Write a row for each face to a file, or to stdout where that is "-".

    Raises:
        UserError: the file cannot be written.
    """
    rows = []
    for face in _objects(predictions, model):
        probabilities = face.pop("probabilities")
        box = dict(zip(("top", "left", "right", "bottom"), face.pop("box"), strict=True))
        by = {key: face.pop(key) for key in ("model", "version")}
        rows.append({**face, **box, **probabilities, **by})
    text = io.StringIO()
    if rows:
        writer = csv.DictWriter(text, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    if where == "-":
        typer.echo(text.getvalue(), nl=False)
        return
    try:
        with replacing(Path(where)) as part:
            part.write_text(text.getvalue(), encoding="utf-8")
    except OSError as error:
        raise UserError(f"{where}: cannot be written: {error.strerror}.") from error


def _objects(predictions: list[PhotoPrediction], model: Model) -> list[dict[str, Any]]:
    name, version = model
    return [
        {
            # Neither JSON nor csv can hold a byte that is no UTF-8: it stands there as `\xff`.
            "file": os.fsencode(prediction.picture.file).decode("utf-8", errors="backslashreplace"),
            "time": prediction.picture.time,
            **face.as_json(number),
            "model": name,
            "version": version,
        }
        for prediction in predictions
        for number, face in enumerate(prediction.faces, start=1)
    ]


def write_annotated(prediction: PhotoPrediction, folder: Path, limits: PredictConfig) -> None:
    """Write a picture with its faces drawn in as JPEG; a file that is there is never overwritten.

    Raises:
        UserError: the folder cannot be written.
    """
    faces = [
        (
            face.box,
            f"{number}  {'unsure: ' * face.unsure}{face.label} {face.probabilities[face.label]:.0%}",
            face.label,
        )
        for number, face in enumerate(prediction.faces, start=1)
    ]
    drawn = draw_faces(prediction.picture.pixels("rgb", limits), faces)
    bgr = cv2.cvtColor(drawn, cv2.COLOR_RGB2BGR)
    content = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes()
    try:
        with replacing(_free_name(prediction, folder)) as part:
            part.write_bytes(content)
    except OSError as error:
        raise UserError(f"{folder}: cannot be written: {error.strerror}.") from error


def _free_name(prediction: PhotoPrediction, folder: Path) -> Path:
    picture = prediction.picture
    name = "stdin" if picture.data is not None else picture.file.stem
    if picture.time is not None:
        name = f"{name}-{picture.time:08.2f}s"
    file, number = folder / f"{name}.jpg", 1
    while file.exists():
        number += 1
        file = folder / f"{name}-{number}.jpg"
    return file
