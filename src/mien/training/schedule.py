"""Optimizers and learning-rate schedules."""

from typing import Any

from torch import nn, optim
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, LRScheduler, ReduceLROnPlateau, SequentialLR

from mien.training.settings import OptimConfig


def make_optimizer(model: nn.Module, config: OptimConfig) -> optim.Optimizer:
    """The configured optimizer; biases and normalisation weights (one dimension) are not decayed."""
    decayed = [p for p in model.parameters() if p.requires_grad and p.ndim > 1]
    others = [p for p in model.parameters() if p.requires_grad and p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": others, "weight_decay": 0.0}]
    if config.name == "sgd":
        return optim.SGD(groups, lr=config.lr, momentum=config.momentum, nesterov=config.momentum > 0)
    return (optim.AdamW if config.name == "adamw" else optim.Adam)(groups, lr=config.lr)


def make_schedule(optimizer: optim.Optimizer, config: OptimConfig, epochs: int, steps: int) -> dict[str, Any] | None:
    """Lightning's description of the schedule, or None for a constant rate.

    Args:
        optimizer: what it steers.
        config: the schedule's name and warm-up.
        epochs: of the whole training.
        steps: optimizer steps per epoch.
    """
    if config.schedule == "plateau":
        plateau = ReduceLROnPlateau(optimizer, factor=0.5, patience=3)
        return {"scheduler": plateau, "interval": "epoch", "monitor": "val_loss"}
    if config.schedule == "cosine":
        return {"scheduler": _warm_cosine(optimizer, config, epochs, steps), "interval": "step"}
    return None


def _warm_cosine(optimizer: optim.Optimizer, config: OptimConfig, epochs: int, steps: int) -> LRScheduler:
    warm = min(round(config.warmup_epochs * steps), epochs * steps - 1)
    cosine = CosineAnnealingLR(optimizer, T_max=epochs * steps - warm, eta_min=config.lr * 0.01)
    if warm <= 0:
        return cosine
    return SequentialLR(optimizer, [LinearLR(optimizer, 0.1, total_iters=warm), cosine], milestones=[warm])
