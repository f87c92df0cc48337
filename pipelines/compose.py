"""Hydra composition of a stage's configuration, from exactly the groups that the stage uses.

A stage names its groups in `STAGE_GROUPS`, `dvc.yaml` passes it exactly these choices and depends on
exactly these files, and a test holds the two together.
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mien.base.errors import UserError, WrongSettings
from mien.base.settings import GROUPS, build_settings, group_class, known_choices, read_settings, refuse_unknown_choice

if TYPE_CHECKING:
    from mien.crop.cropping import CropConfig
    from mien.evaluation.scoring import EvaluateConfig
    from mien.models.description import ModelConfig
    from mien.models.weights import Parents
    from mien.registry.gate import RegisterConfig
    from mien.search.space import TuneConfig
    from mien.sources.source import DataConfig
    from mien.split.parts import SplitConfig
    from mien.training.recipe import AugmentConfig, OptimConfig, TrainConfig, TrainerConfig

CONF: Final = Path(__file__).resolve().parent.parent / "conf"

STAGE_GROUPS: Final = {
    "ingest": ("data",),
    "crop": ("data", "crop"),
    "split": ("split",),
    "tune": ("data", "model", "augment", "optim", "train", "trainer", "tune"),
    "train": ("data", "model", "augment", "optim", "train", "trainer"),
    "evaluate": ("data", "evaluate"),
    "report": ("data",),
    "register": ("data", "register"),
}


class Config:
    """The groups that a stage composed, each a checked dataclass; asking for another is an AttributeError."""

    if TYPE_CHECKING:
        data: DataConfig
        crop: CropConfig
        split: SplitConfig
        model: ModelConfig
        augment: AugmentConfig
        optim: OptimConfig
        train: TrainConfig
        trainer: TrainerConfig
        tune: TuneConfig
        evaluate: EvaluateConfig
        register: RegisterConfig

    def __init__(self, groups: dict[str, Any], choices: dict[str, str]) -> None:
        self.groups = groups
        self.choices = choices  # {"data": "sample", ...}
        self.parents: Parents = {}  # the trained models that the recipe names, which `__main__` looks up

    def __getattr__(self, group: str) -> Any:
        """The group's dataclass."""
        if group not in self.groups:
            raise AttributeError(f"this stage composes {', '.join(self.groups)}, not {group}: see STAGE_GROUPS")
        return self.groups[group]


def compose(stage: str, argv: list[str] | None = None, conf: Path = CONF) -> Config:
    """The configuration of one stage from `group=choice` and `group.key=value` arguments.

    Raises:
        UserError: an unknown group, choice or key, or values of the wrong kind or out of range; the message
            names every file and key.
    """
    import hydra
    import yaml
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    arguments = sys.argv[1:] if argv is None else argv
    groups = STAGE_GROUPS[stage]
    choices = stage_choices(stage, arguments, conf)
    unused = [f"~{group}" for group in GROUPS if group not in groups]
    try:
        with hydra.initialize_config_dir(str(conf), version_base="1.3"):
            composed = hydra.compose("config", overrides=[*unused, *arguments])
        content: Any = OmegaConf.to_container(composed)
    except (HydraException, OmegaConfBaseException, yaml.YAMLError, ValueError, OSError) as error:
        for group, choice in choices.items():
            read_settings(conf, group, choice)  # says better what is wrong with a file
        raise UserError(f"{stage}: {_first_line(error)} Known keys are in {_files(choices, conf)}.") from error
    settings, mistakes = {}, []
    for group in groups:
        try:
            settings[group] = build_settings(
                group_class(group), content[group] or {}, f"conf/{group}/{choices[group]}.yaml"
            )
        except WrongSettings as error:
            mistakes += error.mistakes
    if mistakes:
        raise WrongSettings(mistakes)
    return Config(settings, choices)


def stage_choices(stage: str, arguments: list[str], conf: Path) -> dict[str, str]:
    """The file chosen in each of the stage's groups, from `group=choice` arguments.

    Raises:
        UserError: a group is missing or is not one of the stage's, or there is no such choice.
    """
    if removed := [a for a in arguments if a.startswith("~")]:
        raise UserError(f"{stage} needs all its groups and keys, and {removed[0]} takes one away.")
    given = dict(a.split("=", 1) for a in arguments if "=" in a and "." not in a.split("=", 1)[0])
    if unknown := sorted(set(given) - set(STAGE_GROUPS[stage])):
        raise UserError(f"{stage} has no group {unknown[0]!r}; its groups are {', '.join(STAGE_GROUPS[stage])}.")
    for group in STAGE_GROUPS[stage]:
        if group not in given:
            known = ", ".join(known_choices(conf, group))
            raise UserError(f"{stage} needs {group}=CHOICE; the choices in conf/{group} are {known}.")
        refuse_unknown_choice(conf, group, given[group], stage)
    return {group: given[group] for group in STAGE_GROUPS[stage]}


def _files(choices: dict[str, str], conf: Path) -> str:
    return ", ".join(f"{conf.name}/{group}/{choice}.yaml" for group, choice in choices.items())


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0].rstrip(".") + "."
