"""The commands `explain`, `video` and `app`: heat maps, annotated videos, the web page."""

from pathlib import Path
from typing import Annotated, Final

import typer

from mien.base.errors import UserError
from mien.base.files import replacing
from mien.base.settings import read_usage
from mien.cli import workspace
from mien.cli.workspace import PARTLY, UNUSABLE, counted, fail, predictor_for, progress, quiet_libraries, say
from mien.inference.default_model import find_root, load_default, model_address

MOST_EXPLAINED: Final = 12  # faces; more would make the picture too long


def explain(
    photo: Annotated[Path, typer.Argument(metavar="PHOTO", help="A photo with faces.")],
    out: Annotated[Path | None, typer.Option(metavar="FILE.png", help="Default: PHOTO-explained.png.")] = None,
    name: Annotated[str | None, typer.Option("--class", metavar="NAME", help="Default: the answer's class.")] = None,
    cropped: workspace.CroppedOption = False,
    model: workspace.ModelOption = None,
    data: workspace.DataOption = None,
    detector: workspace.DetectorOption = None,
    min_face: workspace.MinFaceOption = None,
    min_score: workspace.MinScoreOption = None,
) -> None:
    """Draw a heat map of where the network looked (Grad-CAM).

    docs/howto/explain.md explains what the map shows and what it does not.
    """
    predictor = predictor_for(model, data, detector=detector, min_face=min_face, min_score=min_score)
    names = predictor.model.spec.classes
    if name is not None and name not in names:
        raise UserError(f"--class: {predictor.model.says} has no class {name!r}; it has {', '.join(names)}.")
    from mien.inference.heatmap import explain_faces, explanation_figure
    from mien.inference.picture import Picture
    from mien.inference.predictor import find_faces

    with quiet_libraries():
        found = find_faces(predictor, Picture(photo), cropped=cropped)
    if found.problem:
        raise UserError(found.problem)
    explained = explain_faces(predictor, found, name)
    if len(explained) > MOST_EXPLAINED:
        say(f"mien: {photo} shows {len(explained)} faces; the first {MOST_EXPLAINED} from the left are drawn.")
    subtitle = f"{predictor.model.says}; Grad-CAM: what speaks for the answer, not why it is right"
    picture = explanation_figure(explained[:MOST_EXPLAINED], f"Where the network looked: {photo.name}", subtitle)
    file = out or Path(f"{photo.stem}-explained.png")
    with replacing(file) as part:
        part.write_bytes(picture)
    for number, face in enumerate(explained, start=1):
        share = face.prediction.probabilities[face.prediction.label]
        typer.echo(f"face {number}: {face.prediction.label} {share:.0%}; the map shows what speaks for {face.asked}")
    typer.echo(f"{file} shows where the network looked.")


def video(
    source: Annotated[Path, typer.Argument(metavar="IN", help="A video.")],
    out: Annotated[Path, typer.Argument(metavar="OUT.mp4", help="The annotated video to write.")],
    detector: workspace.DetectorOption = None,
    min_face: workspace.MinFaceOption = None,
    min_score: workspace.MinScoreOption = None,
    smoothing: Annotated[float, typer.Option(metavar="SECONDS", min=0, help="Time constant; 0 for none.")] = 0.5,
    model: workspace.ModelOption = None,
    data: workspace.DataOption = None,
) -> None:
    """Annotate a video with the expressions of its faces, smoothed over time.

    Also writes OUT.timeline.csv, with every face of every frame, and OUT.timeline.png.

    Exit code 0: the whole video was read and has a face; 1: it was read in part, or has no face; 2: it is not a video,
    or there is no model.
    """
    if out.suffix.lower() != ".mp4":
        fail(f"{out}: mien writes mp4; choose a name that ends in .mp4.", UNUSABLE)
    if out.exists() and source.exists() and out.samefile(source):
        fail(f"{out} is the input video; choose another name for the annotated one.", UNUSABLE)
    predictor = predictor_for(model, data, detector=detector, min_face=min_face, min_score=min_score)
    from mien.inference.annotation import annotate_video, timeline_file

    try:
        with progress(source.name, "frame") as update:
            report = annotate_video(predictor, source, out, smoothing=smoothing, progress=update)
    except UserError as error:
        fail(str(error), UNUSABLE)
    frames = f"{report.frames:,} frames, {report.seconds:.1f} s, {counted(report.tracks, 'face')}"
    typer.echo(f"{out}: {frames}; a face in {report.with_a_face:,} frames, by {predictor.model.says}")
    typer.echo(f"{timeline_file(out, '.csv')} and {timeline_file(out, '.png').name}: the timeline")
    if report.sound_lost:
        say(f"{source}: mp4 players cannot play its audio format; the annotated video has no sound.")
    if report.left_out:
        say(f"{source}: {report.left_out:,} faces were left out, the smallest in frames with more than max_faces.")
    if report.problem:
        say(report.problem)
    if not report.with_a_face:
        say(f"{source}: no face found in any frame ({predictor.detector.name}).")
    if report.problem or not report.with_a_face:
        raise typer.Exit(PARTLY)


def app(
    model: workspace.MeasuredOption = None,
    data: workspace.DataOption = None,
    host: Annotated[str, typer.Option(help="0.0.0.0 admits other machines: see docs/howto/app.md.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes any free port.")] = 7860,
) -> None:
    """Serve a web page that recognises expressions in photos, videos and the camera's picture.

    It uses the champion and loads a new one without a restart. Its limits are in conf/app.yaml.
    """
    root = find_root()
    limits, photos = read_usage(root, "app"), read_usage(root, "predict")
    from mien.app.answers import Answerer
    from mien.app.server import serve
    from mien.inference.address import CurrentModel
    from mien.sources.detect import build_detector

    first = load_default(model, data, say)
    with CurrentModel(model_address(model, data, packaged=True), first, every=limits.follow_seconds) as current:
        answerer = Answerer(current, build_detector(photos), photos, limits)
        serve(answerer, host, port, lambda address: say(f"mien: {current.model.says} answers at {address}"))
