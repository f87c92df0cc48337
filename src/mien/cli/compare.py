"""`mien compare`: two runs side by side, with a test of their difference."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from mien.cli.output import console
from mien.cli.workspace import find_root

if TYPE_CHECKING:
    from mien.reporting.comparison import Comparison

PAGE: Final = "reports/compare.html"
TITLES: Final = {
    "accuracy": "accuracy",
    "macro_f1": "macro F1",
    "unweighted_average_recall": "mean recall",
    "ece": "ECE (low is good)",
    "nll": "NLL (low is good)",
    "brier": "Brier (low is good)",
}
RUN: Final = "A run's id or its beginning, its name, models:/NAME/VERSION, NAME@ALIAS, or a checkout's folder."


def add_to(app: typer.Typer) -> None:
    """Make the command known."""
    app.command()(compare)


def compare(
    a: Annotated[str, typer.Argument(metavar="RUN", help=RUN)],
    b: Annotated[str, typer.Argument(metavar="RUN", help="The other one, in any of these forms.")],
    out: Annotated[Path | None, typer.Option(metavar="FILE", help=f"Where the page goes; by default {PAGE}.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else, on stdout.")] = False,
) -> None:
    """Compare two runs: scores, a paired test, the configuration, and the faces on which they disagree.

    Writes one self-contained HTML page. With --json a page is written only where --out says.
    """
    from mien.reporting import comparison as room
    from mien.reporting.runs import find_subject
    from mien.tracking.store import use_store

    root = find_root()
    use_store(root)
    compared = room.compare(find_subject(a), find_subject(b))
    page = out if out or as_json else root / PAGE
    if page:
        _write(compared, root, page)
    if as_json:
        typer.echo(json.dumps(room.as_json(compared), indent=2, ensure_ascii=False, allow_nan=False))
    elif page:
        _show(compared, page)


def _write(compared: "Comparison", root: Path, page: Path) -> None:
    from mien.reporting.comparison import face_pictures
    from mien.reporting.comparison_page import render_page, shown_faces

    pictures = face_pictures(root, (compared.a, compared.b), shown_faces(compared))
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(render_page(compared, pictures), encoding="utf-8")


def _show(compared: "Comparison", page: Path) -> None:
    """A short table: the measures of both, their difference, and how much else differs."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    from mien.reporting.comparison import MEASURES
    from mien.reporting.comparison_page import signed, signed_between
    from mien.reporting.evaluation_page import number

    out = console()
    for letter, one in (("A", compared.a), ("B", compared.b)):
        out.print(f"[bold]{letter}[/]  {escape(one.name)}  [dim]{escape(one.source)}[/]")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("", "A", "B", "B - A", "95 % interval", "better"):
        table.add_column(column, justify="right" if column else "left", no_wrap=True)
    for name in MEASURES:
        paired = compared.paired.differences[name] if compared.paired else None
        test = (signed(paired.value), signed_between(paired), compared.verdict(name) or "not shown") if paired else ()
        values = (number(one.measure(name).value) for one in (compared.a, compared.b))
        table.add_row(TITLES[name], *values, *test)
    out.print(table)
    out.print(escape(compared.sentence))
    if compared.paired:
        out.print(f"They disagree on {len(compared.paired.disagreements):,} of {compared.paired.faces:,} faces.")
    keys = ", ".join(key for key, _, _ in compared.config)
    out.print(f"[dim]configured otherwise:[/] {escape(keys or 'nothing')}")
    out.print(f"[dim]the whole comparison:[/] {escape(str(page))}")
