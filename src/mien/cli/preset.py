"""`mien preset`: a whole set of choices, applied at once."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mien.base.errors import UserError
from mien.cli.output import console, show
from mien.cli.workspace import PARAMS, find_root, read_yaml

if TYPE_CHECKING:
    from rich.table import Table


def add_to(app: typer.Typer) -> None:
    """Make the command known."""
    app.command()(preset)


def preset(name: Annotated[str | None, typer.Argument(help="A preset; without one they are listed.")] = None) -> None:
    """List the presets, or write one's choices into params.yaml."""
    root = find_root()
    presets = {file.stem: file for file in sorted((root / "conf" / "preset").glob("*.yaml"))}
    if not presets:
        raise UserError(f"there is no conf/preset/*.yaml in {root}; go to a checkout of mien.")
    if name is None:
        show(_as_table(presets, _choices_now(root)))
        console().print(f"`mien preset NAME` writes one's choices into {PARAMS}; [bold]*[/bold] stands there now.")
    elif name not in presets:
        raise UserError(f"there is no preset {name!r}; the presets are {', '.join(presets)}.")
    else:
        _apply(root, name, presets[name])


def _apply(root: Path, name: str, file: Path) -> None:
    """Write the choices, and say what changed."""
    _check(root, file)
    chosen, now = read_yaml(file), _choices_now(root)
    changed = {group: choice for group, choice in chosen.items() if now.get(group) != choice}
    if not changed:
        typer.echo(f"{PARAMS} holds the choices of {name} already; `dvc repro` runs them.")
        return
    _write(root / PARAMS, changed)
    typer.echo(f"{PARAMS} now holds the choices of {name}:")
    for group, choice in changed.items():
        typer.echo(f"  {group:<10}{now.get(group, '(none)')} → {choice}")
    typer.echo("`dvc repro` is next.")


def _check(root: Path, file: Path) -> None:
    from mien.cli.check import mistakes

    if found := mistakes(file, root / "conf"):
        raise UserError("\nmien: ".join(found))


def _choices_now(root: Path) -> dict[str, Any]:
    file = root / PARAMS
    return read_yaml(file) if file.is_file() else {}


def _write(file: Path, changed: dict[str, Any]) -> None:
    """Put choices into params.yaml, by rename; its comments, its order and its other keys stay."""
    from ruamel.yaml import YAML

    yaml = YAML()
    content = yaml.load(file.read_text(encoding="utf-8")) if file.is_file() else {}
    content.update(changed)
    partial = file.with_name(file.name + ".partial")
    with partial.open("w", encoding="utf-8") as out:
        yaml.dump(content, out)
    partial.replace(file)


def _as_table(presets: dict[str, Path], now: dict[str, Any]) -> "Table":
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("")
    table.add_column("preset", style="bold", no_wrap=True)
    table.add_column("what it is")
    for name, file in presets.items():
        here = read_yaml(file).items() <= now.items()
        table.add_row("*" if here else "", name, _description(file))
    return table


def _description(file: Path) -> str:
    """The first comment line of a preset's file."""
    lines = file.read_text(encoding="utf-8").splitlines()
    return next((line.lstrip("# ").strip() for line in lines if line.startswith("#")), "")
