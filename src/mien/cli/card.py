"""`mien card`: what a stranger must know before using a model."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from mien.base.errors import UserError
from mien.cli.output import console
from mien.cli.workspace import find_root, registered_model


def add_to(app: typer.Typer) -> None:
    """Make the command known."""
    app.command()(card)


def card(
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="[MODEL]",
            help="models:/NAME@ALIAS, models:/NAME/3, or a folder; by default the champion of params.yaml's data set.",
        ),
    ] = None,
) -> None:
    """Print a model's card: its data, its numbers, where it fails, and what it must not be used for.

    Formatted on a terminal, Markdown elsewhere: `mien card > card.md`.
    """
    said, text = _find(model)
    if not text:
        raise UserError(f"{said} brings no model card; what `dvc repro` registers from now on has one.")
    if sys.stdout.isatty():
        from rich.markdown import Markdown

        console().print(Markdown(text))
    else:
        typer.echo(text, nl=False)


def _find(model: str | None) -> tuple[str, str]:
    """The model's address, and its card, "" where it has none; nothing is loaded but that."""
    from mien.inference.address import registered_files
    from mien.inference.classifier import load_model_of, model_files, read_card
    from mien.tracking.store import use_store

    root = find_root()
    use_store(root)
    said = model or f"models:/{registered_model(root, None)}@champion"
    if ":/" in said:
        with registered_files(said) as (folder, _):
            return said, read_card(model_files(folder))
    folder = Path(said)
    if folder.is_dir():
        return said, read_card(model_files(folder))
    return said, load_model_of(said).card
