"""Compose a stage's configuration with Hydra from exactly the groups that the stage uses, and check it.

A stage names its groups in `STAGE_GROUPS`, `dvc.yaml` passes it exactly these choices and depends on
exactly these files, and a test holds the two together.
"""

import dataclasses
import errno
import math
import os
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mien.errors import UserError

if TYPE_CHECKING:
    from mien.evaluation.settings import EvaluateConfig
    from mien.faces.settings import CropConfig, SplitConfig
    from mien.models.settings import ModelConfig
    from mien.registry.settings import RegisterConfig
    from mien.search.settings import TuneConfig
    from mien.sources.settings import DataConfig
    from mien.training.settings import AugmentConfig, OptimConfig, TrainConfig

CONF: Final = Path(__file__).resolve().parent.parent / "conf"

SCHEMAS: Final = {
    "data": ("mien.sources.settings", "DataConfig"),
    "crop": ("mien.faces.settings", "CropConfig"),
    "split": ("mien.faces.settings", "SplitConfig"),
    "model": ("mien.models.settings", "ModelConfig"),
    "augment": ("mien.training.settings", "AugmentConfig"),
    "optim": ("mien.training.settings", "OptimConfig"),
    "train": ("mien.training.settings", "TrainConfig"),
    "tune": ("mien.search.settings", "TuneConfig"),
    "evaluate": ("mien.evaluation.settings", "EvaluateConfig"),
    "register": ("mien.registry.settings", "RegisterConfig"),
}

# What a disk may refuse, and what a person can do about it.
REFUSED: Final = {
    errno.ENOSPC: "make room there",
    errno.EDQUOT: "make room there",
    errno.EROFS: "mount it writable",
    errno.EACCES: "allow yourself to read and write there",
    errno.EPERM: "allow yourself to read and write there",
    errno.EXDEV: "let build/ and reports/ lie on one disk",
}

STAGE_GROUPS: Final = {
    "ingest": ("data",),
    "crop": ("data", "crop"),
    "split": ("split",),
    "tune": ("data", "model", "augment", "optim", "train", "tune"),
    "train": ("data", "model", "augment", "optim", "train"),
    "evaluate": ("evaluate",),
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
        tune: TuneConfig
        evaluate: EvaluateConfig
        register: RegisterConfig

    def __init__(self, groups: dict[str, Any], choices: dict[str, str]) -> None:
        self.groups = groups
        self.choices = choices  # {"data": "sample", ...}

    def __getattr__(self, group: str) -> Any:
        """The group's dataclass."""
        if group not in self.groups:
            raise AttributeError(f"this stage composes {', '.join(self.groups)}, not {group}: see STAGE_GROUPS")
        return self.groups[group]


def compose(stage: str, argv: list[str] | None = None, conf: Path = CONF) -> Config:
    """The configuration of one stage from `group=choice` and `group.key=value` arguments.

    Raises:
        UserError: an unknown group, choice or key, a value of the wrong type or out of range; the message
            names the key and the file.
    """
    import hydra
    from hydra.errors import HydraException
    from yaml import YAMLError

    arguments = sys.argv[1:] if argv is None else argv
    groups = STAGE_GROUPS[stage]
    choices = _choices(stage, arguments, conf)
    unused = [f"~{group}" for group in SCHEMAS if group not in groups]
    try:
        with hydra.initialize_config_dir(str(conf), version_base="1.3"):
            composed = hydra.compose("config", overrides=[*unused, *arguments])
    except HydraException as error:
        raise UserError(f"{stage}: {_first_line(error)} Known keys stand in {_files(choices, conf)}.") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{stage}: one of {_files(choices, conf)} is not UTF-8 text.") from error
    except YAMLError as error:
        broken = " ".join(str(error).split())
        raise UserError(f"{stage}: a file of conf/ is no YAML: {broken}.") from error
    return Config({g: _checked(g, choices[g], composed[g], conf) for g in groups}, choices)


def _choices(stage: str, arguments: list[str], conf: Path) -> dict[str, str]:
    """The file chosen in each of the stage's groups, with a sentence for one that does not exist."""
    if removed := [a for a in arguments if a.startswith("~")]:
        raise UserError(f"{stage} needs all its groups and keys, and {removed[0]} takes one away.")
    given = dict(a.split("=", 1) for a in arguments if "=" in a and "." not in a.split("=", 1)[0])
    if unknown := sorted(set(given) - set(STAGE_GROUPS[stage])):
        raise UserError(f"{stage} has no group {unknown[0]!r}; its groups are {', '.join(STAGE_GROUPS[stage])}.")
    for group in STAGE_GROUPS[stage]:
        known = sorted(p.stem for p in (conf / group).glob("*.yaml"))
        if group not in given:
            raise UserError(f"{stage} needs {group}=CHOICE; the choices in conf/{group} are {', '.join(known)}.")
        if given[group] not in known:
            raise UserError(
                f"{group}: {given[group]}: there is no conf/{group}/{given[group]}.yaml; "
                f"the choices are {', '.join(known)}."
            )
    return {group: given[group] for group in STAGE_GROUPS[stage]}


def _checked(group: str, choice: str, node: Any, conf: Path) -> Any:
    """One group as its dataclass; a key that the schema lacks, or a wrong value, names the file."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    module, name = SCHEMAS[group]
    schema = OmegaConf.structured(getattr(import_module(module), name))
    file = f"conf/{group}/{choice}.yaml"
    try:
        settings = OmegaConf.to_object(OmegaConf.merge(schema, node))
        _refuse_odd_numbers(settings)
        return settings
    except (OmegaConfBaseException, ValueError) as error:
        known = ", ".join(str(key) for key in schema)
        raise UserError(f"{file}: {_first_line(error)} The keys of {group} are {known}.") from error


def _refuse_odd_numbers(settings: Any) -> None:
    """What holds in every group: YAML also knows .nan and .inf, and no random generator takes a seed below 0."""
    for key in (field.name for field in dataclasses.fields(settings)):
        value = getattr(settings, key)
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{key} must be a finite number, not {value}")
        if key.endswith("seed") and not 0 <= value < 2**32:
            raise ValueError(f"{key} must be from 0 to 4294967295, not {value}")


def _files(choices: dict[str, str], conf: Path) -> str:
    return ", ".join(f"{conf.name}/{group}/{choice}.yaml" for group, choice in choices.items())


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0].rstrip(".") + "."


def run_stage(main: Callable[[], None]) -> None:
    """Run a stage as a command: what a user can mend ends in one sentence and exit code 1."""
    try:
        main()
    except UserError as error:
        sys.exit(f"mien: {error}")
    except OSError as error:
        missing = str(error.filename or error)  # pyarrow gives its name as the message
        if isinstance(error, FileNotFoundError) and missing.startswith("build/"):
            sys.exit(f"mien: {missing} is missing; `dvc repro` runs the stage that makes it.")
        if error.errno not in REFUSED:
            raise
        where = error.filename2 or error.filename or Path.cwd()
        sys.exit(f"mien: {where}: {os.strerror(error.errno).lower()}; {REFUSED[error.errno]}, then run again.")
