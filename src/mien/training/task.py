"""Lightning module: a network that learns the expressions; its losses, optimisers, schedules and frozen backbone."""

import math
from functools import partial
from typing import Any, Literal

import numpy as np
import pytorch_lightning as pl
import torch
from scipy.optimize import minimize_scalar
from torch import Tensor, nn, optim
from torch.nn import functional
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau
from torchmetrics.functional.classification import multiclass_f1_score, multiclass_precision, multiclass_recall

from mien.models.networks import Network
from mien.training.augmentation import BatchAugmentation
from mien.training.dataset import Batch
from mien.training.recipe import DROPOUT, SCORES, OptimConfig, Recipe, derived_seed


def class_weights(shares: np.ndarray) -> Tensor:
    """Weights `(classes,)` float32, the inverse of each class's share of the faces; 1 on average over the faces.

    `shares` `(classes,)` are counts of labels, or sums of soft labels. A class that no face has weighs nothing.
    """
    fair = shares.sum() / np.count_nonzero(shares)
    return torch.tensor(np.divide(fair, shares, out=np.zeros(len(shares)), where=shares > 0), dtype=torch.float32)


def training_loss(logits: Tensor, labels: Tensor, weights: Tensor | None, label_smoothing: float) -> Tensor:
    """Cross entropy against labels `(B,)` or soft labels `(B, classes)`, a mean weighted by class where asked for.

    PyTorch divides by the sum of the weights where labels are hard, and by the number of faces where they are soft: the
    same labels, written as soft ones, would give a loss (and a step of sgd) of another size in each batch.
    """
    if weights is None or labels.ndim == 1:
        return functional.cross_entropy(logits, labels, weights, label_smoothing=label_smoothing)
    total = functional.cross_entropy(logits, labels, weights, reduction="sum", label_smoothing=label_smoothing)
    return total / (labels * weights).sum()


def distillation_loss(logits: Tensor, taught: Tensor, temperature: float) -> Tensor:
    """Kullback-Leibler divergence of the softened answers from what is `taught`, `(B, classes)` probabilities.

    G. Hinton, O. Vinyals, J. Dean: Distilling the Knowledge in a Neural Network, arXiv:1503.02531. The square of the
    temperature keeps the gradient's size.
    """
    softened = functional.log_softmax(logits.float() / temperature, dim=1)  # half precision has three digits
    return functional.kl_div(softened, taught, reduction="batchmean") * temperature**2


def validation_scores(logits: Tensor, labels: Tensor) -> dict[str, Tensor | float]:
    """Loss, loss after temperature, accuracy, macro precision, recall and F1 of logits `(N, classes)`.

    The loss is plain cross entropy, unsmoothed and unweighted, so that runs with other losses compare.
    """
    macro: dict[str, Any] = {"num_classes": logits.shape[1], "average": "macro"}
    return {
        "val_loss": functional.cross_entropy(logits, labels),
        "val_calibrated_loss": calibrated_loss(logits, labels),
        "val_accuracy": (logits.argmax(1) == labels).float().mean(),
        "val_macro_precision": multiclass_precision(logits, labels, **macro),
        "val_macro_recall": multiclass_recall(logits, labels, **macro),
        "val_macro_f1": multiclass_f1_score(logits, labels, **macro),
    }


def calibrated_loss(logits: Tensor, labels: Tensor) -> float:
    """Cross entropy after the temperature that makes it the lowest: what `evaluate`'s calibration will leave of it."""

    def loss(log_temperature: float) -> float:
        return float(functional.cross_entropy(logits / math.exp(log_temperature), labels))

    return float(minimize_scalar(loss, bounds=(-7, 7), method="bounded").fun)


