"""Predictions as a person reads them: photo by photo, a line for each face, in 80 columns."""

from typing import TYPE_CHECKING, Final

from mien.cli.output import console

if TYPE_CHECKING:
    from rich.table import Table

    from mien.inference.predictor import FacePrediction, PhotoPrediction

BAR: Final = 10  # characters


def print_predictions(predictions: "list[PhotoPrediction]", about: tuple[str, int | None]) -> None:
    """Print the photos that gave faces, the columns' names first and the model last."""
    from rich.text import Text

    out = console()
    out.print(_table([], header=True))
    for prediction in predictions:
        if prediction.faces:
            out.print(Text(prediction.picture.says, "bold", overflow="fold"))
            out.print(_table(prediction.faces))
    faces = sum(len(prediction.faces) for prediction in predictions)
    photos = sum(bool(prediction.faces) for prediction in predictions)
    what = "photo" if all(prediction.picture.time is None for prediction in predictions) else "picture"
    model, number = about
    version = "" if number is None else f" version {number}"
    counts = f"{faces:,} face{'s' * (faces != 1)} in {photos:,} {what}{'s' * (photos != 1)}"
    if any(face.unsure for prediction in predictions for face in prediction.faces):
        out.print(Text("?: unsure, no expression is likely enough (unsure_below in conf/predict.yaml)", "dim"))
    out.print(Text(f"{counts}, by {model}{version}", "dim"))


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
        label = f"[dim]{face.label}?[/dim]" if face.unsure else face.label
        table.add_row(str(number), label, _bar(face.probabilities[face.label]), f"{second} {share:.0%}", where)
    return table


def _bar(share: float) -> str:
    full = round(share * BAR)
    return f"[green]{'█' * full}[/green][dim]{'░' * (BAR - full)}[/dim] {share:4.0%}"
