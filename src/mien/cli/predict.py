"""The command `mien predict`: expressions of the faces in photos and videos."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from mien.base.errors import UserError
from mien.cli import workspace
from mien.cli.output import counted, fail, progress, say
from mien.cli.workspace import PARTLY, UNUSABLE, predictor_for
from mien.sources.photos import PHOTO_SUFFIXES, is_photo_name

if TYPE_CHECKING:
    from mien.inference.detectors import PredictConfig
    from mien.inference.picture import Picture
    from mien.inference.predictor import PhotoPrediction, Predictor

VIDEOS: Final = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".3gp", ".wmv", ".flv", ".ts")
STDIN: Final = "-"
FRAMES_OF_A_VIDEO: Final = 10  # a guess, for the progress bar
FEW: Final = 8  # pictures, which are answered before a progress bar can be read


def predict(
    photos: Annotated[list[str], typer.Argument(metavar="PHOTO", help="A photo, folder, glob, video, or - for stdin.")],
    cropped: workspace.CroppedOption = False,
    as_json: workspace.JsonOption = False,
    csv: Annotated[str | None, typer.Option(metavar="FILE", help="Write one row per face; - is stdout.")] = None,
    annotate: Annotated[Path | None, typer.Option(metavar="DIR", help="Write annotated pictures into DIR.")] = None,
    every: Annotated[float, typer.Option(metavar="SECONDS", help="Interval between frames taken from a video.")] = 1.0,
    detector: workspace.DetectorOption = None,
    min_face: workspace.MinFaceOption = None,
    min_score: workspace.MinScoreOption = None,
    model: workspace.ModelOption = None,
    data: workspace.DataOption = None,
) -> None:
    """Find the faces in photos and videos and recognise their expressions.

    The default model is the champion of the data set that params.yaml chooses, else the one in the package.

    Exit code 0: every photo has a face; 1: some have none or cannot be read (listed on stderr); 2: no model, no
    detector, or a wrong command line.
    """
    if as_json and csv == "-":
        fail("--json and --csv - both write to stdout; give --csv a file name.", UNUSABLE)
    if every <= 0:
        fail(f"--every must be a number of seconds above 0, not {every:g}.", UNUSABLE)
    files, problems, remarks = find_photos(photos)
    predictions: list[PhotoPrediction] = []
    by: tuple[str, int | None] = ("", None)  # the model
    if files:
        predictor = predictor_for(model, data, detector=detector, min_face=min_face, min_score=min_score)
        by = (predictor.model.name, predictor.model.version)
        predictions = _predict(predictor, files, problems, cropped=cropped, every=every, annotate=annotate)
    from mien.cli.predictions import face_records, print_table, write_csv

    if as_json:
        typer.echo(json.dumps(face_records(predictions, by), indent=2, ensure_ascii=False))
    elif csv != "-" and any(prediction.faces for prediction in predictions):
        print_table(predictions, by)
    if csv is not None:
        write_csv(predictions, by, csv)
    for prediction in predictions:
        if prediction.left_out:
            left_out = f"{counted(prediction.left_out, 'face')} beyond max_faces (conf/predict.yaml) left out"
            remarks.append(f"{prediction.picture.says}: {left_out}, the smallest.")
    for sentence in [*remarks, *problems]:
        say(sentence)
    if problems:
        raise typer.Exit(PARTLY)


def find_photos(arguments: list[str]) -> tuple[list[Path], list[str], list[str]]:
    """Files as they are, the photos in folders and below them, the matches of globs, and "-" as it stands.

    Returns the files, each once; a sentence for each argument that names nothing; and one for each folder in which
    other files were skipped.
    """
    files: dict[Path, None] = {}
    problems: list[str] = []
    remarks: list[str] = []
    for argument in arguments:
        path = Path(argument)
        if argument == STDIN or (path.exists() and not path.is_dir()):
            matches = [path]
        elif path.is_dir():
            matches = _photos_in(path, problems, remarks)
        elif any(sign in argument for sign in "*?["):  # a glob that the shell left alone
            root = Path(path.anchor)  # "" for a relative pattern
            matches = sorted(file for file in root.glob(str(path.relative_to(root))) if file.is_file())
            if not matches:
                problems.append(f"{argument}: no file matches.")
        else:
            matches = []
            problems.append(f"{argument}: there is no such file.")
        files.update(dict.fromkeys(matches))
    return list(files), problems, remarks


def _photos_in(folder: Path, problems: list[str], remarks: list[str]) -> list[Path]:
    everything = sorted(file for file in folder.rglob("[!.]*") if file.is_file())
    photos = [file for file in everything if is_photo_name(file)]
    if not photos:
        problems.append(f"{folder}: no photo in this folder (of {', '.join(PHOTO_SUFFIXES)}).")
    elif others := len(everything) - len(photos):
        videos = sum(_is_video(file) for file in everything)
        seen = f", of them {counted(videos, 'video')} (name a video to use it)" if videos else ""
        remarks.append(f"{folder}: skipped {counted(others, 'file')} other than photos{seen}.")
    return photos


def _is_video(file: Path) -> bool:
    return file.suffix.lower() in VIDEOS


def _predict(
    predictor: "Predictor",
    files: list[Path],
    problems: list[str],
    *,
    cropped: bool,
    every: float,
    annotate: Path | None,
) -> "list[PhotoPrediction]":
    """The predictions; a sentence for each picture that gave none is added to the problems."""
    from mien.cli.predictions import write_annotated
    from mien.inference.predictor import predict_pictures

    predictions: list[PhotoPrediction] = []
    expected = sum(FRAMES_OF_A_VIDEO if _is_video(file) else 1 for file in files)
    pictures = _read_pictures(files, predictor.settings, every, problems)
    with progress("predict", "photo", shown=expected > FEW) as update:
        for prediction in predict_pictures(predictor, pictures, cropped=cropped):
            if annotate and prediction.faces:
                write_annotated(prediction, annotate, predictor.settings)
            predictions.append(prediction.without_frame())
            update(len(predictions), expected)
    problems += [shot.problem for shot in predictions if shot.problem and shot.picture.time is None]
    problems += _videos_without_faces(predictions, every)
    return predictions


def _read_pictures(
    files: list[Path], limits: "PredictConfig", every: float, problems: list[str]
) -> "Iterator[Picture]":
    """Each photo, and a frame in `every` seconds of each video; damaged videos are added to the problems."""
    from mien.inference.picture import Picture
    from mien.inference.video import open_video

    for file in files:
        if str(file) == STDIN:  # one byte more than allowed shows that a photo is too large
            yield Picture(file, data=sys.stdin.buffer.read(int(limits.max_megabytes * 1e6) + 1))
        elif _is_video(file):
            try:
                with open_video(file) as video:
                    for frame in video.frames(every=every):
                        yield Picture(file, frame=frame.pixels, time=frame.time)
                    if video.problem:
                        problems.append(video.problem)
            except UserError as error:
                problems.append(str(error))
        else:
            yield Picture(file)


def _videos_without_faces(predictions: "list[PhotoPrediction]", every: float) -> list[str]:
    """A sentence for each video in which no frame that was looked at had a face."""
    frames: dict[Path, list[bool]] = {}
    for prediction in predictions:
        if prediction.picture.time is not None:
            frames.setdefault(prediction.picture.file, []).append(bool(prediction.faces))
    return [
        f"{file}: no face found in {counted(len(seen), 'frame')}, one in {every:g} s."
        for file, seen in frames.items()
        if not any(seen)
    ]
