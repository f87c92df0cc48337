"""Output of predictions: table, JSON, csv and annotated pictures."""

import csv
import io
import os
from pathlib import Path
from typing import Any, Final

import typer
from rich.table import Table
from rich.text import Text

from mien.base.errors import UserError
from mien.base.files import replacing
from mien.cli.output import console, counted
from mien.inference.annotation import draw_faces
from mien.inference.classifier import version_words
from mien.inference.detectors import PredictConfig
from mien.inference.picture import Picture
from mien.inference.predictor import FacePrediction, PhotoPrediction
from mien.reporting.images import face_jpeg

Model = tuple[str, int | None]  # its name, and the version of a registered one
BAR: Final = 10  # characters
JPEG_QUALITY: Final = 92


def print_table(predictions: list[PhotoPrediction], model: Model) -> None:
    """Print the photos that gave faces in 80 columns: a line for each face, and the model last."""
    out = console()
    out.print(_face_rows([], header=True))
    answered = [prediction for prediction in predictions if prediction.faces]
    for prediction in answered:
        out.print(Text(prediction.picture.says, "bold", overflow="fold"), _face_rows(prediction.faces), sep="\n")
        for number, face in enumerate(prediction.faces, start=1):
            if face.quality.reasons:
                out.print(Text(f"{number:5d}  {', '.join(face.quality.reasons)}", "dim"))
    faces = [face for prediction in answered for face in prediction.faces]
    if any(face.quality.reasons for face in faces):
        out.print(Text("too small, blurred, turned away: answers to such faces are right less often", "dim"))
    what = "photo" if all(prediction.picture.time is None for prediction in predictions) else "picture"
    by = version_words(*model)
    if any(face.unsure for face in faces):
        out.print(Text("?: unsure, no expression is likely enough (unsure_below in conf/predict.yaml)", "dim"))
    out.print(Text(f"{counted(len(faces), 'face')} in {counted(len(answered), what)}, by {by}", "dim"))


def _face_rows(faces: list[FacePrediction], *, header: bool = False) -> Table:
    table = Table(box=None, show_header=header, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("face", width=5, justify="right")
    table.add_column("expression", width=10, style="bold", overflow="fold")
    table.add_column("probability", width=BAR + 6)
    table.add_column("runner-up", width=14, style="dim", overflow="fold")
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


def write_csv(predictions: list[PhotoPrediction], model: Model, where: str) -> None:
    """Write a row for each face to a file, or to stdout where that is "-"; a UserError where it cannot be written."""
    rows = []
    for face in face_records(predictions, model):
        probabilities, by = face.pop("probabilities"), {key: face.pop(key) for key in ("model", "version")}
        box = zip(("top", "left", "right", "bottom"), face.pop("box"), strict=True)
        quality = ", ".join(face.pop("quality")["reasons"])
        rows.append({**face, **dict(box), "quality": quality, **probabilities, **by})
    text = io.StringIO()
    if rows:
        writer = csv.DictWriter(text, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    if where == "-":
        typer.echo(text.getvalue(), nl=False)
    else:
        _write(Path(where), text.getvalue().encode(), where)


def face_records(predictions: list[PhotoPrediction], model: Model) -> list[dict[str, Any]]:
    """What JSON and csv say of each face."""
    name, version = model
    return [
        {
            # Neither JSON nor csv can hold a byte that is no UTF-8: it stands there as `\xff`.
            "file": os.fsencode(prediction.picture.file).decode("utf-8", errors="backslashreplace"),
            "time": prediction.picture.time,
            "face": number,
            **face.to_dict(),
            "model": name,
            "version": version,
        }
        for prediction in predictions
        for number, face in enumerate(prediction.faces, start=1)
    ]


def write_annotated(prediction: PhotoPrediction, folder: Path, limits: PredictConfig) -> None:
    """Write a picture with its faces drawn in as JPEG, over no other file; a UserError where it cannot be written."""
    faces = [(face.box, face.caption(number), face.label) for number, face in enumerate(prediction.faces, start=1)]
    classes = list(prediction.faces[0].probabilities) if faces else []
    content = face_jpeg(draw_faces(prediction.picture.pixels(limits), faces, classes), JPEG_QUALITY)
    _write(_free_name(prediction.picture, folder), content, folder)


def _write(file: Path, content: bytes, named: str | Path) -> None:
    try:
        with replacing(file) as part:
            part.write_bytes(content)
    except OSError as error:
        raise UserError(f"{named}: cannot be written: {error.strerror}.") from error


def _free_name(picture: Picture, folder: Path) -> Path:
    name = "stdin" if picture.data is not None else picture.file.stem
    if picture.time is not None:
        name = f"{name}-{picture.time:08.2f}s"
    file, number = folder / f"{name}.jpg", 1
    while file.exists():
        number += 1
        file = folder / f"{name}-{number}.jpg"
    return file
