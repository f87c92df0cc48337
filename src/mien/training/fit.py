"""Training of one network on labelled faces: loop, checkpoints and history."""

import io
import logging
import math
import sys
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EarlyStopping, EMAWeightAveraging, ModelCheckpoint
from pytorch_lightning.plugins.io import TorchCheckpointIO
from torch import nn

from mien.base.errors import UserError
from mien.base.files import replacing
from mien.base.listener import Listener
from mien.models.description import ModelSpec
from mien.models.weights import load_pretrained
from mien.training.augmentation import Augmentation
from mien.training.dataset import LabelledFaces, training_loader, validation_loader
from mien.training.hardware import Hardware, choose_hardware, keep_freed_memory, to_channels_last
from mien.training.optimizers import freezing
from mien.training.recipe import Recipe
from mien.training.task import ExpressionTask, class_weights

BEST: Final = "best.ckpt"
LAST: Final = "last.ckpt"


class Diverged(UserError):
    """A loss became infinite or NaN; the checkpoints are those of the epochs before."""


@dataclass(frozen=True)
class Fitted:
    """A trained network (the best epoch's weights, on the CPU) and its history."""

    model: nn.Module
    history: list[dict[str, float]]  # a row per epoch
    best_epoch: int  # of the lowest validation loss, counted from 0
    hardware: Hardware


def fit(
    spec: ModelSpec,
    recipe: Recipe,
    train: LabelledFaces,
    val: LabelledFaces,
    folder: Path,
    *,
    listener: Listener | None = None,
    callbacks: Sequence[pl.Callback] = (),
    verbose: bool = True,
) -> Fitted:
    """Train until the epochs are over or the validation loss stops falling.

    Args:
        spec: the network and its input; `spec.architecture` is `recipe.model`.
        recipe: all settings.
        train: faces to learn from.
        val: faces that choose the epoch.
        folder: where checkpoints are; a training that was killed there is continued, on the CPU bit for bit.
        listener: its `epoch` is called with each row of the history.
        callbacks: further Lightning callbacks, such as a search's pruning.
        verbose: print a line per epoch.

    Returns:
        the network with the weights of its best epoch, and the history.

    Raises:
        Diverged: a loss became infinite or NaN.
        UserError: a batch needs more faces than there are, or the machine has no GPU and one is asked for.
    """
    _silence_lightning()
    keep_freed_memory()
    settings = recipe.train
    if settings.threads:
        torch.set_num_threads(settings.threads)
    hardware = choose_hardware(settings)
    torch.manual_seed(settings.seed)
    task = _task(spec, recipe, train, hardware)
    history = History(listener or Listener(), verbose=verbose)
    trainer = _trainer(recipe, hardware, folder, [history, *freezing(task.model, settings.freeze_epochs), *callbacks])
    loader = training_loader(
        train,
        Augmentation(recipe.augment),
        batch_size=settings.batch_size,
        seed=settings.seed,
        workers=settings.workers,
    )
    trainer.fit(task, loader, validation_loader(val), ckpt_path=checkpoint_to_continue(folder))
    best_epoch = _load_best(task.model, folder)
    return Fitted(task.model.cpu().eval(), history.rows, best_epoch, hardware)


def _task(spec: ModelSpec, recipe: Recipe, train: LabelledFaces, hardware: Hardware) -> ExpressionTask:
    model = spec.build()
    load_pretrained(model, recipe.model)
    model.normalise.measure(train.pixels[np.sort(train.rows)])
    if hardware.memory_format == "channels_last":
        to_channels_last(model)
    return ExpressionTask(
        model,
        recipe.optim,
        classes=len(spec.classes),
        seed=recipe.train.seed,
        label_smoothing=recipe.train.label_smoothing,
        class_weights=class_weights(train.labels, len(spec.classes)) if recipe.train.class_weights else None,
        channels_last=hardware.memory_format == "channels_last",
    )


def _trainer(recipe: Recipe, hardware: Hardware, folder: Path, callbacks: Sequence[pl.Callback]) -> pl.Trainer:
    settings = recipe.train
    every: list[pl.Callback] = [*callbacks, *best_and_last(folder)]
    if settings.patience:
        every.append(Patience("val_loss", patience=settings.patience))
    if settings.ema:
        every.append(EMAWeightAveraging(decay=settings.ema))
    return pl.Trainer(
        accelerator=hardware.accelerator,
        devices=1,
        precision=hardware.lightning_precision,
        max_epochs=settings.epochs,
        callbacks=every,
        plugins=[AtomicCheckpoints()],
        logger=False,
        default_root_dir=folder,
        deterministic="warn",
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )


