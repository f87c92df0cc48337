"""Settings of a training: augmentation, optimiser, loop, and all of them together."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mien.models.spec import ModelConfig

OPTIMIZERS = ("adam", "adamw", "sgd")
SCHEDULES = ("constant", "cosine", "plateau")
PRECISIONS = ("auto", "32", "bf16")
MEMORY_FORMATS = ("auto", "contiguous", "channels_last")


def _one_of(key: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{key} must be one of {', '.join(allowed)}, not {value!r}")


@dataclass
class AugmentConfig:
    """Random changes to training faces; every amount is scaled by `strength` (0: none, 1: as written)."""

    strength: float = 1.0
    flip: float = 0.5  # probability of a left-right flip
    rotate: float = 15.0  # degrees to each side
    shift: float = 0.1  # share of the face's size
    zoom: float = 0.1  # share of the face's size
    brightness: float = 0.2
    contrast: float = 0.2
    erase: float = 0.0  # probability of one erased rectangle (Zhong et al., 2017)

    def __post_init__(self) -> None:
        """Refuse amounts that destroy the face."""
        if not 0 <= self.strength <= 3:
            raise ValueError(f"strength must be 0 to 3, not {self.strength}")
        for key in ("flip", "erase", "shift", "zoom", "brightness", "contrast"):
            if not 0 <= getattr(self, key) <= 1:
                raise ValueError(f"{key} must be 0 to 1, not {getattr(self, key)}")
        if not 0 <= self.rotate <= 180:
            raise ValueError(f"rotate must be 0 to 180 degrees, not {self.rotate}")


@dataclass
class OptimConfig:
    """Optimizer and learning-rate schedule."""

    name: str = "adamw"
    lr: float = 1e-3
    weight_decay: float = 1e-2
    momentum: float = 0.9  # of sgd
    schedule: str = "cosine"
    warmup_epochs: float = 1.0  # linear, before the cosine
    # The backbone's learning rate as a share of lr, where the network has one that learnt elsewhere.
    backbone_lr: float = field(default=1.0, metadata={"optional": True})

    def __post_init__(self) -> None:
        """Refuse what does not optimize."""
        _one_of("name", self.name, OPTIMIZERS)
        _one_of("schedule", self.schedule, SCHEDULES)
        if self.lr <= 0:
            raise ValueError(f"lr must be above 0, not {self.lr}")
        for key in ("weight_decay", "warmup_epochs"):
            if getattr(self, key) < 0:
                raise ValueError(f"{key} must not be negative, as {getattr(self, key)} is")
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum must be from 0 to below 1, not {self.momentum}")
        if not 0.01 <= self.backbone_lr <= 1:
            raise ValueError(f"backbone_lr is a share of lr from 0.01 to 1, not {self.backbone_lr}")


@dataclass
class TrainConfig:
    """One training run."""

    epochs: int = 30
    batch_size: int = 64
    patience: int = 8  # epochs without a better validation loss before stopping; 0: never stop early
    seed: int = 42
    class_weights: bool = False  # weigh the loss by the inverse of a class's share
    label_smoothing: float = 0.0
    ema: float = 0.0  # decay of an exponential moving average of the weights; 0: none
    precision: str = "auto"
    memory_format: str = "auto"
    accelerator: str = "auto"  # auto, cpu or gpu
    workers: int = 0  # loader processes; 0: in the training process
    # Epochs at the start in which only the head of a network with a backbone learns.
    freeze_epochs: int = field(default=0, metadata={"optional": True})
    threads: int = 0  # of the processor; 0: PyTorch's own choice. Another number changes results in their last bits

    def __post_init__(self) -> None:
        """Refuse what cannot be trained."""
        _one_of("precision", self.precision, PRECISIONS)
        _one_of("memory_format", self.memory_format, MEMORY_FORMATS)
        _one_of("accelerator", self.accelerator, ("auto", "cpu", "gpu"))
        for key, least in (("epochs", 1), ("batch_size", 2)):
            if getattr(self, key) < least:
                raise ValueError(f"{key} must be at least {least}, not {getattr(self, key)}")
        for key in ("patience", "freeze_epochs", "workers", "threads"):
            if getattr(self, key) < 0:
                raise ValueError(f"{key} must not be negative, as {getattr(self, key)} is")
        for key in ("label_smoothing", "ema"):
            if not 0 <= getattr(self, key) < 1:
                raise ValueError(f"{key} must be from 0 to below 1, not {getattr(self, key)}")


@dataclass(frozen=True)
class Recipe:
    """Network, augmentation, optimizer and training length."""

    model: ModelConfig
    augment: AugmentConfig
    optim: OptimConfig
    train: TrainConfig

    def value(self, key: str) -> Any:
        """The value of a dotted key such as `optim.lr`.

        Raises:
            KeyError: there is no such key.
        """
        group, _, name = key.partition(".")
        if group not in _names(self) or name not in _names(getattr(self, group)):
            known = [f"{g}.{n}" for g in _names(self) for n in _names(getattr(self, g))]
            raise KeyError(f"there is no {key}; the keys are {', '.join(known)}")
        return getattr(getattr(self, group), name)

    def with_values(self, values: Mapping[str, Any]) -> "Recipe":
        """This recipe with some dotted keys changed; each group checks itself again."""
        recipe = self
        for key, value in values.items():
            self.value(key)
            group, _, name = key.partition(".")
            changed = dataclasses.replace(getattr(recipe, group), **{name: value})
            recipe = dataclasses.replace(recipe, **{group: changed})
        return recipe


def _names(settings: Any) -> list[str]:
    return [field.name for field in dataclasses.fields(settings)]
