"""Train one network on labelled faces."""

import io
import logging
import math
import sys
import warnings
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EarlyStopping, EMAWeightAveraging, ModelCheckpoint
from pytorch_lightning.plugins.io import TorchCheckpointIO
from torch import Tensor, nn

from mien.base.errors import UserError
from mien.models.spec import ModelSpec
from mien.models.weights import load_pretrained
from mien.training.augmentation import Augmentation
from mien.training.dataset import LabelledFaces, training_loader, validation_loader
from mien.training.hardware import Hardware, choose_hardware, keep_freed_memory, to_channels_last
from mien.training.optimizers import freezing
from mien.training.recipe import Recipe
from mien.training.task import ExpressionTask

EpochListener = Callable[[int, Mapping[str, float]], None]


class Diverged(UserError):
    """A loss became infinite or no number at all; the checkpoints are those of the epochs before."""


class History(pl.Callback):
    """Collects each epoch's metrics, prints a line, and tells whoever listens.

    It travels in the checkpoints: after a resume the rows of the epochs before are still there.
    """

    def __init__(self, listener: EpochListener | None = None, *, verbose: bool = True) -> None:
        self.rows: list[dict[str, float]] = []
        self._listener = listener
        self._verbose = verbose

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Add the epoch; training and validation of it are both done here.

        Raises:
            Diverged: a loss of this epoch is not finite. Checkpoints are written after the callbacks, so none has it.
        """
        metrics = {name: float(value) for name, value in sorted(trainer.callback_metrics.items())}
        metrics["lr"] = float(trainer.optimizers[0].param_groups[0]["lr"])
        epoch = trainer.current_epoch
        self.rows = [*(row for row in self.rows if row["epoch"] < epoch), {"epoch": epoch, **metrics}]
        if self._verbose:
            print(_line(epoch, trainer.max_epochs or 0, metrics), file=sys.stderr, flush=True)
        if self._listener is not None:
            self._listener(epoch, metrics)
        for name in ("train_loss", "val_loss"):
            if not math.isfinite(metrics[name]):
                raise Diverged(
                    f"the training diverged: {name} is {metrics[name]} in epoch {epoch + 1}, at a learning rate of "
                    f"{metrics['lr']:.2g}; lower optim.lr, raise optim.warmup_epochs, or say train.precision: 32."
                )

    def state_dict(self) -> dict[str, Any]:
        """For the checkpoint."""
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """From the checkpoint."""
        self.rows = list(state_dict["rows"])


def _line(epoch: int, epochs: int, metrics: Mapping[str, float]) -> str:
    return (
        f"epoch {epoch + 1:3d}/{epochs}  train loss {metrics['train_loss']:.3f}  "
        f"val loss {metrics['val_loss']:.3f}  val accuracy {metrics['val_accuracy']:.3f}  "
        f"val macro F1 {metrics['val_macro_f1']:.3f}"
    )


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


@dataclass(frozen=True)
class Fitted:
    """A trained network (the best epoch's weights, on the CPU) and how it came about."""

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
    listener: EpochListener | None = None,
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
        listener: called with the epoch and its metrics after each epoch.
        callbacks: further Lightning callbacks, such as a search's pruning.
        verbose: print a line per epoch.

    Returns:
        the network with the weights of its best epoch, and the history.
    """
    _quiet()
    keep_freed_memory()
    if recipe.train.threads:
        torch.set_num_threads(recipe.train.threads)
    hardware = choose_hardware(recipe.train)
    torch.manual_seed(recipe.train.seed)
    task = _task(spec, recipe, train, hardware)
    history = History(listener, verbose=verbose)
    every = [history, *freezing(task.model, recipe.train.freeze_epochs), *callbacks]
    trainer = _trainer(recipe, hardware, folder, every)
    augmentation = Augmentation(recipe.augment)
    settings = recipe.train
    loader = training_loader(
        train, augmentation, batch_size=settings.batch_size, seed=settings.seed, workers=settings.workers
    )
    trainer.fit(task, loader, validation_loader(val), ckpt_path=checkpoint_to_continue(folder))
    best_epoch = load_best(task.model, folder)
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
        class_weights=_class_weights(train.labels, len(spec.classes)) if recipe.train.class_weights else None,
        channels_last=hardware.memory_format == "channels_last",
    )


def _class_weights(labels: np.ndarray, classes: int) -> Tensor:
    """Weights `(classes,)` proportional to the inverse of a class's share, 1 on average over the faces."""
    counts = np.bincount(labels, minlength=classes)
    present = np.count_nonzero(counts)
    return torch.tensor(len(labels) / (present * np.maximum(counts, 1)), dtype=torch.float32)


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
        plugins=[WholeFiles()],
        logger=False,
        default_root_dir=folder,
        deterministic="warn",
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )


def _quiet() -> None:
    """Lightning's hints are for those who write a Trainer, not for those who run this one."""
    for name in ("pytorch_lightning.utilities.rank_zero", "pytorch_lightning", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"(pytorch_lightning|lightning_fabric)\.")
    warnings.filterwarnings("ignore", message=".*lr_scheduler.step.*")
