"""The command `mien predict`: expressions of the faces in photos and videos, as a table, JSON, csv and pictures."""

import csv as csv_files
import io
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from mien.base.errors import UserError
from mien.base.files import replacing
from mien.cli import workspace
from mien.cli.workspace import PARTLY, UNUSABLE, console, counted, fail, predictor_for, progress, say
from mien.sources.photos import PHOTO_SUFFIXES, is_photo_name

if TYPE_CHECKING:
    from rich.table import Table

    from mien.inference.picture import Picture
    from mien.inference.predictor import FacePrediction, PhotoPrediction, Predictor
    from mien.sources.detect import PredictConfig

VIDEOS: Final = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".3gp", ".wmv", ".flv", ".ts")
STDIN: Final = "-"
FRAMES_OF_A_VIDEO: Final = 10  # a guess, for the progress bar
FEW: Final = 8  # pictures, which are answered before a progress bar can be read
Model = tuple[str, int | None]  # its name, and the version of a registered one
BAR: Final = 10  # characters
JPEG_QUALITY: Final = 92


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
    by: Model = ("", None)
    if files:
        predictor = predictor_for(model, data, detector=detector, min_face=min_face, min_score=min_score)
        by = (predictor.model.name, predictor.model.version)
        predictions = _predict(predictor, files, problems, cropped=cropped, every=every, annotate=annotate)
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
    files, problems, remarks = dict[Path, None](), list[str](), list[str]()
    for argument in arguments:
        path, matches = Path(argument), list[Path]()
        if argument == STDIN or (path.exists() and not path.is_dir()):
            matches = [path]
        elif path.is_dir():
            everything = sorted(file for file in path.rglob("[!.]*") if file.is_file())
            matches = [file for file in everything if is_photo_name(file)]
            if not matches:
                problems.append(f"{path}: no photo in this folder (of {', '.join(PHOTO_SUFFIXES)}).")
            elif others := len(everything) - len(matches):
                remarks.append(f"{path}: skipped {counted(others, 'file')} other than photos; name a video to use it.")
        elif any(sign in argument for sign in "*?["):  # a glob that the shell left alone
            root = Path(path.anchor)  # "" for a relative pattern
            matches = sorted(file for file in root.glob(str(path.relative_to(root))) if file.is_file())
            if not matches:
                problems.append(f"{argument}: no file matches.")
        else:
            problems.append(f"{argument}: there is no such file.")
        files.update(dict.fromkeys(matches))
    return list(files), problems, remarks


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
    """The predictions; a sentence for each photo or video that gave none is added to the problems."""
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
    for file in dict.fromkeys(shot.picture.file for shot in predictions if shot.picture.time is not None):
        seen = [bool(shot.faces) for shot in predictions if shot.picture.file == file]
        if not any(seen):
            problems.append(f"{file}: no face found in {counted(len(seen), 'frame')}, one in {every:g} s.")
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


def print_table(predictions: "list[PhotoPrediction]", model: Model) -> None:
    """Print the photos that gave faces in 80 columns: a line for each face, and the model last."""
    from rich.text import Text

    from mien.inference.classifier import version_words

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
    if any(face.unsure for face in faces):
        out.print(Text("?: unsure, no expression is likely enough (unsure_below in conf/predict.yaml)", "dim"))
    what = "photo" if all(prediction.picture.time is None for prediction in predictions) else "picture"
    said = f"{counted(len(faces), 'face')} in {counted(len(answered), what)}, by {version_words(*model)}"
    out.print(Text(said, "dim"))


def _face_rows(faces: "list[FacePrediction]", *, header: bool = False) -> "Table":
    from rich.table import Table

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


def write_csv(predictions: "list[PhotoPrediction]", model: Model, where: str) -> None:
    """Write a row for each face to a file, or to stdout where that is "-"; an OSError where it cannot be written."""
    rows = []
    for face in face_records(predictions, model):
        probabilities, by = face.pop("probabilities"), {key: face.pop(key) for key in ("model", "version")}
        box = zip(("top", "left", "right", "bottom"), face.pop("box"), strict=True)
        quality = ", ".join(face.pop("quality")["reasons"])
        rows.append({**face, **dict(box), "quality": quality, **probabilities, **by})
    text = io.StringIO()
    if rows:
        writer = csv_files.DictWriter(text, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    if where == "-":
        typer.echo(text.getvalue(), nl=False)
    else:
        with replacing(Path(where)) as part:
            part.write_bytes(text.getvalue().encode())


def face_records(predictions: "list[PhotoPrediction]", model: Model) -> list[dict[str, Any]]:
    """What JSON and csv say of each face."""
    by = dict(zip(("model", "version"), model, strict=True))
    return [
        {
            # Neither JSON nor csv can hold a byte that is no UTF-8: it stands there as `\xff`.
            "file": os.fsencode(prediction.picture.file).decode("utf-8", errors="backslashreplace"),
            "time": prediction.picture.time,
            "face": number,
            **face.to_dict(),
            **by,
        }
        for prediction in predictions
        for number, face in enumerate(prediction.faces, start=1)
    ]


def write_annotated(prediction: "PhotoPrediction", folder: Path, limits: "PredictConfig") -> None:
    """Write a picture with its faces drawn in as JPEG, over no other file; an OSError where it cannot be written."""
    from mien.inference.annotation import draw_faces
    from mien.reporting.images import face_jpeg

    picture, faces = prediction.picture, prediction.faces
    tags = [(face.box, face.caption(number), face.label) for number, face in enumerate(faces, start=1)]
    content = face_jpeg(draw_faces(picture.pixels(limits), tags, list(faces[0].probabilities)), JPEG_QUALITY)
    name = "stdin" if picture.data is not None else picture.file.stem
    if picture.time is not None:
        name = f"{name}-{picture.time:08.2f}s"
    file, number = folder / f"{name}.jpg", 1
    while file.exists():
        number += 1
        file = folder / f"{name}-{number}.jpg"
    with replacing(file) as part:
        part.write_bytes(content)
