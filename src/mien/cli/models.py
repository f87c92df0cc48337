"""`mien models`: what networks there are, the faces that each takes, how many numbers it learns, what a face costs."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from mien.base.errors import UserError
from mien.cli.output import console, show
from mien.cli.workspace import PARAMS, find_root, read_yaml

if TYPE_CHECKING:
    from rich.table import Table

    from mien.models.spec import ModelConfig

OWN_SIZE = 48  # pixels, of the faces for which a network of any size is counted


def add_to(app: typer.Typer) -> None:
    """Make the command known."""
    app.command()(models)


def models() -> None:
    """List the models of conf/model, the faces that each takes, its trainable parameters, and what a face costs."""
    root = find_root()
    files = sorted((root / "conf" / "model").glob("*.yaml"))
    if not files:
        raise UserError(f"there is no conf/model/*.yaml in {root}; go to a checkout of mien.")
    chosen = read_yaml(root / PARAMS).get("model") if (root / PARAMS).is_file() else None
    show(_as_table(files, chosen))
    console().print(
        f"`model: NAME` in {PARAMS} chooses one; [bold]*[/bold] stands there now. Parameters count what is trained, "
        f"for seven classes; multiply-adds are those of one face, of {OWN_SIZE} px where it takes any, in grey."
    )


def _as_table(files: list[Path], chosen: object) -> "Table":
    from rich import box
    from rich.table import Table

    from mien.base.settings import read_settings

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("")
    table.add_column("model", style="bold", no_wrap=True)
    table.add_column("network")
    table.add_column("faces")
    table.add_column("parameters", justify="right")
    table.add_column("mult-adds", justify="right")
    for file in files:
        config: ModelConfig = read_settings(file.parents[1], "model", file.stem)
        mark = "*" if file.stem == chosen else ""
        table.add_row(mark, file.stem, _network(config), _faces(config), *_counts(config))
    return table


def _network(config: "ModelConfig") -> str:
    return f"timm: {config.backbone}" if config.backbone else config.name


def _faces(config: "ModelConfig") -> str:
    """What the crop must give, and what the network makes of it."""
    from mien.models.spec import FACES

    wanted = FACES[config.name]
    if wanted.size:
        return f"{wanted.size} px, {wanted.colour}"
    return f"any, at {config.input_size} px" if config.input_size else "any"


def _counts(config: "ModelConfig") -> tuple[str, str]:
    """Trainable parameters, and multiply-adds in millions."""
    from mien.models.networks import build_model, multiply_adds, trainable_parameters
    from mien.models.spec import FACES

    wanted = FACES[config.name]
    size, channels = wanted.size or OWN_SIZE, 3 if wanted.colour == "rgb" else 1
    try:
        model: Any = build_model(config, size=size, channels=channels, classes=7)
    except UserError as error:  # timm is not installed, or has no such backbone
        return str(error).split(":")[0].rstrip("."), ""
    return f"{trainable_parameters(model):,}", f"{multiply_adds(model, size, channels) / 1e6:.1f} M"
