"""`mien detector`: the face detectors, and which is chosen."""

from typing import Final

import typer

from mien.cli.output import console, show
from mien.cli.workspace import find_root

ABOUT: Final = {
    "haar": ("cascade: faces from the front", "OpenCV"),
    "yunet": ("network: faster, and finds more", "mien"),
}


def add_to(app: typer.Typer) -> None:
    """Make the command known."""
    app.command()(detector)


def detector() -> None:
    """List the face detectors, and which one conf/predict.yaml chooses."""
    from rich import box
    from rich.table import Table

    from mien.base.settings import settings_of_use

    chosen = settings_of_use(find_root(), "predict")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("", "detector", "what it is", "its file"):
        table.add_column(column)
    for name, (kind, origin) in ABOUT.items():
        is_chosen = name == chosen.detector
        file = chosen.detector_file if is_chosen and chosen.detector_file else f"comes with {origin}"
        table.add_row("*" if is_chosen else "", name, kind, file)
    show(table)
    console().print(
        "\n`detector: NAME` in conf/predict.yaml chooses a detector, `--detector NAME` for once; "
        "[bold]*[/bold] is chosen now."
    )
