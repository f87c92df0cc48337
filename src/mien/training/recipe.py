"""What makes one training: the four groups of settings that a search may change."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mien.models.settings import ModelConfig
from mien.training.settings import AugmentConfig, OptimConfig, TrainConfig


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