class ExpressionTask(pl.LightningModule):
    """One network in training: its loss on the training faces, its scores on the validation faces."""

    def __init__(
        self, model: nn.Module, recipe: Recipe, *, class_weights: Tensor | None, rank: int, teachers: list[Network]
    ) -> None:
        super().__init__()
        self.model = model
        self.recipe = recipe
        self.teachers = tuple(teachers)  # no module list: they are not trained, averaged or saved
        self.rank, self.ranks = rank, recipe.trainer.ranks
        batch = recipe.train.batch_size
        self.share = slice(rank * batch // self.ranks, (rank + 1) * batch // self.ranks)  # of each batch, for this rank
        batched = recipe.augment.batched and recipe.augment.strength > 0
        self.augmentation = BatchAugmentation(recipe.augment, recipe.train.seed) if batched else None
        self.register_buffer("class_weights", class_weights, persistent=False)
        self._validated: list[Batch] = []  # logits and labels of an epoch

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Start each step from its own seed: a resumed training then draws the same dropout masks.

        Each step rather than each epoch, since Lightning and the loaders draw from the same generator in between,
        and not the same number of times after a resume.
        """
        torch.manual_seed(derived_seed(self.recipe.train.seed, DROPOUT, self.global_step, self.rank))

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits `(B, classes)`."""
        logits: Tensor = self.model(pixels.contiguous(memory_format=torch.channels_last))
        return logits

    def training_step(self, batch: Batch, step: int) -> Tensor:
        """The loss that is minimised: cross entropy against the label, or against the soft label where there is one."""
        pixels, labels = batch
        if self.augmentation is not None:
            size = self.recipe.train.batch_size
            pixels = self.augmentation(pixels, self.current_epoch, step, self.share, size)
        weights = self.class_weights if isinstance(self.class_weights, Tensor) else None
        settings, logits = self.recipe.train, self(pixels)
        loss = training_loss(logits, labels, weights, settings.label_smoothing)
        if self.teachers:
            share, temperature = settings.distill_share, settings.distill_temperature
            laid_out = pixels.contiguous(memory_format=torch.channels_last)
            with torch.no_grad():  # the mean of the teachers' softened probabilities
                answers = [teacher.to(self.device)(laid_out).float() for teacher in self.teachers]
                shares = [functional.softmax(answer / temperature, dim=1) for answer in answers]
                taught = torch.stack(shares).mean(dim=0)
            loss = (1 - share) * loss + share * distillation_loss(logits, taught, temperature)
        self.log("train_loss", loss, on_step=False, on_epoch=True, batch_size=len(labels), sync_dist=self.ranks > 1)
        return loss

    def validation_step(self, batch: Batch, _: int) -> None:
        """Collect the logits."""
        pixels, labels = batch
        self._validated.append((self(pixels).float(), labels))

    def on_validation_epoch_end(self) -> None:
        """Log the scores of all validation faces."""
        logits, labels = (torch.cat(parts) for parts in zip(*self._validated, strict=True))
        self._validated.clear()
        if self.ranks > 1:  # the other processes have validated other faces
            parts: list[Any] = [None] * self.ranks
            torch.distributed.all_gather_object(parts, (logits.cpu(), labels.cpu()))
            logits, labels = (torch.cat(column) for column in zip(*parts, strict=True))
        self.log_dict(validation_scores(logits, labels))

    def configure_optimizers(self) -> Any:
        """Optimizer and schedule of the configuration."""
        config, train = self.recipe.optim, self.recipe.train
        optimizer = make_optimizer(self.model, config)
        steps = max(int(self.trainer.estimated_stepping_batches) // train.epochs, 1)
        schedule = make_schedule(optimizer, config, train.epochs, steps, train.monitor)
        return optimizer if schedule is None else {"optimizer": optimizer, "lr_scheduler": schedule}


def make_optimizer(model: nn.Module, config: OptimConfig) -> optim.Optimizer:
    """The configured optimizer; biases and normalisation weights (one dimension) are not decayed."""
    slow = set(model.backbone.parameters()) if isinstance(model, Network) and config.backbone_lr < 1 else set()
    groups = []
    for lr, among in ((config.lr, False), (config.lr * config.backbone_lr, True)):
        if parameters := [p for p in model.parameters() if (p in slow) == among]:
            decayed, others = [p for p in parameters if p.ndim > 1], [p for p in parameters if p.ndim <= 1]
            groups += [{"params": decayed, "weight_decay": config.weight_decay, "lr": lr}]
            groups += [{"params": others, "weight_decay": 0.0, "lr": lr}]
    if config.name == "sgd":
        return optim.SGD(groups, lr=config.lr, momentum=config.momentum, nesterov=config.momentum > 0, fused=True)
    return (optim.AdamW if config.name == "adamw" else optim.Adam)(groups, lr=config.lr, fused=True)


def make_schedule(
    optimizer: optim.Optimizer, config: OptimConfig, epochs: int, steps: int, monitor: str
) -> dict[str, Any] | None:
    """Lightning's description of the schedule, or None for a constant rate.

    `steps` are the optimizer's in one of the training's `epochs`; `plateau` watches the validation score `monitor`.
    """
    if config.schedule == "plateau":
        mode: Literal["min", "max"] = "max" if monitor in SCORES else "min"
        plateau = ReduceLROnPlateau(optimizer, mode, factor=0.5, patience=3)
        return {"scheduler": plateau, "interval": "epoch", "monitor": monitor}
    if config.schedule == "cosine":
        warm = min(round(config.warmup_epochs * steps), epochs * steps - 1)
        share = partial(warm_cosine, warm=warm, steps=epochs * steps)
        return {"scheduler": LambdaLR(optimizer, share), "interval": "step"}
    return None


def warm_cosine(step: int, warm: int, steps: int) -> float:
    """Share of each parameter group's own rate: linear from 0.1 to 1 in `warm` steps, then a cosine down to 0.01."""
    if step < warm:
        return 0.1 + 0.9 * step / warm
    return 0.01 + 0.99 * (1 + math.cos(math.pi * (step - warm) / (steps - warm))) / 2


class FreezeBackbone(pl.Callback):
    """Keeps the backbone as it came, running statistics of its normalisation included, for the first epochs.

    Which epoch it is decides, so that a training that was killed continues as it would have gone on.
    """

    def __init__(self, model: Network, epochs: int) -> None:
        self.backbone = model.backbone
        self.epochs = epochs

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Freeze or release."""
        frozen = trainer.current_epoch < self.epochs
        self.backbone.requires_grad_(not frozen)
        self.backbone.train(not frozen)
