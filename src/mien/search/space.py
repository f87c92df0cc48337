"""What a search may change, and in which range."""

from collections.abc import Mapping
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from mien.errors import UserError
from mien.training.recipe import Recipe

Space = dict[str, BaseDistribution]


def search_space(entries: Mapping[str, Any], recipe: Recipe) -> Space:
    """The configured space as Optuna's distributions, widened where needed to hold the recipe's own value.

    An entry is `{low, high, log}` for numbers or `{choices: [...]}`. The recipe's own values must lie in it,
    since they are the search's first trial.

    Raises:
        UserError: a key that the recipe has not, or an entry that is no range; the key is named.
    """
    return {key: _distribution(key, entry, recipe) for key, entry in sorted(entries.items())}


def _distribution(key: str, entry: Any, recipe: Recipe) -> BaseDistribution:
    try:
        own = recipe.value(key)
    except KeyError as error:
        raise UserError(f"conf/tune: space: {error.args[0]}.") from error
    if not isinstance(entry, Mapping) or not set(entry) <= {"low", "high", "log", "choices"}:
        raise UserError(f"conf/tune: space: {key}: say {{low: ..., high: ..., log: ...}} or {{choices: [...]}}.")
    if "choices" in entry:
        choices = list(entry["choices"])
        return CategoricalDistribution(choices if own in choices else [*choices, own])
    return _range(key, entry, own)


def _range(key: str, entry: Mapping[str, Any], own: Any) -> BaseDistribution:
    try:
        low, high = min(entry["low"], own), max(entry["high"], own)
        if entry["low"] >= entry["high"]:
            raise ValueError(f"low {entry['low']} is not below high {entry['high']}")
        log = bool(entry.get("log", False))
        if isinstance(own, int):
            return IntDistribution(int(low), int(high), log=log)
        return FloatDistribution(float(low), float(high), log=log)
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"conf/tune: space: {key}: {error}; say low and high, two numbers in that order.") from error
