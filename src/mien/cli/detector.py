"""`mien detector`: the face detectors, where their files are, and how those come here."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from mien.base.errors import UserError
from mien.cli.output import console, show
from mien.cli.workspace import find_root

if TYPE_CHECKING:
    from rich.table import Table

ABOUT: Final = {
    "haar": "cascade: faces from the front",
    "lbp": "cascade: fewer faces from the front",
    "yunet": "network: the fastest, and finds the most",
}


def add_to(app: typer.Typer) -> None:
    """Make the command known."""
    app.command()(detector)


def detector(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="lbp or yunet: fetch its file.")] = None,
    source: Annotated[
        Path | None, typer.Option("--from", metavar="FILE", help="Take it from a file, not over the network.")
    ] = None,
) -> None:
    """List the face detectors, or fetch the file of one.

    The file comes from its publisher over https, and is kept only if it is the one that was published (SHA-256).
    """
    if name is None:
        if source is not None:
            raise UserError(f"--from {source}: say which detector it is for: `mien detector yunet --from {source}`.")
        _list()
    else:
        _get(name, source)


def _get(name: str, source: Path | None) -> None:
    from mien.sources.detect import FILES, fetch, is_published, kept_at, take_from

    if name == "haar":
        raise UserError("the detector haar needs no file: it comes with OpenCV.")
    if name not in FILES:
        raise UserError(f"there is no detector {name!r}; the detectors are haar, {', '.join(FILES)}.")
    if source is None and kept_at(name).is_file() and is_published(kept_at(name), name):
        typer.echo(f"{kept_at(name)} is there already, as it was published.")
        return
    place = fetch(name) if source is None else take_from(name, source)
    typer.echo(f"{place} is there now ({FILES[name].size:,} bytes, {FILES[name].licence} licence).")
    typer.echo(f"`detector: {name}` in conf/predict.yaml, or --detector {name}, uses it.")


def _list() -> None:
    from mien.base.settings import settings_of_use
    from mien.sources.detect import FILES, kept_at

    chosen = settings_of_use(find_root(), "predict")
    places = {name: kept_at(name) for name in FILES}
    if chosen.detector_file and chosen.detector in places:
        places[chosen.detector] = Path(chosen.detector_file).expanduser()
    show(_table(chosen.detector, places))
    out = console()
    for name, place in places.items():
        out.print(f"{name}: {place}", soft_wrap=True)
    out.print(
        "\n`mien detector NAME` fetches a file. `detector: NAME` in conf/predict.yaml chooses a detector, "
        "`--detector NAME` for once; [bold]*[/bold] stands there now."
    )


def _table(chosen: str, places: dict[str, Path]) -> "Table":
    from rich import box
    from rich.table import Table

    from mien.inference.detectors import DETECTORS

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("", "detector", "what it is", "its file"):
        table.add_column(column)
    for name in DETECTORS:
        where = "comes with OpenCV" if name not in places else "there" if places[name].is_file() else "not there"
        table.add_row("*" if name == chosen else "", name, ABOUT[name], where)
    return table
