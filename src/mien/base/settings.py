"""Settings: the files of `conf/` as frozen dataclasses.

A dataclass stands beside the code that uses it, and its annotations are its constraints, such as
`lr: Annotated[float, Gt(0)]`. Stages get their values from Hydra (pipelines/compose.py), commands from the files.
`mien check` refuses a value that Hydra and DVC read differently.
"""

import dataclasses
import difflib
import json
import re
from collections.abc import Iterable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar, get_args, get_type_hints

from annotated_types import Ge, Gt, Le, Lt

from mien.base.errors import UserError, WrongSettings

T = TypeVar("T")

# The `__pydantic_config__` of every dataclass of settings: `TypeAdapter` takes no configuration for a dataclass.
STRICT: Final = {"extra": "forbid", "strict": True, "allow_inf_nan": False}

Count = Annotated[int, Ge(0)]
AtLeastOne = Annotated[int, Ge(1)]
Positive = Annotated[float, Gt(0)]
Share = Annotated[float, Ge(0), Le(1)]
BelowOne = Annotated[float, Ge(0), Lt(1)]
Seed = Annotated[int, Ge(0), Le(2**32 - 1)]  # no random generator takes another

GROUPS: Final = {
    "data": ("mien.sources.source", "DataConfig"),
    "crop": ("mien.crop.cropping", "CropConfig"),
    "split": ("mien.split.parts", "SplitConfig"),
    "model": ("mien.models.description", "ModelConfig"),
    "augment": ("mien.training.recipe", "AugmentConfig"),
    "optim": ("mien.training.recipe", "OptimConfig"),
    "train": ("mien.training.recipe", "TrainConfig"),
    "trainer": ("mien.training.recipe", "TrainerConfig"),
    "tune": ("mien.search.space", "TuneConfig"),
    "evaluate": ("mien.evaluation.scoring", "EvaluateConfig"),
    "register": ("mien.registry.gate", "RegisterConfig"),
}
# How a model is used: one file each in `conf/`. No stage depends on it, so params.yaml does not choose it.
USAGE: Final = {"predict": ("mien.sources.detect", "PredictConfig"), "app": ("mien.app.limits", "AppConfig")}
# The name of a choice is part of commands in dvc.yaml and of paths.
CHOICE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*", re.ASCII)


def group_class(group: str) -> Any:
    """The dataclass of a group of `conf/`, or of a usage."""
    module, name = (GROUPS | USAGE)[group]
    return getattr(import_module(module), name)


def read_settings(conf: Path, group: str, choice: str) -> Any:
    """The settings in `conf/GROUP/CHOICE.yaml`; a UserError as of `read_yaml` and `build_settings`."""
    name = f"conf/{group}/{choice}.yaml"
    return build_settings(group_class(group), read_yaml(conf / group / f"{choice}.yaml", name), name)


def read_usage(root: Path, what: str) -> Any:
    """The settings in `conf/WHAT.yaml`, defaults where no such file or line is; errors as of `read_settings`."""
    name = f"conf/{what}.yaml"
    content = read_yaml(root / name, name) if (root / name).exists() else {}
    return build_settings(group_class(what), content, name, complete=False)


def build_settings(kind: type[T], content: Mapping[str, Any], name: str, *, complete: bool = True) -> T:
    """Values, as YAML has them, as the dataclass `kind`, checked.

    `name` is what a message calls their origin, such as `conf/optim/adamw.yaml`. `complete` asks for every field that
    is not marked optional. WrongSettings names all keys that are unknown or missing, and all wrong values.
    """
    from pydantic import TypeAdapter, ValidationError  # commands without settings do not wait for it

    fields: dict[str, dataclasses.Field[Any]] = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    hints = get_type_hints(kind)
    keys = f"the keys are {', '.join(fields)}" if fields else "it takes none"
    unknown = [key for key in content if key not in fields]
    mistakes = [f"{name}: there is no key {key!r}{near_name(str(key), fields)}; {keys}." for key in unknown]
    if complete:
        for absent in [f for key, f in fields.items() if key not in content and not f.metadata.get("optional")]:
            example = "..." if absent.default is dataclasses.MISSING else json.dumps(absent.default).strip('"')
            mistakes.append(f"{name} lacks {absent.name}; it needs a line such as `{absent.name}: {example}`.")
    # A number that is one of a field's choices is meant as the text: `precision: 32`.
    known = {k: str(v) if str(v) in get_args(hints[k]) else v for k, v in content.items() if k in fields}
    try:
        # JSON, because a strict dataclass takes no mapping from Python.
        built = TypeAdapter(kind).validate_json(json.dumps(known, default=str), strict=True)
    except ValidationError as error:
        found = error.errors(include_url=False)
        told = [_sentence(one) for one in found if not (one["type"] == "missing" and complete)]
        wrong = [f"{name}: {line.rstrip('.')}." for sentences in told for line in sentences.splitlines()]
        raise WrongSettings(mistakes + wrong) from error
    if mistakes:
        raise WrongSettings(mistakes)
    return built


