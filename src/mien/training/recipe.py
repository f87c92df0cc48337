"""Training settings: augmentation, optimiser, training loop and devices; random streams by seed."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Literal

from annotated_types import Ge, Le
from numpy.random import SeedSequence

from mien.base.errors import UserError
from mien.base.settings import STRICT, AtLeastOne, BelowOne, Count, Positive, Seed, Share, check_settings
from mien.models.description import ModelConfig


@dataclass(frozen=True)
class AugmentConfig:
    """Random changes to training faces; `strength` scales all of them (0: none, 1: as written)."""

    __pydantic_config__ = STRICT

    strength: Annotated[float, Ge(0), Le(3)] = 1.0  # factor on all amounts; 0: no change
    flip: Share = 0.5  # probability of a left-right flip; a strength above 1 leaves it
    rotate: Annotated[float, Ge(0), Le(180)] = 15.0  # degrees to each side
    shift: Share = 0.1  # share of the face's size
    zoom: Share = 0.1  # share of the face's size; width and height alike
    brightness: Share = 0.2  # largest change, as a share of white
    contrast: Share = 0.2  # largest change, as a share
    # whole batches with PyTorch, on the device that trains, or a face at a time with albumentations
    batched: bool = False
    # Of single faces: further transforms of albumentations, each by its name and arguments.
    transforms: list[dict[str, Any]] = field(default_factory=list, metadata={"optional": True})

    @property
    def face_by_face(self) -> bool:
        """Whether albumentations changes the faces, one at a time."""
        return self.strength > 0 and not self.batched

    def __post_init__(self) -> None:
        if self.batched and self.transforms:
            raise ValueError("transforms are albumentations', for which batched must be false")


@dataclass(frozen=True)
class OptimConfig:
    """Optimizer and learning-rate schedule."""

    __pydantic_config__ = STRICT

    name: Literal["adam", "adamw", "sgd"] = "adamw"  # the optimiser
    lr: Positive = 1e-3  # highest learning rate
    weight_decay: Annotated[float, Ge(0)] = 1e-2  # decoupled with adamw
    momentum: BelowOne = 0.9  # of sgd
    schedule: Literal["constant", "cosine", "plateau"] = "cosine"  # of the learning rate
    warmup_epochs: Annotated[float, Ge(0)] = 1.0  # linear, before the cosine
    # The backbone's learning rate as a share of lr, where the network has one that learnt elsewhere.
    backbone_lr: Annotated[float, Ge(0.01), Le(1)] = field(default=1.0, metadata={"optional": True})


@dataclass(frozen=True)
class TrainConfig:
    """One training run."""

    __pydantic_config__ = STRICT

    epochs: AtLeastOne = 30  # at most
    batch_size: Annotated[int, Ge(2)] = 64  # faces in a step, of all devices together
    # The validation score that chooses the epoch, stops early, steers the plateau and the search.
    monitor: Literal["val_loss", "val_calibrated_loss", "val_accuracy", "val_macro_f1"] = "val_loss"
    keep: Literal["best", "last"] = "best"  # the epoch whose weights are handed on
    patience: Count = 8  # epochs without a better `monitor` before stopping; 0: never stop early
    seed: Seed = 42  # of weights, order, augmentation and dropout
    class_weights: bool = False  # weigh the loss by the inverse of a class's share
    label_smoothing: BelowOne = 0.0  # share of the label given to all classes
    ema: BelowOne = 0.0  # decay of an exponential moving average of the weights; 0: none
    # Epochs at the start in which only the head of a network with a backbone learns.
    freeze_epochs: Count = field(default=0, metadata={"optional": True})
    # Distillation (Hinton et al., 2015): registered models or folders whose mean answer to each augmented face is
    # learnt beside its label; the share of the loss that this has, and the temperature that softens all answers.
    teachers: list[str] = field(default_factory=list, metadata={"optional": True})
    distill_share: Share = field(default=0.5, metadata={"optional": True})
    distill_temperature: Positive = field(default=2.0, metadata={"optional": True})
    # of wall time, after which the training stops at the end of an epoch; 0: never
    minutes: Annotated[float, Ge(0)] = field(default=0.0, metadata={"optional": True})


@dataclass(frozen=True)
class TrainerConfig:
    """Devices of a training, and how it uses them."""

    __pydantic_config__ = STRICT

    accelerator: Literal["auto", "cpu", "gpu"] = "auto"  # auto: a GPU where there is one
    devices: AtLeastOne = 1  # processes on each machine that share a batch, one a GPU
    nodes: AtLeastOne = 1  # machines
    precision: Literal["auto", "32", "bf16"] = "auto"  # auto: bf16 where it is fast
    threads: Count = 0  # of PyTorch in each process; 0: as many as there are cores. Another number rounds otherwise
    workers: Count = 0  # loader processes; 0: in the training process
    resident: Share = 0.5  # of a GPU's memory, up to which the training faces stay there

    @property
    def ranks(self) -> int:
        """How many processes share each batch."""
        return self.devices * self.nodes


SCORES: Final = ("val_accuracy", "val_macro_f1")  # monitored, and better when higher; of losses the lower is better


def cost(monitor: str, value: float) -> float:
    """The value of what is monitored as a number that is better when lower: of a score, what it lacks of 1."""
    return 1 - value if monitor in SCORES else value


def refuse_larger_batch(batch_size: int, faces: int) -> None:
    """Raise a UserError where a batch would need more faces than the training part has."""
    if batch_size > faces:
        raise UserError(f"train.batch_size: {batch_size:,} is more than the {faces:,} faces of the training part.")


def refuse_uneven_shares(batch_size: int, trainer: TrainerConfig) -> None:
    """Raise a UserError where the devices cannot share a batch evenly: their mean would not be the batch's."""
    ranks = trainer.ranks
    if batch_size % ranks:
        raise UserError(f"train.batch_size: {batch_size:,} must be a multiple of {ranks}, trainer.devices times nodes.")


