"""The command `mien`: one file of this package per group of commands.

Commands import what is heavy (torch, MLflow, pandas) only when they run, so that `mien --help` answers at once.
"""

import os
import sys
import warnings
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from mien import __version__
from mien.base.errors import UserError
from mien.cli import (
    card,
    check,
    compare,
    data,
    detector,
    evaluate,
    explain,
    export,
    labels,
    models,
    predict,
    preset,
    registry,
    status,
    tracking,
    video,
    web_page,
)
from mien.cli.output import say


class Commands(TyperGroup):
    """Ends what a user can mend in one sentence and exit code 1."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was asked for."""
        try:
            return super().invoke(ctx)
        except UserError as error:
            say(f"mien: {error}")
            raise typer.Exit(1) from error
        except OSError as error:  # a disk's refusal: full, read-only, forbidden
            say(f"mien: {error.filename or 'a file'} cannot be used: {error.strerror or error}.")
            raise typer.Exit(1) from error


app = typer.Typer(
    name="mien",
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
for group in (
    predict,
    web_page,
    explain,
    export,
    card,
    video,
    status,
    compare,
    evaluate,
    labels,
    registry,
    tracking,
    check,
    preset,
    data,
    models,
    detector,
):
    group.add_to(app)


def _say_version(asked: bool) -> None:
    if asked:
        typer.echo(f"mien {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", help="Say mien's version and leave.", callback=_say_version, is_eager=True)
    ] = False,
) -> None:
    """Facial expressions: use the champion, see why it is champion, and steer what is trained next.

    The stages themselves run with [bold]make repro[/bold] or [bold]dvc repro[/bold].
    """


def main() -> None:
    """The entry point of the installed command."""
    if not sys.warnoptions:
        warnings.simplefilter("ignore")  # libraries' advice to programmers is none to who runs a command
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    app()


if __name__ == "__main__":
    main()