def check_settings(settings: Any) -> None:
    """Check settings that were built in Python; a ValueError says what the first wrong value must be."""
    try:
        build_settings(type(settings), dataclasses.asdict(settings), "settings")
    except WrongSettings as error:
        raise ValueError(error.mistakes[0].removeprefix("settings: ")) from error


def refuse(*mistakes: str) -> None:
    """Raise a ValueError of all that is wrong, for a `__post_init__`; an empty text is no mistake."""
    if any(mistakes):
        raise ValueError("\n".join(filter(None, mistakes)))


def known_choices(conf: Path, group: str) -> list[str]:
    """The choices of a group: the names of its files."""
    return sorted(file.stem for file in (conf / group).glob("*.yaml"))


def refuse_unknown_choice(conf: Path, group: str, choice: Any, where: str) -> None:
    """Raise a UserError unless `conf/GROUP/CHOICE.yaml` exists; `where` says who chose it."""
    known = known_choices(conf, group)
    choices = f"the choices are {', '.join(known)}"
    if not isinstance(choice, str):
        raise UserError(f"{where}: {group} must be the name of a choice, not {shown(choice)}; {choices}.")
    if not CHOICE.fullmatch(choice):
        raise UserError(f"{where}: {group}: {choice!r} may have only letters, digits, '_', '-' and '.'; {choices}.")
    if choice not in known:
        key = where if where == f"--{group}" else f"{where}: {group}"
        raise UserError(f"{key}: there is no conf/{group}/{choice}.yaml{near_name(choice, known)}; {choices}.")


def read_yaml(file: Path, name: str = "") -> dict[Any, Any]:
    """The mapping in a YAML 1.2 file, as DVC reads it; else a UserError, which names it by `name` or its path."""
    from ruamel.yaml import YAML  # commands that read no YAML do not wait for it
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    name = name or str(file)
    wanted = "a file with lines of `key: value`"
    try:
        text = file.read_text(encoding="utf-8")
        content = YAML(typ="safe").load(text)
    except UnicodeDecodeError as error:
        raise UserError(f"{name} is not UTF-8 text (byte {error.start}); save it as UTF-8.") from error
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UserError(f"{name} cannot be read ({reason}); it must be {wanted}.") from error
    except YAMLError as error:
        mark = error.problem_mark if isinstance(error, MarkedYAMLError) else None
        reason = str((isinstance(error, MarkedYAMLError) and error.problem) or error).splitlines()[0]
        line = f", line {mark.line + 1}" if mark else ""
        raise UserError(f"{name}{line} is not valid YAML ({reason}); each line must be `key: value`.") from error
    if text.startswith("\ufeff"):
        raise UserError(f"{name} begins with a byte order mark; save it as UTF-8 without one.")
    if not isinstance(content, dict):
        raise UserError(f"{name} must hold lines of `key: value`, not {shown(content)}.")
    return content


def _sentence(error: Mapping[str, Any]) -> str:
    """What is wrong with one value, without the full stop; a line each where `refuse` found several."""
    key = ".".join(str(part) for part in error["loc"] if "[" not in str(part))  # such as `list[str]` in a union
    if error["type"] == "value_error":  # of `__post_init__`
        return str(error["ctx"]["error"])
    if error["type"] == "unexpected_keyword_argument":
        within, _, unknown = key.rpartition(".")
        return f"{within}: there is no key {unknown!r}"
    wanted = error["msg"].removeprefix("Input should be ").replace("array", "list")
    if error["type"] in ("dict_type", "mapping_type", "dataclass_type"):
        wanted = "lines of `name: value`"
    near = near_name(str(error["input"]), re.findall(r"'([^']+)'", wanted)) if error["type"] == "literal_error" else ""
    text = "the text " if isinstance(error["input"], str) and error["type"] != "literal_error" else ""
    return f"{key} must be {wanted}, not {text}{shown(error['input'])}{near}"


def near_name(word: str, known: Iterable[str]) -> str:
    """The known word that was probably meant, in brackets."""
    guess = difflib.get_close_matches(word, list(known), 1)
    return f" (did you mean {guess[0]}?)" if guess else ""


def shown(value: Any) -> str:
    """A wrong value as a message quotes it, its beginning where it is long."""
    text = repr(value) if isinstance(value, str) else "nothing" if value is None else json.dumps(value, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."