def _silence_lightning() -> None:
    """Lightning's hints are for authors of a Trainer, not for its users."""
    for name in ("pytorch_lightning.utilities.rank_zero", "pytorch_lightning", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"(pytorch_lightning|lightning_fabric)\.")
    warnings.filterwarnings("ignore", message=".*lr_scheduler.step.*")


class History(pl.Callback):
    """Collects each epoch's metrics, prints a line, and calls the listener.

    It travels in the checkpoints: after a resume the rows of the epochs before are still there.
    """

    def __init__(self, listener: Listener, *, verbose: bool = True) -> None:
        self.rows: list[dict[str, float]] = []
        self._listener = listener
        self._verbose = verbose

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Add the epoch; its training and its validation are both done by now.

        Raises:
            Diverged: a loss of this epoch is not finite. Checkpoints are written after the callbacks, so none has it.
        """
        epoch = trainer.current_epoch
        row = {"epoch": epoch} | {name: float(value) for name, value in sorted(trainer.callback_metrics.items())}
        row["lr"] = float(trainer.optimizers[0].param_groups[0]["lr"])
        self.rows = [*(earlier for earlier in self.rows if earlier["epoch"] < epoch), row]
        if self._verbose:
            print(_line(row, trainer.max_epochs or 0), file=sys.stderr, flush=True)
        self._listener.epoch(row)
        for name in ("train_loss", "val_loss"):
            if not math.isfinite(row[name]):
                raise Diverged(
                    f"the training diverged: {name} is {row[name]} in epoch {epoch + 1}, at a learning rate of "
                    f"{row['lr']:.2g}; lower optim.lr, raise optim.warmup_epochs, or say train.precision: 32."
                )

    def state_dict(self) -> dict[str, Any]:
        """For the checkpoint."""
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """From the checkpoint."""
        self.rows = list(state_dict["rows"])


def _line(row: Mapping[str, float], epochs: int) -> str:
    return (
        f"epoch {row['epoch'] + 1:3d}/{epochs}  train loss {row['train_loss']:.3f}  "
        f"val loss {row['val_loss']:.3f}  val accuracy {row['val_accuracy']:.3f}  "
        f"val macro F1 {row['val_macro_f1']:.3f}"
    )


class Patience(EarlyStopping):
    """Early stopping on the validation loss that still holds after a kill that came later than the stop."""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Do not continue a training that had stopped: it would have one epoch more than an undisturbed one."""
        if self.stopped_epoch:
            trainer.should_stop = True


def best_and_last(folder: Path) -> list[pl.Callback]:
    """`best.ckpt` where the validation loss is the lowest yet, then `last.ckpt`, after each epoch.

    Two callbacks, because one with `save_last` writes its last only when it writes its best. The best comes first: the
    last one names the best, which must exist by then.
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


class AtomicCheckpoints(TorchCheckpointIO):
    """Writes a checkpoint beside its name and renames it.

    Lightning writes into the system's temporary folder and moves: to another disk that is a copy, which a kill cuts.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        """Write all of it, then give it its name."""
        content = io.BytesIO()  # on a full disk torch.save ends with an error that hides the disk's
        torch.save(checkpoint, content)
        with replacing(Path(path)) as partial:
            partial.write_bytes(content.getbuffer())


def checkpoint_to_continue(folder: Path) -> Path | None:
    """The newest checkpoint that can be read; a damaged one is removed, with a sentence.

    Without the best epoch's checkpoint there is nothing to continue: its weights are the result.
    """
    existing = [path for name in (LAST, BEST) if (path := folder / name).exists()]
    damaged = [path for path in existing if not _readable(path)]
    usable = [path for path in existing if path not in damaged] if folder / BEST not in damaged else []
    then = f"training continues from {usable[0]}" if usable else "training starts over"
    for path in damaged:
        print(f"mien: {path} is damaged; {then}.", file=sys.stderr)
    for path in set(existing) - set(usable):
        path.unlink()
    return usable[0] if usable else None


def _readable(path: Path) -> bool:
    """Whether a checkpoint is whole: torch overlooks a flipped bit, the checksums of its zip file do not."""
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


def _load_best(model: nn.Module, folder: Path) -> int:
    """Put the best epoch's weights (the averaged ones where there is an average) into `model`; returns the epoch."""
    checkpoint = read_checkpoint(folder / BEST)
    prefix = "model."
    weights = {k.removeprefix(prefix): v for k, v in checkpoint["state_dict"].items() if k.startswith(prefix)}
    model.load_state_dict(weights)
    return int(checkpoint["epoch"])
