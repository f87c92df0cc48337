"""`mien data`: what kinds of data set can be read, and which are set up here."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from mien.base.errors import UserError
from mien.cli.output import console, show
from mien.cli.workspace import PARAMS, find_root, read_yaml

if TYPE_CHECKING:
    from rich.table import Table


def add_to(app: typer.Typer) -> None:
    """Make the command known."""
    app.command()(data)


def data() -> None:
    """List the data sets of conf/data, whether each is there, and the sources that can read one."""
    root = find_root()
    files = sorted((root / "conf" / "data").glob("*.yaml"), key=lambda file: file.stem)
    if not files:
        raise UserError(f"there is no conf/data/*.yaml in {root}; go to a checkout of mien.")
    chosen = read_yaml(root / PARAMS).get("data") if (root / PARAMS).is_file() else None
    show(_data_sets({file.stem: read_yaml(file) for file in files}, root, chosen))
    show(_sources())
    console().print(
        f"`data: NAME` in {PARAMS} chooses a data set; [bold]*[/bold] stands there now. "
        "Another one is a folder in data/ and a file in conf/data that names its source."
    )


def _data_sets(data_sets: dict[str, dict[str, Any]], root: Path, chosen: object) -> "Table":
    table = _table("", "data set", "source", "what it is", "in data/")
    for name, about in data_sets.items():
        folder = str(about.get("path", ""))
        present = bool(folder) and (root / folder).is_dir() and any((root / folder).iterdir())
        title, source = str(about.get("title", "")), str(about.get("source", ""))
        table.add_row("*" if name == chosen else "", name, source, title, "yes" if present else "no")
    return table


def _sources() -> "Table":
    from dataclasses import fields

    from mien.sources.source import source_class, source_names

    table = _table("source", "what it expects in the folder", "options")
    for name in source_names():
        kind = source_class(name)
        table.add_row(name, kind.expects, "\n".join(field.name for field in fields(kind)))
    return table


def _table(*columns: str) -> "Table":
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column, style="bold" if column in ("data set", "source") else None)
    return table
