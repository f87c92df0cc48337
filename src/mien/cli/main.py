"""The command-line program `mien` and its commands.

The modules of this package import heavy libraries (PyTorch, MLflow, pandas, OpenCV) inside the commands, so that
`mien --help` answers at once.
"""

import gc
import inspect
import os
import shutil
import sys
import warnings
from collections.abc import Callable
from typing import Annotated, Any, Final

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup

from mien import __version__
from mien.base.errors import UserError
from mien.cli import add_data, check, choices, measure, predict, registry, show, status
from mien.cli.workspace import UNUSABLE, fail

COMMANDS: Final[dict[str, tuple[Callable[..., None], ...]]] = {  # as `mien --help` lists them
    "Use a model": (predict.predict, show.video, show.app, show.explain, registry.export),
    "Choose data and settings": (choices.preset, choices.models, choices.detector, check.check),
    "Train and look at results": (
        *(add_data.train, measure.join, status.status, measure.folds, measure.compare, measure.evaluate),
        measure.labels,
    ),
    "Promote models": (
        *(registry.card, registry.promote, registry.rollback, registry.history, registry.sync, registry.ui),
    ),
}
# What an installation of `mien` alone lacks, and the extra in pyproject.toml that brings it; `train` brings the rest.
EXTRAS: Final = dict.fromkeys(("anyio", "fastapi", "starlette", "uvicorn"), "app")
EXTRAS.update(av="video", captum="explain", cleanlab="noise", timm="timm")
NARROW: Final = 72  # columns; in fewer, a panel cuts the names of options
NEEDS_MORE: Final = {"explain": "explain", "labels": "noise"}  # commands whose extra includes `train`


class Group(TyperGroup):
    """Commands whose help wraps at any width."""

    def get_params(self, ctx: Any) -> Any:
        """The parameters, when help is shown or a command line is read."""
        self.rich_markup_mode = "rich" if shutil.get_terminal_size().columns >= NARROW else None
        for command in self.commands.values():  # else a plain list of commands cuts what they do
            command.short_help = " ".join((command.help or "").partition("\n\n")[0].split())
        return super().get_params(ctx)


class Commands(Group):
    """Report a user's error in one sentence, with exit code 1, and a library that is not installed with 2."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was asked for."""
        try:
            return super().invoke(ctx)
        except UserError as error:
            fail(str(error), 1)
        except OSError as error:  # a disk that is full, read-only or forbidden
            fail(f"{error.filename or 'a file'} cannot be used: {error.strerror or error}.", 1)
        except ModuleNotFoundError as error:
            library = (error.name or "").partition(".")[0]
            if library == "mien":
                raise
            extra = NEEDS_MORE.get(ctx.invoked_subcommand) or EXTRAS.get(library, "train")
            how = f"`pip install 'mien[{extra}]'` installs it"
            fail(f"`mien {ctx.invoked_subcommand}` needs {library}, which is not installed: {how}.", UNUSABLE)


class Command(TyperCommand):
    """A command whose help wraps at any width, and says no types that the names of values say already."""

    def get_params(self, ctx: Any) -> Any:
        """The parameters, and the text of the help, when it is shown."""
        self.help = "\n\n".join(" ".join(part.split()) for part in inspect.cleandoc(self.help or "").split("\n\n"))
        if shutil.get_terminal_size().columns < NARROW:
            self.rich_markup_mode = None
        parameters: list[Any] = super().get_params(ctx)
        for parameter in parameters:
            if isinstance(parameter, TyperArgument) or parameter.type_descriptor.annotation is bool:
                parameter.display_type_rich = lambda ctx: None
        return parameters


app = typer.Typer(
    name="mien",
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
for group, commands in COMMANDS.items():
    for command in commands:
        app.command(cls=Command, rich_help_panel=group)(command)
data_sets = typer.Typer(cls=Group, invoke_without_command=True)
data_sets.callback()(choices.data)
data_sets.command(cls=Command)(add_data.add)
app.add_typer(data_sets, name="data", rich_help_panel="Choose data and settings")


@app.callback(invoke_without_command=True)
def options(version: Annotated[bool, typer.Option("--version", help="Print mien's version and exit.")] = False) -> None:
    """Facial-expression recognition: use the champion, inspect its evidence, configure the next training.

    Run the DAG with `make repro` or `dvc repro`.
    """
    if version:
        typer.echo(f"mien {__version__}")
        raise typer.Exit


def main() -> None:
    """The entry point of the installed command."""
    if not sys.warnoptions:
        warnings.simplefilter("ignore")  # warnings of libraries are meant for programmers
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    gc.set_threshold(50_000)  # imports make objects by the hundred thousand, and none of them is garbage
    app()


if __name__ == "__main__":
    main()