def refuse_longer_average(train: TrainConfig, faces: int) -> None:
    """Raise a UserError where the average of the weights would reach back to before the training."""
    ema, epochs, batch_size = train.ema, train.epochs, train.batch_size
    steps, averaged = epochs * (faces // batch_size), 1 / (1 - ema)
    if ema and averaged > steps:
        raise UserError(
            f"train.ema: {ema:g} averages the weights of about {averaged:,.0f} steps, and {epochs} epochs of "
            f"{faces:,} faces in batches of {batch_size:,} have {steps:,}; set less, or 0.0 for no average."
        )


@dataclass(frozen=True)
class Recipe:
    """Network, augmentation, optimizer, training length and devices."""

    model: ModelConfig
    augment: AugmentConfig
    optim: OptimConfig
    train: TrainConfig
    trainer: TrainerConfig = field(default_factory=TrainerConfig)

    @property
    def parents(self) -> list[tuple[str, str]]:
        """The trained models that it needs: the key that names each, and its address."""
        init = [self.model.init] if self.model.init_from == "model" else []
        named = {"model.init": init, "model.members": self.model.members, "train.teachers": self.train.teachers}
        return [(key, str(address)) for key, addresses in named.items() for address in addresses]

    def value(self, key: str) -> Any:
        """The value of a dotted key such as `optim.lr`."""
        values = {f"{group}.{name}": v for group, settings in vars(self).items() for name, v in vars(settings).items()}
        if key not in values:
            raise KeyError(f"there is no {key}; the keys are {', '.join(values)}")
        return values[key]

    def with_values(self, values: Mapping[str, Any]) -> "Recipe":
        """This recipe with some dotted keys changed; a ValueError where a value breaks its field's constraints."""
        recipe = self
        for key, value in values.items():
            self.value(key)
            group, _, name = key.partition(".")
            changed = dataclasses.replace(getattr(recipe, group), **{name: value})
            check_settings(changed)
            recipe = dataclasses.replace(recipe, **{group: changed})
        return recipe


# Independent random streams of one training, by what they are for.
ORDER: Final = 1  # of the faces in an epoch
AUGMENT: Final = 2  # of one face in an epoch
DROPOUT: Final = 3  # of one step


def stream(seed: int, kind: int, *place: int) -> SeedSequence:
    """The stream at a place, such as an epoch, of the training with this seed.

    Nothing is added up: the second epoch of seed 42 would then be the first of seed 43.
    """
    return SeedSequence([seed, kind, *place])


def derived_seed(*parts: int) -> int:
    """A seed for each list of numbers, of which neighbouring ones are independent."""
    return int(SeedSequence(parts).generate_state(1)[0])
