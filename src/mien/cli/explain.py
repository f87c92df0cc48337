"""`mien explain`: where in a face the network found its answer."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mien.base.errors import UserError
from mien.base.files import written_whole
from mien.cli.options import DataOption, DetectorOption, MinFaceOption, MinScoreOption, ModelOption
from mien.cli.output import say, without_libraries_on_stderr
from mien.cli.use import predictor_for

if TYPE_CHECKING:
    from mien.inference.heatmap import Explanation
    from mien.inference.predictor import FoundFaces, Predictor

MOST_DRAWN = 12  # faces; the picture would be too long to look at


def add_to(app: typer.Typer) -> None:
    """Make the command known."""
    app.command()(explain)


def explain(
    photo: Annotated[Path, typer.Argument(metavar="PHOTO", help="A photo with faces.")],
    out: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="By default PHOTO-explained.png in the current folder.")
    ] = None,
    name: Annotated[
        str | None, typer.Option("--class", metavar="NAME", help="Show what speaks for this class, not for the answer.")
    ] = None,
    cropped: Annotated[bool, typer.Option("--cropped", help="The photo is one face already: detect none.")] = False,
    model: ModelOption = None,
    data: DataOption = None,
    detector: DetectorOption = None,
    min_face: MinFaceOption = None,
    min_score: MinScoreOption = None,
) -> None:
    """Show where the network looked for its answer (Grad-CAM), as a picture.

    docs/EXPLAIN.md says what such a picture shows, and what it does not.
    """
    predictor = predictor_for(model, data, {"detector": detector, "min_face": min_face, "min_score": min_score})
    names = predictor.model.spec.classes
    if name is not None and name not in names:
        raise UserError(f"--class: {predictor.model.says} knows no {name!r}; it knows {', '.join(names)}.")
    from mien.inference.heatmap import explain_faces, explanation_figure

    with without_libraries_on_stderr():
        found = _faces(predictor, photo, cropped)
    explained = explain_faces(predictor, found, name)
    file = out or Path(f"{photo.stem}-explained.png")
    if len(explained) > MOST_DRAWN:
        say(f"mien: {photo} shows {len(explained)} faces; the first {MOST_DRAWN} from the left are drawn.")
    subtitle = f"{predictor.model.says}; Grad-CAM: what speaks for the answer, not why it is right"
    picture = explanation_figure(explained[:MOST_DRAWN], f"Where the network looked: {photo.name}", subtitle)
    with written_whole(file) as part:
        part.write_bytes(picture)
    _show(explained, file)


def _faces(predictor: "Predictor", photo: Path, cropped: bool) -> "FoundFaces":
    from mien.inference.predictor import Picture, no_face
    from mien.runtime.decode import UnreadablePhoto

    try:
        pixels = Picture(photo).pixels(predictor.model.spec.colour, predictor.settings)
    except UnreadablePhoto as error:
        raise UserError(f"{photo} cannot be used: {error.detail}.") from error
    found = predictor.whole_face(pixels) if cropped else predictor.find_faces(pixels)
    if not found.detections:
        raise UserError(f"{photo}: {no_face(predictor, pixels)}")
    return found


def _show(explained: "list[Explanation]", file: Path) -> None:
    for number, face in enumerate(explained, start=1):
        share = face.prediction.probabilities[face.prediction.label]
        typer.echo(f"face {number}: {face.prediction.label} {share:.0%}; shown is what speaks for {face.asked}")
    typer.echo(f"{file} shows where the network looked.")
