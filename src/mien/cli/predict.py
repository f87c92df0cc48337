"""`mien predict`: the expressions of the faces in photos and videos."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mien.cli.options import DataOption, DetectorOption, MinFaceOption, MinScoreOption, ModelOption
from mien.cli.output import say, without_libraries_on_stderr
from mien.cli.photo_files import Named, find_photos
from mien.cli.use import UNUSABLE, predictor_for

if TYPE_CHECKING:
    from mien.cli.annotated_files import AnnotatedFiles
    from mien.inference.predictor import PhotoPrediction, Predictor

PARTLY = 1  # exit code


def add_to(app: typer.Typer) -> None:
    """Make the command known."""
    app.command()(predict)


def predict(
    photos: Annotated[
        list[str],
        typer.Argument(metavar="PHOTO...", help="Photos, folders of photos, globs, videos, or - for standard input."),
    ],
    cropped: Annotated[bool, typer.Option("--cropped", help="Each photo is one face already: detect none.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else, on stdout.")] = False,
    csv: Annotated[
        str | None, typer.Option("--csv", metavar="FILE", help="Write a row for each face; - is stdout, and no table.")
    ] = None,
    annotate: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write each picture there with its faces drawn in.")
    ] = None,
    every: Annotated[float, typer.Option(metavar="SECONDS", help="Of a video, a frame in so many seconds.")] = 1.0,
    detector: DetectorOption = None,
    min_face: MinFaceOption = None,
    min_score: MinScoreOption = None,
    model: ModelOption = None,
    data: DataOption = None,
) -> None:
    """Find the faces in photos and say their expressions.

    The model is the champion of the data set that params.yaml chooses.

    Exit code 0: every photo gave a face; 1: some did not (a sentence each on stderr); 2: there is no model or detector,
    or the command line is wrong.
    """
    if as_json and csv == "-":
        _refuse("--json and --csv - both want stdout; give the csv a file's name.")
    if every <= 0:
        _refuse(f"--every is a time in seconds above 0, not {every:g}.")
    named = find_photos(photos)
    predictions: list[PhotoPrediction] = []
    about: tuple[str, int | None] = ("", None)
    if named.files:
        predictor = predictor_for(model, data, {"detector": detector, "min_face": min_face, "min_score": min_score})
        about = (predictor.model.name, predictor.model.version)
        predictions = _predict(predictor, named, cropped, every, _drawer(annotate, predictor))
    _print(predictions, about, as_json, csv)
    for remark in [*named.remarks, *(_left_out(prediction) for prediction in predictions if prediction.left_out)]:
        say(remark)
    for problem in named.problems:
        say(problem)
    if named.problems:
        raise typer.Exit(PARTLY)


def _refuse(sentence: str) -> None:
    say(f"mien: {sentence}")
    raise typer.Exit(UNUSABLE)


def _drawer(folder: Path | None, predictor: "Predictor") -> "AnnotatedFiles | None":
    if folder is None:
        return None
    from mien.cli.annotated_files import AnnotatedFiles

    return AnnotatedFiles(folder, predictor.settings)


def _predict(
    predictor: "Predictor", named: Named, cropped: bool, every: float, drawer: "AnnotatedFiles | None"
) -> "list[PhotoPrediction]":
    """The predictions; what failed is added to the named problems."""
    from tqdm import tqdm

    from mien.cli.pictures import Pictures
    from mien.inference.predictor import predict_pictures

    pictures = Pictures(named.files, predictor.settings, every)
    found = []
    # A bar on a terminal only (None), and only where one has to wait.
    wait = None if pictures.expected > 8 else True
    with without_libraries_on_stderr(), tqdm(total=pictures.expected, unit="photo", leave=False, disable=wait) as bar:
        for prediction in predict_pictures(predictor, pictures, cropped=cropped):
            if drawer:
                drawer.write(prediction)
            found.append(prediction.without_frame())
            bar.update()
    named.problems += pictures.problems + [one.problem for one in found if one.problem and one.picture.time is None]
    named.problems += pictures.without_a_face(found)
    return found


def _print(predictions: "list[PhotoPrediction]", about: tuple[str, int | None], as_json: bool, csv: str | None) -> None:
    from mien.cli.prediction_rows import print_json, write_csv

    if as_json:
        print_json(predictions, about)
    elif csv != "-" and any(prediction.faces for prediction in predictions):
        from mien.cli.prediction_table import print_predictions

        print_predictions(predictions, about)
    if csv is not None:
        write_csv(predictions, about, csv)


def _left_out(prediction: "PhotoPrediction") -> str:
    n = prediction.left_out
    return (
        f"{prediction.picture.says}: {n:,} face{'s' * (n != 1)} beyond max_faces (conf/predict.yaml) left out, the "
        "smallest."
    )
