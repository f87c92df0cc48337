"""`mien evaluate`: a registered model on another data set than its own."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mien.cli.output import say
from mien.cli.workspace import PARAMS, find_root, read_yaml, registered_model

if TYPE_CHECKING:
    from mien.evaluation.other_data import CrossEvaluation
    from mien.inference.address import MeasuredModel
    from mien.sources.source import DataConfig


def add_to(app: typer.Typer) -> None:
    """Make the command known."""
    app.command()(evaluate)


def evaluate(
    data: Annotated[str, typer.Option(metavar="NAME", help="The data set to measure on: a file of conf/data.")],
    model: Annotated[
        str | None,
        typer.Option(
            metavar="URI|FOLDER",
            help="models:/NAME/3, NAME@ALIAS, or build/train; by default the champion of params.yaml's data set.",
        ),
    ] = None,
    part: Annotated[
        str | None,
        typer.Option(
            metavar="PART",
            help="test, val, train or all; by default test where the set has an official split, else all.",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where the report goes; by default reports/cross/MODEL-on-DATA.")
    ] = None,
) -> None:
    """Measure a model on another data set than its own.

    Faces are cut from that data set's boxes as the model's own were (size, colour, margin, square, EXIF rotation).
    The confidence filter is that of the crop that params.yaml chooses; its size and its sample of rows are not used.
    Faces that the model learnt from are left out, and the temperature stays the model's.
    """
    from mien.evaluation.other_data import cut_faces, evaluate_elsewhere, refuse_own_data
    from mien.reporting.evaluation_page import write_cross
    from mien.tracking.publish import publish_cross
    from mien.tracking.store import use_store

    root = find_root()
    settings = _settings(root, data, part)
    use_store(root)
    measured = _model(root, model)
    refuse_own_data(measured, settings["data"])
    with tempfile.TemporaryDirectory(prefix="mien-evaluate-") as scratch:
        spec = measured.loaded.spec
        faces = cut_faces(settings["data"], spec, part, settings["crop"], root, Path(scratch))
        cross = evaluate_elsewhere(measured, settings["data"], faces, settings["evaluate"])
        folder = out or root / "reports" / "cross" / f"{measured.slug}-on-{settings['data'].name}"
        write_cross(cross, folder)
        problem = publish_cross(cross)
    _show(cross, folder)
    if problem:
        say(f"mien: {problem}")


def _settings(root: Path, data: str, part: str | None) -> dict[str, Any]:
    """The settings of the data set, and of the crop and evaluate that params.yaml chooses."""
    from mien.base.settings import read_settings, refuse_unknown_choice
    from mien.evaluation.other_data import PARTS

    if part is not None and part not in PARTS:
        raise typer.BadParameter(f"{part!r} is none of {', '.join(PARTS)}", param_hint="--part")
    choices = {**read_yaml(root / PARAMS), "data": data}
    conf, settings = root / "conf", {}
    for group in ("data", "crop", "evaluate"):
        refuse_unknown_choice(conf, group, choices.get(group), "--data" if group == "data" else PARAMS)
        settings[group] = read_settings(conf, group, choices[group])
    return settings


def _model(root: Path, said: str | None) -> "MeasuredModel":
    from mien.base.errors import UserError
    from mien.inference.address import NoSuchModel, open_measured

    try:
        return open_measured(said or f"models:/{registered_model(root, None)}@champion")
    except NoSuchModel as error:
        raise UserError(
            f"{error} `make repro` trains and promotes one; --model FOLDER takes one from files."
        ) from error


def _show(cross: "CrossEvaluation", folder: Path) -> None:
    from mien.evaluation.other_data import sentences
    from mien.reporting.evaluation_page import between

    overall, whole = cross.evaluation.whole.intervals.overall, cross.evaluation.whole
    typer.echo(f"{cross.model.name} on {_called(cross.data)}: {whole.faces:,} faces of {whole.photos:,} photos")
    for name, measure in (
        ("accuracy", "accuracy"),
        ("mean recall", "unweighted_average_recall"),
        ("macro F1", "macro_f1"),
        ("calibration", "ece"),
    ):
        typer.echo(f"  {name:<12} {overall[measure].value:.3f} ({between(overall[measure])})")
    for sentence in sentences(cross):
        typer.echo(f"  {sentence}")
    typer.echo(f"the report: {folder / 'report.html'}")
    if bool(cross.model.lineage.get("drawn")) != cross.data.drawn:
        say("mien: WARNING: one of the two is drawn and the other photographed; the result says nothing of people.")


def _called(data: "DataConfig") -> str:
    return data.title or data.name
