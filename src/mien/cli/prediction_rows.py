"""Predictions as programs read them: JSON, and csv."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from mien.base.errors import UserError
from mien.base.files import written_whole

if TYPE_CHECKING:
    from mien.inference.predictor import PhotoPrediction


def print_json(predictions: "list[PhotoPrediction]", about: tuple[str, int | None]) -> None:
    """Print a list with an object for each face on stdout."""
    typer.echo(json.dumps(_objects(predictions, about), indent=2, ensure_ascii=False))


def write_csv(predictions: "list[PhotoPrediction]", about: tuple[str, int | None], where: str) -> None:
    """Write a row for each face to a file, or to stdout where that is "-".

    Raises:
        UserError: the file cannot be written.
    """
    import pandas as pd

    rows = []
    for face in _objects(predictions, about):
        shares = face.pop("probabilities")
        box = dict(zip(("top", "left", "right", "bottom"), face.pop("box"), strict=True))
        model = {key: face.pop(key) for key in ("model", "version")}
        rows.append({**face, **box, **shares, **model})
    text = pd.DataFrame(rows).to_csv(index=False) if rows else ""
    if where == "-":
        typer.echo(text, nl=False)
        return
    try:
        with written_whole(Path(where)) as part:
            part.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"{where}: cannot be written: {error.strerror}.") from error


def _objects(predictions: "list[PhotoPrediction]", about: tuple[str, int | None]) -> list[dict[str, Any]]:
    model, version = about
    return [
        {
            "file": _as_text(prediction.picture.file),
            "time": prediction.picture.time,
            **face.as_json(number),
            "model": model,
            "version": version,
        }
        for prediction in predictions
        for number, face in enumerate(prediction.faces, start=1)
    ]


def _as_text(file: Path) -> str:
    """The name as it is; a byte of it that is no UTF-8, which neither JSON nor csv can hold, as `\\xff`."""
    return os.fsencode(file).decode("utf-8", errors="backslashreplace")
