"""Optimisers, learning-rate schedules and frozen backbones."""

import math
from functools import partial
from typing import Any, Literal

import pytorch_lightning as pl
from torch import nn, optim
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau

from mien.models.networks import Network
from mien.training.recipe import SCORES, OptimConfig


def make_optimizer(model: nn.Module, config: OptimConfig) -> optim.Optimizer:
    """The configured optimizer; biases and normalisation weights (one dimension) are not decayed."""
    slow = set(model.backbone.parameters()) if isinstance(model, Network) and config.backbone_lr < 1 else set()
    groups = _groups([p for p in model.parameters() if p not in slow], config.lr, config.weight_decay)
    groups += _groups([p for p in model.parameters() if p in slow], config.lr * config.backbone_lr, config.weight_decay)
    if config.name == "sgd":
        return optim.SGD(groups, lr=config.lr, momentum=config.momentum, nesterov=config.momentum > 0, fused=True)
    return (optim.AdamW if config.name == "adamw" else optim.Adam)(groups, lr=config.lr, fused=True)


def _groups(parameters: list[nn.Parameter], lr: float, weight_decay: float) -> list[dict[str, Any]]:
    if not parameters:
        return []
    decayed, others = [p for p in parameters if p.ndim > 1], [p for p in parameters if p.ndim <= 1]
    groups = ((decayed, weight_decay), (others, 0.0))
    return [{"params": params, "weight_decay": decay, "lr": lr} for params, decay in groups]


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
