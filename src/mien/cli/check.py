"""Command `check`: mistakes in params.yaml and conf/, and contradictions between their files."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

import typer

from mien.base.errors import UserError, WrongSettings
from mien.base.settings import (
    GROUPS,
    USAGE,
    known_choices,
    read_settings,
    read_usage,
    read_yaml,
    refuse_unknown_choice,
)
from mien.base.versions import other_versions
from mien.cli.output import say
from mien.cli.workspace import PARAMS, find_root
from mien.models.spec import FACES, WITH_BACKBONE


def contradictions(settings: Mapping[str, Any], choices: Mapping[str, str]) -> Iterator[str]:
    """A sentence for each; it names the files and the keys, and says what would be right.

    Args:
        settings: every group's settings, each valid by itself.
        choices: which file each group's settings come from.
    """
    file = {group: f"conf/{group}/{choice}.yaml" for group, choice in choices.items()}
    yield from _source(settings, choices, file)
    yield from _faces(settings, file)
    yield from _backbone(settings, file)
    yield from _warm_up(settings, file)
    yield from _space(settings, file)


def _source(settings: Mapping[str, Any], choices: Mapping[str, str], file: Mapping[str, str]) -> Iterator[str]:
    from mien.sources.source import get_source

    data = settings["data"]
    try:
        get_source(data)
    except WrongSettings as error:
        yield from (f"{file['data']}: {mistake}" for mistake in error.mistakes)
    except UserError as error:
        yield f"{file['data']}: {error}"
    watched = f"data/{choices['data']}"
    if PurePosixPath(data.path) != PurePosixPath(watched):
        yield f"{file['data']}: path must be {watched}, the folder whose changes DVC sees, not {data.path}."


def _faces(settings: Mapping[str, Any], file: Mapping[str, str]) -> Iterator[str]:
    model, crop = settings["model"], settings["crop"]
    wanted = FACES[model.name]
    if wanted.size not in (None, crop.size) or wanted.colour not in (None, crop.colour):
        size = f"{wanted.size} pixels" if wanted.size else "any size"
        yield (
            f"{file['model']}: name: {model.name} takes faces of {size} in {wanted.colour or 'any colour'}, and "
            f"{file['crop']} says size: {crop.size}, colour: {crop.colour}; choose a crop that fits."
        )


def _backbone(settings: Mapping[str, Any], file: Mapping[str, str]) -> Iterator[str]:
    """What is said of a backbone that the network has not."""
    model, frozen, share = settings["model"], settings["train"].freeze_epochs, settings["optim"].backbone_lr
    if model.name not in WITH_BACKBONE:
        none = f"and {model.name} of {file['model']} has none; the networks with one are {', '.join(WITH_BACKBONE)}."
        if frozen:
            yield f"{file['train']}: freeze_epochs: {frozen} freezes a backbone, {none}"
        if share != 1:
            yield f"{file['optim']}: backbone_lr: {share:g} is for a backbone, {none}"


def _warm_up(settings: Mapping[str, Any], file: Mapping[str, str]) -> Iterator[str]:
    """A learning rate that would rise to the very end, or a warm-up that nobody carries out."""
    optim, tune = settings["optim"], settings["tune"]
    if not optim.warmup_epochs:
        return
    if optim.schedule != "cosine":
        yield (
            f"{file['optim']}: warmup_epochs: {optim.warmup_epochs:g} belongs to schedule: cosine; "
            f"with schedule: {optim.schedule} say warmup_epochs: 0.0."
        )
    lengths = {"train": settings["train"].epochs} | ({"tune": tune.epochs} if tune.trials else {})
    shortest = min(lengths, key=lengths.__getitem__)
    if optim.warmup_epochs >= lengths[shortest]:
        yield (
            f"{file['optim']}: warmup_epochs: {optim.warmup_epochs:g} must be less than the epochs: "
            f"{lengths[shortest]} of {file[shortest]}."
        )


def _space(settings: Mapping[str, Any], file: Mapping[str, str]) -> Iterator[str]:
    """What a search names and cannot change, or has no such range."""
    tune = settings["tune"]
    if not tune.trials:
        return
    from mien.search.space import search_space
    from mien.training.recipe import Recipe

    recipe = Recipe(*(settings[group] for group in ("model", "augment", "optim", "train")))
    try:
        search_space(tune.space, recipe)
    except UserError as error:
        yield str(error).replace("conf/tune:", f"{file['tune']}:", 1)
    for key, reason in _without_effect(settings, file):
        if key in tune.space:
            yield f"{file['tune']}: space: {key} changes nothing, as {reason}; take it out."


def _without_effect(settings: Mapping[str, Any], file: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    model, optim = settings["model"], settings["optim"]
    yield "train.epochs", f"every trial lasts its epochs: {settings['tune'].epochs}"
    if model.name != "resnet":
        yield "model.width", f"name: {model.name} of {file['model']} has no width"
    if model.name not in WITH_BACKBONE:
        for key in ("optim.backbone_lr", "train.freeze_epochs"):
            yield key, f"name: {model.name} of {file['model']} has no backbone"
    if optim.name != "sgd":
        yield "optim.momentum", f"name: {optim.name} of {file['optim']} has no momentum"
    if optim.schedule != "cosine":
        yield "optim.warmup_epochs", f"schedule: {optim.schedule} of {file['optim']} has no warm-up"


def mistakes(params: Path, conf: Path) -> list[str]:
    """A sentence for every mistake in a file of choices (params.yaml or a preset) and in the files that it chooses.

    Contradictions between groups are looked for only where each group is right by itself.
    """
    shown = params.relative_to(conf.parent).as_posix() if params.is_relative_to(conf.parent) else str(params)
    try:
        choices = read_yaml(params, shown)
    except UserError as error:
        return [str(error)]
    groups = f"the groups are {', '.join(GROUPS)}"
    found = [f"{shown}: there is no group {key!r}; {groups}." for key in choices if key not in GROUPS]
    settings: dict[str, Any] = {}
    for group in GROUPS:
        try:
            settings[group] = _settings(conf, group, choices, shown)
        except WrongSettings as error:
            found += error.mistakes
        except UserError as error:
            found.append(str(error))
    for what in USAGE:
        try:
            read_usage(conf.parent, what)
        except WrongSettings as error:
            found += error.mistakes
        except UserError as error:
            found.append(str(error))
    return found or list(contradictions(settings, choices))


def refuse_mistakes(params: Path, conf: Path, given: Mapping[str, str]) -> None:
    """Raise all mistakes, if the choices `given` are among those of `params`; a run by hand may differ from it."""
    if not params.is_file():
        return
    try:
        choices = read_yaml(params, params.name)
    except UserError:
        choices = dict(given)  # the mistake is in params.yaml itself
    if given.items() <= choices.items() and (found := mistakes(params, conf)):
        raise WrongSettings(found)


def _settings(conf: Path, group: str, choices: Mapping[str, Any], shown: str) -> Any:
    if group not in choices:
        example = next(iter(known_choices(conf, group)), "CHOICE")
        raise UserError(f"{shown} lacks {group}; it needs a line such as `{group}: {example}`.")
    refuse_unknown_choice(conf, group, choices[group], shown)
    settings = read_settings(conf, group, choices[group])
    _refuse_ambiguous(conf / group / f"{choices[group]}.yaml", f"conf/{group}/{choices[group]}.yaml")
    return settings


def _refuse_ambiguous(file: Path, name: str) -> None:
    """Raise WrongSettings for values that Hydra (YAML 1.1) and DVC (1.2) read differently: 010 is 8 to the former."""
    from omegaconf import OmegaConf  # commands other than `check` do not wait for it

    theirs: Any = OmegaConf.to_container(OmegaConf.load(file))
    ours = read_yaml(file, name)
    differing = [key for key in ours if json.dumps(theirs[key], default=str) != json.dumps(ours[key], default=str)]
    if differing:
        raise WrongSettings(
            [f"{name}: {key} is {theirs[key]!r} to Hydra and {ours[key]!r} to DVC; quote it." for key in differing]
        )


def check(
    allow_other_versions: Annotated[
        bool,
        typer.Option("--allow-other-versions", help="Go on where libraries differ from versions.yaml, with a warning."),
    ] = False,
) -> None:
    """Check params.yaml, the files of conf/ that it chooses, that they fit together, and library versions."""
    root = find_root()
    found, differing = mistakes(root / PARAMS, root / "conf"), other_versions(root)
    if differing and not allow_other_versions:
        hint = "Other versions give other numbers: install with `-c constraints.txt`, or say --allow-other-versions."
        found += [*differing, hint]
    if found:
        raise WrongSettings(found)
    for sentence in differing:
        say(f"mien: {sentence}")
    typer.echo(f"{PARAMS} and the files that it chooses are right.")
