"""The whole of params.yaml and of what it chooses, checked at once: no torch, no data, about a second."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mien.configuration.contradictions import contradictions
from mien.configuration.plain_yaml import read_plain_yaml
from mien.configuration.schemas import OF_USE, SCHEMAS, read_settings, refuse_unknown_choice, settings_of_use
from mien.errors import UserError


def mistakes(params: Path, conf: Path) -> list[str]:
    """A sentence for every mistake in a file of choices (params.yaml or a preset) and in the files that it chooses.

    Each group's first mistake is told; what contradicts what, only when each group is right by itself.
    """
    shown = params.relative_to(conf.parent).as_posix() if params.is_relative_to(conf.parent) else str(params)
    try:
        choices = read_plain_yaml(params, shown)
    except UserError as error:
        return [str(error)]
    found = [f"{shown}: there is no group {key!r}; the groups are {_GROUPS}." for key in choices if key not in SCHEMAS]
    settings: dict[str, Any] = {}
    for group in SCHEMAS:
        try:
            settings[group] = _settings(conf, group, choices, shown)
        except UserError as error:
            found.append(str(error))
    found += _mistakes_of_use(conf)
    return found or list(contradictions(settings, {group: str(choices[group]) for group in SCHEMAS}))


def refuse_mistakes(params: Path, conf: Path, given: Mapping[str, str]) -> None:
    """Raise the first mistake, if these choices are among those of `params`; a run by hand may differ from it."""
    if not params.is_file():
        return
    try:
        choices = read_plain_yaml(params, params.name)
    except UserError:
        choices = dict(given)  # the mistake is in params.yaml itself
    if given.items() <= choices.items() and (found := mistakes(params, conf)):
        raise UserError(found[0])


def _mistakes_of_use(conf: Path) -> list[str]:
    found = []
    for what in OF_USE:
        try:
            settings_of_use(conf.parent, what)
        except UserError as error:
            found.append(str(error))
    return found


_GROUPS = ", ".join(SCHEMAS)


def _settings(conf: Path, group: str, choices: Mapping[str, Any], shown: str) -> Any:
    if group not in choices:
        raise UserError(f"{shown} lacks {group}; it needs a line such as `{group}: {_example(conf, group)}`.")
    refuse_unknown_choice(conf, group, choices[group], shown)
    return read_settings(conf, group, choices[group])


def _example(conf: Path, group: str) -> str:
    return next((file.stem for file in sorted((conf / group).glob("*.yaml"))), "CHOICE")
