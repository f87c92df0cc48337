"""`mien video`: a video with the expressions of its faces drawn in."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mien.base.errors import UserError
from mien.cli.options import DataOption, DetectorOption, MinFaceOption, MinScoreOption, ModelOption
from mien.cli.output import say
from mien.cli.use import UNUSABLE, predictor_for

if TYPE_CHECKING:
    from mien.inference.video_annotation import VideoReport

PARTLY = 1  # exit code


def add_to(app: typer.Typer) -> None:
    """Make the command known."""
    app.command()(video)


def video(
    source: Annotated[Path, typer.Argument(metavar="IN", help="A video.")],
    out: Annotated[Path, typer.Argument(metavar="OUT.mp4", help="Where the annotated video goes.")],
    detector: DetectorOption = None,
    min_face: MinFaceOption = None,
    min_score: MinScoreOption = None,
    smoothing: Annotated[
        float, typer.Option(metavar="SECONDS", help="Time constant of the smoothed probabilities; 0: none.")
    ] = 0.5,
    model: ModelOption = None,
    data: DataOption = None,
) -> None:
    """Draw the expressions of the faces into a video, smoothed over time.

    Beside OUT.mp4 come OUT.timeline.csv, with every face of every frame, and OUT.timeline.png.

    Exit code 0: the whole video was read and had a face; 1: not all of it could be read, or no face was in it; 2: it
    is no video, or there is no model.
    """
    if problem := _refusal(source, out, smoothing):
        say(f"mien: {problem}")
        raise typer.Exit(UNUSABLE)
    predictor = predictor_for(model, data, {"detector": detector, "min_face": min_face, "min_score": min_score})
    from mien.cli.video_progress import bar_of
    from mien.inference.video_annotation import annotate_video

    try:
        with bar_of(source.name) as progress:
            report = annotate_video(predictor, source, out, smoothing=smoothing, progress=progress)
    except UserError as error:
        say(f"mien: {error}")
        raise typer.Exit(UNUSABLE) from error
    problems = _tell(report, source, out, predictor.model.says, predictor.detector.name)
    if problems:
        raise typer.Exit(PARTLY)


def _refusal(source: Path, out: Path, smoothing: float) -> str:
    if out.suffix.lower() != ".mp4":
        return f"{out}: mien writes mp4; give it a name that ends in .mp4."
    if out.exists() and source.exists() and out.samefile(source):
        return f"{out}: is the video itself; give the annotated one another name."
    if not 0 <= smoothing < float("inf"):
        return f"--smoothing is a time in seconds, 0 or more, not {smoothing:g}."
    return ""


def _tell(report: "VideoReport", source: Path, out: Path, model: str, detector: str) -> bool:
    """Say what came of it; whether something is amiss."""
    from mien.inference.video_annotation import timeline_file

    people = f"{report.tracks:,} face{'s' * (report.tracks != 1)}"
    typer.echo(
        f"{out}: {report.frames:,} frames, {report.seconds:.1f} s, {people}; a face in {report.with_a_face:,} frames, "
        f"by {model}"
    )
    typer.echo(f"{timeline_file(out, '.csv')} and {timeline_file(out, '.png').name}: the timeline")
    if report.sound_lost:
        say(f"{source}: its sound is of a kind that mp4 players do not know; the annotated video has none.")
    if report.left_out:
        say(f"{source}: {report.left_out:,} faces beyond max_faces in a frame were left out, the smallest ones.")
    if report.problem:
        say(report.problem)
    if not report.with_a_face:
        say(f"{source}: no face found in any frame ({detector}).")
    return bool(report.problem) or not report.with_a_face
