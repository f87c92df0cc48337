"""Predictions as a person reads them: photo by photo, a line for each face, in 80 columns."""

from typing import TYPE_CHECKING, Any, Final

from mien.cli.output import console
from mien.printable import printable

if TYPE_CHECKING:
    from rich.table import Table

    from mien.predict.photos import PhotoPrediction
    from mien.predict.predictor import FacePrediction

BAR: Final = 10  # characters


def print_predictions(predictions: "list[PhotoPrediction]", about: dict[str, Any]) -> None:
    """Print the photos that gave faces, the columns' names first and the model last."""
    from rich.text import Text

    out = console()
    out.print(_table([], header=True))
    for prediction in predictions:
        if prediction.faces:
            out.print(Text(printable(prediction.file), "bold", overflow="fold"))
            out.print(_table(prediction.faces))
    faces = sum(len(prediction.faces) for prediction in predictions)
    photos = sum(bool(prediction.faces) for prediction in predictions)
    version = "" if about["version"] is None else f" version {about['version']}"
    counts = f"{faces:,} face{'s' * (faces != 1)} in {photos:,} photo{'s' * (photos != 1)}"
    out.print(Text(f"{counts}, by {about['model']}{version}", "dim"))


def _table(faces: "list[FacePrediction]", *, header: bool = False) -> "Table":
    """Each face's expression, its probability, the runner-up, and where the face is."""
    from rich.table import Table

    table = Table(box=None, show_header=header, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("face", width=5, justify="right")
    table.add_column("expression", width=10, style="bold")
    table.add_column("probability", width=BAR + 6)
    table.add_column("runner-up", width=14, style="dim")
    table.add_column("  top  left right bottom", width=24, style="dim")
    for number, face in enumerate(faces, start=1):
        second, share = sorted(face.probabilities.items(), key=lambda item: -item[1])[1]
        where = "{:5d}{:6d}{:6d}{:7d}".format(*face.box)
        table.add_row(str(number), face.label, _bar(face.probabilities[face.label]), f"{second} {share:.0%}", where)
    return table


def _bar(share: float) -> str:
    full = round(share * BAR)
    return f"[green]{'█' * full}[/green][dim]{'░' * (BAR - full)}[/dim] {share:4.0%}"
