"""Train one network on labelled faces."""

import logging
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EMAWeightAveraging
from torch import Tensor, nn

from mien.models.pretrained import load_pretrained
from mien.models.spec import ModelSpec
from mien.training.augment import Augmentation
from mien.training.checkpoints import Patience, WholeFiles, best_and_last, checkpoint_to_continue, load_best
from mien.training.faces import LabelledFaces, training_loader, validation_loader
from mien.training.freezing import freezing
from mien.training.hardware import Hardware, choose_hardware, keep_freed_memory, to_channels_last
from mien.training.history import EpochListener, History
from mien.training.recipe import Recipe
from mien.training.task import ExpressionTask


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
