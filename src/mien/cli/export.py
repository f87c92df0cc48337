"""`mien export`: a model as an ONNX file, for `mien predict` without PyTorch and for other programs."""

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mien.base.errors import UserError
from mien.cli.output import say, without_libraries_on_stderr
from mien.cli.photo_files import find_photos
from mien.cli.workspace import find_root, registered_model

if TYPE_CHECKING:
    from mien.inference.address import MeasuredModel
    from mien.inference.export import Exported, ExportFaces

CROP = Path("build/crop")
NEEDED = ("onnx", "onnxruntime", "onnxscript")


def add_to(app: typer.Typer) -> None:
    """Make the command known."""
    app.command()(export)


def export(
    model: Annotated[
        str | None,
        typer.Option(
            metavar="URI|FOLDER",
            help="models:/NAME/3, NAME@ALIAS, or build/train; by default the champion of params.yaml's data set.",
        ),
    ] = None,
    data: Annotated[
        str | None, typer.Option(metavar="NAME", help="Export the champion of this data set, not of params.yaml's.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="By default NAME-VERSION.onnx in the current folder.")
    ] = None,
    int8: Annotated[bool, typer.Option("--int8", help="Weights and activations in eight bits.")] = False,
    photos: Annotated[
        list[str] | None,
        typer.Option(metavar="PHOTO", help="Photos, a folder or a glob to check on, where its own faces are not here."),
    ] = None,
) -> None:
    """Write a model as an ONNX file, checked against PyTorch.

    The check, and the ranges of --int8, use the model's own validation and training faces where build/crop holds them,
    never its test faces.
    """
    if missing := [name for name in NEEDED if importlib.util.find_spec(name) is None]:
        raise UserError(f"{missing[0]} is not installed: `pip install -c constraints.txt '.[onnx]'` brings it.")
    from mien.inference.export import export_onnx

    root = find_root()
    measured = _model(root, model, data)
    faces = _faces(measured, root, photos or [], int8)
    file = out or Path(f"{measured.slug}{'-int8' if int8 else ''}.onnx")
    with without_libraries_on_stderr():
        done = export_onnx(measured, faces, file, int8=int8)
    _show(done, measured)


def _model(root: Path, said: str | None, data: str | None) -> "MeasuredModel":
    from mien.inference.address import open_measured
    from mien.tracking.store import use_store

    use_store(root)
    return open_measured(said or f"models:/{registered_model(root, data)}@champion")


def _faces(measured: "MeasuredModel", root: Path, photos: list[str], int8: bool) -> "ExportFaces":
    """The model's own faces, those of the photos that were given, or drawn ones; says which it had to do without."""
    from mien.base.settings import settings_of_use
    from mien.inference.export import NoOwnFaces, drawn_faces, own_faces, photo_faces
    from mien.inference.predictor import Predictor

    if photos:
        named = find_photos(photos)
        if named.problems:
            raise UserError(named.problems[0])
        return photo_faces(Predictor(measured.loaded, settings=settings_of_use(root, "predict")), named.files)
    try:
        return own_faces(measured, root / CROP)
    except NoOwnFaces as error:
        if int8:
            raise UserError(f"int8 needs faces to find its ranges on: {error} --photos FOLDER gives others.") from error
        say(f"mien: {error} The file is checked on drawn faces instead; --photos FOLDER gives others.")
        return drawn_faces(Predictor(measured.loaded))


def _show(done: "Exported", measured: "MeasuredModel") -> None:
    size = done.file.stat().st_size / 1e6
    typer.echo(f"{done.file}: {measured.name} in {'int8' if done.int8 else 'float32'}, {size:.1f} MB")
    typer.echo(
        f"float32 beside PyTorch, on {done.faces}: no probability differs by more than {done.float32.difference:.1g}"
    )
    if done.int8:
        typer.echo(
            f"int8 beside float32: the same expression on {done.int8.same:,} of {done.int8.faces:,}, "
            f"a probability moves by up to {done.int8.difference:.2f}"
        )
    if done.cost:
        change = done.cost.change
        typer.echo(
            f"accuracy on them {done.cost.before:.3f}, in int8 {done.cost.after:.3f}: {change.value:+.3f} "
            f"(95 % interval {change.low:+.3f} to {change.high:+.3f})"
        )
    typer.echo(f"`mien predict PHOTO --model {done.file}` uses it.")
