"""Checkpoints that a killed training continues from."""

import io
import sys
import zipfile
from pathlib import Path
from typing import Any, Final

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint
from pytorch_lightning.plugins.io import TorchCheckpointIO
from torch import nn

BEST: Final = "best.ckpt"
LAST: Final = "last.ckpt"


def best_and_last(folder: Path) -> list[pl.Callback]:
    """`best.ckpt` where the validation loss is the lowest yet, then `last.ckpt`, after each epoch.

    Two callbacks, because one with `save_last` writes its last only when it writes its best. The best comes first: the
    last one says which was the best, so that it must be there by then.
    """
    best = ModelCheckpoint(
        dirpath=folder,
        filename=BEST.removesuffix(".ckpt"),
        monitor="val_loss",
        mode="min",
        enable_version_counter=False,
    )
    last = ModelCheckpoint(dirpath=folder, filename=LAST.removesuffix(".ckpt"), enable_version_counter=False)
    return [best, last]


class WholeFiles(TorchCheckpointIO):
    """Writes a checkpoint beside its name and renames it.

    Lightning writes into the system's temporary folder and moves: to another disk that is a copy, which a kill cuts.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        """Write all of it, then give it its name."""
        final = Path(path)
        final.parent.mkdir(parents=True, exist_ok=True)
        partial = final.with_name(f"{final.name}.partial")
        content = io.BytesIO()  # onto a full disk torch.save ends with an error that hides which one it was
        torch.save(checkpoint, content)
        partial.write_bytes(content.getbuffer())
        partial.replace(final)


class Patience(EarlyStopping):
    """Stops where the validation loss no longer falls, and knows it after a kill that came later than that."""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """A training that had stopped does not go on: it would have an epoch more than an undisturbed one."""
        if self.stopped_epoch:
            trainer.should_stop = True


def checkpoint_to_continue(folder: Path) -> Path | None:
    """The newest checkpoint that can be read; a damaged one is removed, with a sentence.

    Without the best epoch's checkpoint there is nothing to continue, because its weights are what is handed on.
    """
    there = [path for name in (LAST, BEST) if (path := folder / name).exists()]
    damaged = [path for path in there if not _readable(path)]
    left = [path for path in there if path not in damaged] if folder / BEST not in damaged else []
    then = f"training continues from {left[0]}" if left else "training starts over"
    for path in damaged:
        print(f"mien: {path} is damaged; {then}.", file=sys.stderr)
    for path in set(there) - set(left):
        path.unlink()
    return left[0] if left else None


def _readable(path: Path) -> bool:
    """Whether it is whole: torch reads over a flipped bit, which the checksums of the zip file that it is tell."""
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.testzip() is not None:
                return False
        read_checkpoint(path)
    except Exception:  # zipfile and torch.load raise whatever the damage provokes
        return False
    return True


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
