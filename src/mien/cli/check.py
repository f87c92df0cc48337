"""The command `mien check`: validation of params.yaml, conf/ and library versions.

The first stages run the same check: a mistake in the settings of `evaluate` is found before a day of training.
"""

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Final

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
from mien.models.description import FACES, WITH_BACKBONE


def check(
    allow_other_versions: Annotated[
        bool,
        typer.Option("--allow-other-versions", help="Only warn where a library differs from versions.yaml."),
    ] = False,
) -> None:
    """Check params.yaml, the files of conf/ that it chooses, and the library versions."""
    root = find_root()
    found, differing = [*_code_of_another_folder(root), *mistakes(root / PARAMS, root / "conf")], other_versions(root)
    if differing and not allow_other_versions:
        hint = "Other versions give other numbers: install with `-c constraints.txt`, or pass --allow-other-versions."
        found += [*differing, hint]
    if found:
        raise WrongSettings(found)
    for sentence in differing:
        say(f"mien: {sentence}")
    typer.echo(f"{PARAMS} and the files that it chooses are valid.")


def _code_of_another_folder(root: Path) -> Iterator[str]:
    own, running = root / "src" / "mien", Path(__file__).parents[1]
    if own.is_dir() and not own.samefile(running):
        yield (
            f"the environment {sys.prefix} runs the code in {running}, so edits of {own} have no effect: "
            "`make install` makes .venv here; use the programs in .venv/bin."
        )


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
    for name in (*GROUPS, *USAGE):
        try:
            if name in GROUPS:
                settings[name] = _chosen_settings(conf, name, choices, shown)
            else:
                read_usage(conf.parent, name)
        except UserError as error:
            found += _sentences(error)
    if found:
        return found
    files = {group: f"conf/{group}/{choice}.yaml" for group, choice in choices.items()}
    return [sentence for rule in RULES for sentence in rule(settings, files)]


def _chosen_settings(conf: Path, group: str, choices: Mapping[str, Any], shown: str) -> Any:
    if group not in choices:
        example = next(iter(known_choices(conf, group)), "CHOICE")
        raise UserError(f"{shown} lacks {group}; it needs a line such as `{group}: {example}`.")
    refuse_unknown_choice(conf, group, choices[group], shown)
    settings = read_settings(conf, group, choices[group])
    from omegaconf import OmegaConf  # other commands do not wait for it

    name = f"conf/{group}/{choices[group]}.yaml"
    file = conf.parent / name
    hydra: Any = OmegaConf.to_container(OmegaConf.load(file))
    differing = [
        f"{name}: Hydra reads {key} as {hydra[key]!r}, DVC as {value!r}; quote it."  # 010 is 8 in YAML 1.1, 10 in 1.2
        for key, value in read_yaml(file, name).items()
        if json.dumps(hydra[key], default=str) != json.dumps(value, default=str)
    ]
    if differing:
        raise WrongSettings(differing)
    return settings


def _sentences(error: UserError) -> list[str]:
    return error.mistakes if isinstance(error, WrongSettings) else [str(error)]


Settings = Mapping[str, Any]  # each group's dataclass
Files = Mapping[str, str]  # where each group's settings come from, such as conf/optim/adamw.yaml


def _data_set_can_be_read(settings: Settings, files: Files) -> Iterator[str]:
    from mien.sources.source import get_source  # it imports pandas

    try:
        get_source(settings["data"])
    except UserError as error:
        yield from (f"{files['data']}: {sentence}" for sentence in _sentences(error))
    path, watched = settings["data"].path, f"data/{Path(files['data']).stem}"
    if PurePosixPath(path) != PurePosixPath(watched):
        yield f"{files['data']}: path must be {watched}, the folder that DVC tracks, not {path}."


def _crop_fits_the_network(settings: Settings, files: Files) -> Iterator[str]:
    model, crop = settings["model"], settings["crop"]
    wanted = FACES[model.name]
    if wanted.size not in (None, crop.size) or wanted.colour not in (None, crop.colour):
        size = f"{wanted.size} pixels" if wanted.size else "any size"
        yield (
            f"{files['model']}: name: {model.name} takes faces of {size} in {wanted.colour or 'any colour'}, and "
            f"{files['crop']} says size: {crop.size}, colour: {crop.colour}; choose a crop that fits."
        )


def _only_a_backbone_is_frozen(settings: Settings, files: Files) -> Iterator[str]:
    model, frozen, share = settings["model"], settings["train"].freeze_epochs, settings["optim"].backbone_lr
    if model.name in WITH_BACKBONE:
        return
    none = f"and {model.name} of {files['model']} has none; the networks with one are {', '.join(WITH_BACKBONE)}."
    if frozen:
        yield f"{files['train']}: freeze_epochs: {frozen} freezes a backbone, {none}"
    if share != 1:
        yield f"{files['optim']}: backbone_lr: {share:g} is for a backbone, {none}"


def _warm_up_ends_before_the_training(settings: Settings, files: Files) -> Iterator[str]:
    optim, tune = settings["optim"], settings["tune"]
    if not optim.warmup_epochs:
        return
    warm_up = f"{files['optim']}: warmup_epochs: {optim.warmup_epochs:g}"
    if optim.schedule != "cosine":
        yield f"{warm_up} belongs to schedule: cosine; with schedule: {optim.schedule} set warmup_epochs: 0.0."
    lengths = {"train": settings["train"].epochs} | ({"tune": tune.epochs} if tune.trials else {})
    shortest = min(lengths, key=lengths.__getitem__)
    if optim.warmup_epochs >= lengths[shortest]:
        yield f"{warm_up} must be less than the epochs: {lengths[shortest]} of {files[shortest]}."


def _search_is_valid(settings: Settings, files: Files) -> Iterator[str]:
    from mien.search.space import search_space
    from mien.training.recipe import Recipe

    tune, model, optim = settings["tune"], settings["model"], settings["optim"]
    if not tune.trials:
        return
    try:
        search_space(tune.space, Recipe(model, settings["augment"], optim, settings["train"]))
    except UserError as error:
        yield str(error).replace("conf/tune:", f"{files['tune']}:", 1)
    network, schedule = f"name: {model.name} of {files['model']}", f"schedule: {optim.schedule} of {files['optim']}"
    backbone = model.name in WITH_BACKBONE
    without_effect = (
        ("train.epochs", True, f"every trial lasts its epochs: {tune.epochs}"),
        ("model.width", model.name != "resnet", f"{network} has no width"),
        ("optim.backbone_lr", not backbone, f"{network} has no backbone"),
        ("train.freeze_epochs", not backbone, f"{network} has no backbone"),
        ("optim.momentum", optim.name != "sgd", f"name: {optim.name} of {files['optim']} has no momentum"),
        ("optim.warmup_epochs", optim.schedule != "cosine", f"{schedule} has no warm-up"),
    )
    for key, holds, reason in without_effect:
        if key in tune.space and holds:
            yield f"{files['tune']}: space: {key} has no effect, because {reason}; remove it."


RULES: Final = (
    _data_set_can_be_read,
    _crop_fits_the_network,
    _only_a_backbone_is_frozen,
    _warm_up_ends_before_the_training,
    _search_is_valid,
)
