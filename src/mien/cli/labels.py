"""`mien labels`: which labels of the data set are likely wrong."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mien.cli.output import say
from mien.cli.workspace import PARAMS, find_root, read_yaml

if TYPE_CHECKING:
    from mien.training.recipe import Recipe

GROUPS = ("data", "model", "augment", "optim", "train")


def add_to(app: typer.Typer) -> None:
    """Make the command known."""
    app.command()(labels)


def labels(
    folds: Annotated[int, typer.Option(min=2, max=20, help="So many networks, each trained without one fold.")] = 5,
    epochs: Annotated[int | None, typer.Option(min=1, help="Instead of those of conf/train.")] = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="By default reports/labels.")] = None,
) -> None:
    """List the faces whose labels are likely wrong, as a page sorted by suspicion. Nothing is changed.

    Confident learning on cross-validated predictions: the network and the settings that params.yaml chooses, with what
    the search found, are trained once per fold; a photo and its duplicates stay in one fold. Only faces of train and
    validation are judged: the test set stays closed. A killed run goes on where it was.
    """
    from mien.evaluation.label_noise import PAGE, TABLE, judge_labels

    root = find_root()
    choices, settings = _settings(root)
    recipe = _recipe(root, settings, epochs)

    def told(number: int, kept: bool) -> None:
        say(f"fold {number + 1} of {folds} {'was done before' if kept else 'done'}")

    folder = out or root / "reports" / "labels"
    data = settings["data"]
    names = {"title": data.title or data.name, "model": choices["model"]}
    verdict = judge_labels(root, recipe, folds, told, folder, names)
    suspects, faces = int(verdict.ranked["suspect"].sum()), len(verdict.ranked)
    typer.echo(f"{suspects:,} of {faces:,} labels are suspected ({suspects / faces:.1%})")
    typer.echo(f"  the networks answer {verdict.accuracy:.1%} of the faces, which they had not seen, as labelled")
    typer.echo("  nothing was changed: look, and decide (docs/LABELS.md)")
    typer.echo(f"the page: {folder / PAGE}\nall faces: {folder / TABLE}")


def _settings(root: Path) -> tuple[dict[str, str], dict[str, Any]]:
    """What params.yaml chooses in each of GROUPS, by name and as settings."""
    from mien.base.settings import read_settings, refuse_unknown_choice

    choices, conf = read_yaml(root / PARAMS), root / "conf"
    settings = {}
    for group in GROUPS:
        refuse_unknown_choice(conf, group, choices.get(group), PARAMS)
        settings[group] = read_settings(conf, group, choices[group])
    return choices, settings


def _recipe(root: Path, settings: dict[str, Any], epochs: int | None) -> "Recipe":
    """What params.yaml chooses, with what tune handed on where it has run."""
    from mien.base.errors import UserError
    from mien.base.records import read_record
    from mien.training.recipe import Recipe

    recipe = Recipe(*(settings[group] for group in GROUPS[1:]))
    best = root / "build/tune/best.yaml"
    if best.is_file():
        anew = "`dvc repro tune` writes it anew"
        try:
            recipe = recipe.with_values(read_record(best, {"values": dict}, anew)["values"])
        except (KeyError, ValueError, TypeError) as error:
            raise UserError(f"{best}: values: {error.args[0]}; {anew}.") from error
    return recipe if epochs is None else recipe.with_values({"train.epochs": epochs})
