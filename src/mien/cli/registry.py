"""`mien promote`, `mien rollback` and `mien history`: who is champion, by hand."""

import getpass
import os
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mien.base.errors import UserError
from mien.cli.output import show
from mien.cli.workspace import find_root, registered_model

if TYPE_CHECKING:
    from rich.table import Table

Data = Annotated[str | None, typer.Option(metavar="NAME", help="The data set; by default params.yaml's.")]
Reason = Annotated[str, typer.Option(metavar="TEXT", help="Why; it stands in the history.")]


def add_to(app: typer.Typer) -> None:
    """Make the commands known."""
    for command in (promote, rollback, history):
        app.command()(command)


def promote(
    version: Annotated[int | None, typer.Argument(help="The version; by default the challenger.", min=1)] = None,
    data: Data = None,
    reason: Reason = "Promoted by hand.",
) -> None:
    """Make a registered version champion, whatever the gate said."""
    from mien.registry import promotion

    typer.echo(promotion.promote(_model(data), version, by=user(), reason=reason))


def rollback(data: Data = None, reason: Reason = "Rolled back by hand.") -> None:
    """Bring back the champion before this one."""
    from mien.registry import promotion

    typer.echo(promotion.rollback(_model(data), by=user(), reason=reason))


def history(data: Data = None) -> None:
    """Show who was champion when, and why."""
    from mien.registry import promotion

    name = _model(data)
    events = promotion.history(name)
    if events:
        show(_as_table(name, events))
    else:
        typer.echo(f"{name} has no history yet: nothing has been promoted or refused.")


def user() -> str:
    """Who acts: $MIEN_USER, else the login name."""
    return os.environ.get("MIEN_USER") or getpass.getuser()


def _model(data: str | None) -> str:
    """The registered model, in the tracking store of this checkout.

    Raises:
        UserError: nothing has ever been registered here; looking must not create a store.
    """
    from mien.tracking.store import database_file, use_store

    root = find_root()
    name = registered_model(root, data)
    if (file := database_file(use_store(root))) and not file.exists():
        raise UserError(f"there is no {name} yet: nothing has been registered in {file}; run `make repro`.")
    return name


def _as_table(name: str, events: list[dict[str, Any]]) -> "Table":
    """The events, newest first."""
    from rich import box
    from rich.table import Table

    table = Table(title=name, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("when (UTC)", no_wrap=True, style="dim")
    table.add_column("what", style="bold")
    table.add_column("version", justify="right")
    table.add_column("by")
    table.add_column("why")
    for event in reversed(events):
        before = event["from_version"]
        version = "none" if event["version"] is None else str(event["version"])
        change = version if before in (None, event["version"]) else f"{before} → {version}"
        table.add_row(
            str(event["at"])[:16].replace("T", " "), event["action"], change, event["by"], " ".join(event["reasons"])
        )
    return table
