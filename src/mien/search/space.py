"""Search space: the settings that a search may change, and their ranges."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from annotated_types import Ge
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from mien.base.errors import UserError
from mien.base.settings import STRICT, AtLeastOne, Count, Seed
from mien.training.recipe import Recipe


@dataclass(frozen=True)
class Confirm:
    """Trainings with further seeds, before a search overrules the configuration; 0 and 0: its best trial does."""

    __pydantic_config__ = STRICT

    best: Count = 0  # trials with the lowest loss; the configuration's own values take part in any case
    seeds: Count = 0  # further trainings of each


@dataclass(frozen=True)
class TuneConfig:
    """An Optuna study; no trials means that the config's own values are handed on."""

    __pydantic_config__ = STRICT

    trials: Count = 0  # 0: no search
    epochs: AtLeastOne = 8  # of each trial
    seed: Seed = 42  # of the sampler
    workers: AtLeastOne = 1  # more are faster and not reproducible
    startup_trials: Count = 5  # random trials before the sampler learns
    prune_after: Count = 3  # epochs before a trial may be pruned
    confirm: Confirm = Confirm()  # further seeds before a trial overrules: best, seeds
    # "optim.lr": {low: 1e-4, high: 1e-2, log: true} or "train.batch_size": {choices: [32, 64]}
    space: dict[str, Any] = field(default_factory=dict)
    # of the trials' time in each worker, after which no further trial begins if one is complete; 0: never
    minutes: Annotated[float, Ge(0)] = field(default=0.0, metadata={"optional": True})

    def __post_init__(self) -> None:
        if self.trials and not self.space:
            raise ValueError("space is empty: name at least one key to search, such as optim.lr")
        if bool(self.confirm.best) != bool(self.confirm.seeds):
            raise ValueError("confirm: best and seeds must both be at least 1, or both 0 for no confirmation")


Space = dict[str, BaseDistribution]


def search_space(entries: Mapping[str, Any], recipe: Recipe) -> Space:
    """The configured space as Optuna's distributions, widened where needed to hold the recipe's own value.

    An entry is `{low, high, log}` for numbers or `{choices: [...]}`. The recipe's values are the search's first trial.
    A UserError where the recipe lacks a key, or an entry is no range or holds values that the recipe refuses.
    """
    space = {}
    for key, entry in sorted(entries.items()):
        try:
            own = recipe.value(key)
        except KeyError as error:
            raise UserError(f"conf/tune: space: {error.args[0]}.") from error
        try:
            space[key] = _distribution(entry, own)
            for value in entry.get("choices") or (entry["low"], entry["high"]):
                tried = recipe.with_values({key: type(own)(value)})  # no trial may meet what a configuration refuses
                if others := set(tried.parents) - set(recipe.parents):
                    raise ValueError(f"a search cannot choose a trained model, such as {min(others)[1]}; take it out")
        except (TypeError, ValueError) as error:
            raise UserError(f"conf/tune: space: {key}: {str(error).rstrip('.')}.") from error
    return space


def _distribution(entry: Any, own: Any) -> BaseDistribution:
    if not isinstance(entry, Mapping) or set(entry) not in ({"choices"}, {"low", "high"}, {"low", "high", "log"}):
        raise ValueError("write {low: ..., high: ..., log: ...} or {choices: [...]}")
    if "choices" in entry:
        choices = entry["choices"]
        if not isinstance(choices, list) or not choices:
            raise ValueError(f"choices must be a list such as [1, 2], not {choices!r}")
        if wrong := [choice for choice in choices if not _alike(choice, own)]:
            raise ValueError(f"choice {wrong[0]!r} is not a value like the configured {own!r}")
        return CategoricalDistribution(choices if own in choices else [*choices, own])
    low, high, log = entry["low"], entry["high"], entry.get("log", False)
    if isinstance(own, bool | str):
        raise ValueError(f"its values, such as {own!r}, have no range; write {{choices: [...]}}")
    if not all(_alike(end, own) and math.isfinite(end) for end in (low, high)):
        raise ValueError(f"low {low!r} and high {high!r} must be two numbers like the configuration's own {own!r}")
    if not isinstance(log, bool):
        raise ValueError(f"log must be true or false, not {log!r}")
    if not low < high:
        raise ValueError(f"low {low} is not below high {high}")
    kind = IntDistribution if isinstance(own, int) else FloatDistribution
    return kind(min(low, own), max(high, own), log=log)


def _alike(value: Any, own: Any) -> bool:
    """Whether a value is of the kind that the key takes: no boolean for a number, no fraction for a whole one."""
    kinds = int | float if isinstance(own, float) else type(own)
    return isinstance(value, kinds) and isinstance(value, bool) == isinstance(own, bool)
