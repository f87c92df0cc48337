"""What two groups say that cannot both hold, found before any work is done."""

from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from mien.configuration.schemas import refuse_other_kinds
from mien.errors import UserError
from mien.models.settings import FACES, WITH_BACKBONE


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
    from mien.sources.catalogue import get_source, source_class

    data = settings["data"]
    try:
        if kind := source_class(data.source):
            refuse_other_kinds(data.options, kind)
        get_source(data)
    except UserError as error:
        yield f"{file['data']}: {error}"
    except ValueError as error:
        yield f"{file['data']}: options: {error}."
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
