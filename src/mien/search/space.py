"""Search space: which settings a search may change, and in which range."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from mien.base.errors import UserError
from mien.base.settings import STRICT, AtLeastOne, Count, Seed
from mien.training.recipe import Recipe


@dataclass(frozen=True)
class TuneConfig:
    """An Optuna study; no trials means that the config's own values are handed on."""

    __pydantic_config__ = STRICT

    trials: Count = 0
    epochs: AtLeastOne = 8  # of each trial
    seed: Seed = 42
    workers: AtLeastOne = 1  # more are faster and not reproducible
    startup_trials: Count = 5  # random trials before the sampler learns
    prune_after: Count = 3  # epochs before a trial may be pruned
    # "optim.lr": {low: 1e-4, high: 1e-2, log: true} or "train.batch_size": {choices: [32, 64]}
    space: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.trials and not self.space:
            raise ValueError("space is empty: name at least one key to search, such as optim.lr")


Space = dict[str, BaseDistribution]


def search_space(entries: Mapping[str, Any], recipe: Recipe) -> Space:
    """The configured space as Optuna's distributions, widened where needed to hold the recipe's own value.

    An entry is `{low, high, log}` for numbers or `{choices: [...]}`. The recipe's own values must lie in it,
    since they are the search's first trial.

    Raises:
        UserError: a key that the recipe has not, or an entry that is no range, or holds values that the
            recipe refuses; the key is named.
    """
    return {key: _distribution(key, entry, recipe) for key, entry in sorted(entries.items())}


def _distribution(key: str, entry: Any, recipe: Recipe) -> BaseDistribution:
    try:
        own = recipe.value(key)
    except KeyError as error:
        raise UserError(f"conf/tune: space: {error.args[0]}.") from error
    if not isinstance(entry, Mapping) or set(entry) not in ({"choices"}, {"low", "high"}, {"low", "high", "log"}):
        raise UserError(f"conf/tune: space: {key}: say {{low: ..., high: ..., log: ...}} or {{choices: [...]}}.")
    try:
        distribution = _choices(entry["choices"], own) if "choices" in entry else _range(entry, own)
        ends = entry["choices"] if "choices" in entry else (entry["low"], entry["high"])
        for value in ends:  # a trial must not meet what the configuration refuses
            recipe.with_values({key: type(own)(value)})
    except (TypeError, ValueError) as error:
        raise UserError(f"conf/tune: space: {key}: {str(error).rstrip('.')}.") from error
    return distribution


def _choices(choices: Any, own: Any) -> CategoricalDistribution:
    if not isinstance(choices, list) or not choices:
        raise ValueError(f"choices must be a list such as [1, 2], not {choices!r}")
    if wrong := [c for c in choices if not _alike(c, own)]:
        raise ValueError(f"choice {wrong[0]!r} is no value like the configuration's own {own!r}")
    if twice := [c for i, c in enumerate(choices) if c in choices[:i]]:
        raise ValueError(f"choice {twice[0]!r} stands there twice, and should once")
    return CategoricalDistribution(choices if own in choices else [*choices, own])


def _alike(value: Any, own: Any) -> bool:
    """Whether a value is of the kind that the key takes: no boolean for a number, no fraction for a whole one."""
    if isinstance(own, bool) or isinstance(value, bool):
        return isinstance(own, bool) and isinstance(value, bool)
    return isinstance(value, int | float if isinstance(own, float) else type(own))


def _range(entry: Mapping[str, Any], own: Any) -> BaseDistribution:
    low, high, log = entry["low"], entry["high"], entry.get("log", False)
    if isinstance(own, bool | str):
        raise ValueError(f"its values, such as {own!r}, have no range; say {{choices: [...]}}")
    if not all(_alike(end, own) and math.isfinite(end) for end in (low, high)):
        raise ValueError(f"low {low!r} and high {high!r} must be two numbers like the configuration's own {own!r}")
    if not isinstance(log, bool):
        raise ValueError(f"log must be true or false, not {log!r}")
    if not low < high:
        raise ValueError(f"low {low} is not below high {high}")
    if log and min(low, own) <= 0:
        raise ValueError(f"with log every value must be above 0, and the lowest is {min(low, own)}")
    if isinstance(own, int):
        return IntDistribution(int(min(low, own)), int(max(high, own)), log=log)
    return FloatDistribution(float(min(low, own)), float(max(high, own)), log=log)
