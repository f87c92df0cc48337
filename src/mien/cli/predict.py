"""`mien predict`: the expressions of the faces in photos."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mien.cli.output import say, without_libraries_on_stderr
from mien.cli.photo_files import find_photos
from mien.cli.prediction_table import print_predictions
from mien.cli.workspace import find_root, registered_model
from mien.errors import UserError

if TYPE_CHECKING:
    from mien.predict.loaded import LoadedModel
    from mien.predict.photos import PhotoPrediction
    from mien.predict.predictor import Predictor

PARTLY = 1  # exit codes
NO_MODEL = 2


def add_to(app: typer.Typer) -> None:
    """Make the command known."""
    app.command()(predict)


def predict(
    photos: Annotated[list[str], typer.Argument(metavar="PHOTO...", help="Photos, folders of photos, or globs.")],
    cropped: Annotated[bool, typer.Option("--cropped", help="Each photo is one face already: detect none.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else, on stdout.")] = False,
    model: Annotated[
        str | None, typer.Option(metavar="URI|FOLDER", help="models:/NAME@ALIAS, models:/NAME/3, or build/train.")
    ] = None,
    data: Annotated[
        str | None, typer.Option(metavar="NAME", help="Use the champion of this data set, not params.yaml's.")
    ] = None,
) -> None:
    """Find the faces in photos and say their expressions.

    The model is the champion of the data set that params.yaml chooses.

    Exit code 0: every photo gave a face; 1: some did not (a sentence each on stderr); 2: there is no model.
    """
    files, problems = find_photos(photos)
    predictions: list[PhotoPrediction] = []
    about: dict[str, Any] = {}
    if files:
        predictor = _load(model, data)
        about = {"model": predictor.model.name, "version": predictor.model.version}
        predictions = _predict(predictor, files, cropped)
    if as_json:
        typer.echo(json.dumps(_as_json(predictions, about), indent=2, ensure_ascii=False))
    elif any(prediction.faces for prediction in predictions):
        print_predictions(predictions, about)
    problems += [prediction.problem for prediction in predictions if prediction.problem]
    for problem in problems:
        say(problem)
    if problems:
        raise typer.Exit(PARTLY)


def _load(model: str | None, data: str | None) -> "Predictor":
    """The predictor that was asked for; without one the command ends with a sentence."""
    from mien.predict.loaded import load_model_of
    from mien.predict.registered import NoSuchModel
    from mien.tracking.store import use_store

    root = find_root()
    try:
        use_store(root)
        uri = model or f"models:/{registered_model(root, data)}@champion"
        loaded = load_model_of(uri)
    except NoSuchModel as error:
        say(f"mien: {error} `make repro` trains and promotes one; --model FOLDER takes one from files.")
        raise typer.Exit(NO_MODEL) from error
    except UserError as error:
        say(f"mien: {error}")
        raise typer.Exit(NO_MODEL) from error
    _warn(loaded)
    from mien.predict.predictor import Predictor

    return Predictor(loaded)


def _warn(model: "LoadedModel") -> None:
    """What a person must know before believing an answer."""
    if model.drawn:
        say(
            f"mien: WARNING: this model learnt from drawings ({model.title or 'drawn sample'}); "
            "on a photograph its answers mean nothing."
        )
    if model.temperature is None:
        say("mien: this model has no temperature (`dvc repro evaluate` fits it): its probabilities are not calibrated.")


def _predict(predictor: "Predictor", files: list[Path], cropped: bool) -> "list[PhotoPrediction]":
    from tqdm import tqdm

    from mien.predict.photos import predict_files

    found = predict_files(predictor, files, cropped=cropped)
    # A bar on a terminal only (None), and only where one has to wait.
    with without_libraries_on_stderr():
        return list(tqdm(found, total=len(files), unit="photo", leave=False, disable=None if len(files) > 8 else True))


def _as_json(predictions: "list[PhotoPrediction]", about: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "file": str(prediction.file),
            "face": number,
            "box": list(face.box),
            "label": face.label,
            "probabilities": face.probabilities,
            **about,
        }
        for prediction in predictions
        for number, face in enumerate(prediction.faces, start=1)
    ]
