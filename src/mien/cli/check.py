"""`mien check`: whether params.yaml and what it chooses can be run."""

import typer

from mien.cli.workspace import PARAMS, find_root
from mien.errors import UserError


def add_to(app: typer.Typer) -> None:
    """Make the command known."""
    app.command()(check)


def check() -> None:
    """Check params.yaml, the files of conf/ that it chooses, and that they fit together; nothing is run."""
    from mien.configuration.check import mistakes

    root = find_root()
    if found := mistakes(root / PARAMS, root / "conf"):
        raise UserError("\nmien: ".join(found))
    typer.echo(f"{PARAMS} and the files that it chooses are right.")
