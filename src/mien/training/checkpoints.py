"""Checkpoints that a killed training continues from."""

import sys
from pathlib import Path
from typing import Any, Final

import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import nn

BEST: Final = "best.ckpt"
LAST: Final = "last.ckpt"


class BestAndLast(ModelCheckpoint):
    """`best.ckpt` (lowest validation loss) and `last.ckpt`, each written beside its name and renamed."""

    def __init__(self, folder: Path) -> None:
        super().__init__(
            dirpath=folder,
            filename=BEST.removesuffix(".ckpt"),
            monitor="val_loss",
            mode="min",
            save_last=True,
            save_top_k=1,
            enable_version_counter=False,
        )


def checkpoint_to_continue(folder: Path) -> Path | None:
    """The last checkpoint if it can be read; a damaged one is removed, with a sentence, and training starts over."""
    last = folder / LAST
    if not last.exists():
        return None
    try:
        read_checkpoint(last)
    except Exception as error:  # torch.load raises whatever the damage provokes
        print(f"mien: {last} cannot be read ({type(error).__name__}); training starts over.", file=sys.stderr)
        last.unlink()
        (folder / BEST).unlink(missing_ok=True)
        return None
    return last


def read_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint's content, on the CPU, without running code from it."""
    checkpoint: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return checkpoint


def load_best(model: nn.Module, folder: Path) -> int:
    """Put the best epoch's weights (the averaged ones where there is an average) into `model`; returns the epoch."""
    checkpoint = read_checkpoint(folder / BEST)
    prefix = "model."
    weights = {k.removeprefix(prefix): v for k, v in checkpoint["state_dict"].items() if k.startswith(prefix)}
    model.load_state_dict(weights)
    return int(checkpoint["epoch"])
