"""`mien sample`: the embedded data set."""

from pathlib import Path
from typing import Annotated

import typer

from mien.cli.workspace import find_root


def add_to(app: typer.Typer) -> None:
    """Make the command known."""
    app.command()(sample)


def sample(
    folder: Annotated[Path | None, typer.Argument(help="Where to; by default data/sample.")] = None,
) -> None:
    """Draw the embedded sample data set where it is missing."""
    from mien.sources.sample import draw_sample

    to = folder or find_root() / "data" / "sample"
    if to.is_dir() and not any(to.iterdir()):
        to.rmdir()  # whoever made the folder first meant it to be filled
    if to.exists():
        typer.echo(f"{to} is there already; nothing was drawn.")
        return
    draw_sample(to)
    typer.echo(f"Drew the sample into {to}.")
