"""Reading `conf/`: the groups, their files and their checked settings.

PyYAML and Hydra follow YAML 1.1, DVC follows 1.2: `yes`, `1_0`, `010` and `1:30` are a boolean and numbers to
the former and text to the latter. Here such a value is `Ambiguous`, and who needs one kind refuses it.
"""

import dataclasses
import math
import re
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Final, get_type_hints

import yaml

from mien.base.errors import UserError

TEXT: Final = "tag:yaml.org,2002:str"
INT: Final = re.compile(r"[-+]?(0|[1-9][0-9]*)", re.ASCII)
FLOAT: Final = re.compile(
    r"[-+]?(\.[0-9]+|[0-9]+\.[0-9]*|[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+|\.[0-9]+[eE][-+]?[0-9]+|\.(inf|Inf|INF))"
    r"|\.(nan|NaN|NAN)",
    re.ASCII,
)


class Ambiguous(str):
    """Unquoted text that other programs read as a number, a boolean or a date."""


class _Loader(yaml.SafeLoader):
    """YAML 1.2's core schema without octal and hexadecimal numbers, and without repeated keys."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """A mapping in which no key stands twice."""
        seen: set[str] = set()
        for key, _ in node.value:
            if str(key.value) in seen:
                problem = f"{key.value} stands there twice, and should once"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)


def _text(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> str:
    text = str(loader.construct_scalar(node))
    older = [tag for tag, form in yaml.SafeLoader.yaml_implicit_resolvers.get(text[:1], []) if form.match(text)]
    return Ambiguous(text) if node.style is None and older else text


_Loader.yaml_implicit_resolvers = {}
for kind, form in (
    ("bool", re.compile(r"(true|True|TRUE|false|False|FALSE)$")),
    ("null", re.compile(r"(~|null|Null|NULL|)$")),
    ("int", re.compile(r"[-+]?(0|[1-9][0-9]*)$")),
    ("float", FLOAT),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{kind}", form, None)
_Loader.add_constructor("tag:yaml.org,2002:str", _text)


def read_plain_yaml(file: Path, name: str) -> dict[str, Any]:
    """The lines `key: value` of a file; numbers are int or float, true and false bool, nothing is None.

    Args:
        file: what to read.
        name: what to call it in a message, such as `conf/optim/adamw.yaml`.

    Raises:
        UserError: there is no such file, it cannot be read, it is no YAML, it is empty or has another form.
    """
    text = _read(file, name)
    try:
        content = yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        raise UserError(f"{name}{_place(error)}; each line should be `key: value`.") from error
    if content is None:
        raise UserError(f"{name} is empty; it must hold lines of `key: value`.")
    if not isinstance(content, dict):
        raise UserError(f"{name} must hold lines of `key: value`, and holds {_kind(content)}.")
    return content


def _read(file: Path, name: str) -> str:
    if file.is_dir():
        raise UserError(f"{name} is a folder, and must be a file with lines of `key: value`.")
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise UserError(f"there is no {name}; it must be a file with lines of `key: value`.") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{name} is not UTF-8 text (byte {error.start}); save it as UTF-8.") from error
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UserError(f"{name} cannot be read ({reason}); see that it is a file that you may read.") from error
    if text.startswith("\ufeff"):
        raise UserError(f"{name} begins with a byte order mark; save it as UTF-8 without one.")
    return text


def _place(error: yaml.YAMLError) -> str:
    """Where a file is no YAML, and why, in YAML's own words."""
    mark = getattr(error, "problem_mark", None)
    reason = getattr(error, "problem", None) or str(error).splitlines()[0]
    return f"{f', line {mark.line + 1}' if mark else ''} is no YAML as it should be: {reason}"


def _kind(content: Any) -> str:
    return "a list" if isinstance(content, list) else f"{content!r} alone"


SCHEMAS: Final = {
    "data": ("mien.sources.source", "DataConfig"),
    "crop": ("mien.crop.selection", "CropConfig"),
    "split": ("mien.split.near_copies", "SplitConfig"),
    "model": ("mien.models.spec", "ModelConfig"),
    "augment": ("mien.training.recipe", "AugmentConfig"),
    "optim": ("mien.training.recipe", "OptimConfig"),
    "train": ("mien.training.recipe", "TrainConfig"),
    "tune": ("mien.search.space", "TuneConfig"),
    "evaluate": ("mien.evaluation.scoring", "EvaluateConfig"),
    "register": ("mien.registry.gate", "RegisterConfig"),
}
# How a model is used, each one file in `conf/`: no stage depends on it, so params.yaml does not choose it.
OF_USE: Final = {
    "predict": ("mien.inference.detectors", "PredictConfig"),
    "app": ("mien.app.limits", "AppConfig"),
}
# The name of a choice stands in commands of dvc.yaml and in paths.
CHOICE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*", re.ASCII)
WANTED: Final = {
    int: "a whole number in the digits 0 to 9",
    float: "a number in the digits 0 to 9, such as 0.5",
    bool: "true or false",
    str: "text",
}


def known_choices(conf: Path, group: str) -> list[str]:
    """The choices of a group: the names of its files."""
    return sorted(file.stem for file in (conf / group).glob("*.yaml"))


def refuse_unknown_choice(conf: Path, group: str, choice: Any, where: str) -> None:
    """Raise a UserError unless `conf/GROUP/CHOICE.yaml` exists; `where` says who chose it."""
    known = ", ".join(known_choices(conf, group))
    if not isinstance(choice, str):
        shown = "nothing" if choice is None else f"{choice!r}, which is no text"
        raise UserError(f"{where}: {group} is {shown}; the choices are {known}.")
    if isinstance(choice, Ambiguous):
        raise UserError(f"{where}: {group}: {choice} means true, false or a number to some; the choices are {known}.")
    if not CHOICE.fullmatch(choice):
        raise UserError(
            f"{where}: {group}: {choice!r} is no name of letters, digits, '_', '-' and '.'; the choices are {known}."
        )
    if choice not in known_choices(conf, group):
        raise UserError(f"{where}: {group}: {choice}: there is no conf/{group}/{choice}.yaml; the choices are {known}.")


def read_settings(conf: Path, group: str, choice: str) -> Any:
    """The settings in the file of a choice.

    Raises:
        UserError: the file cannot be read, lacks a key, or holds what `settings_of` refuses.
    """
    name = f"conf/{group}/{choice}.yaml"
    return settings_of(group, read_plain_yaml(conf / group / f"{choice}.yaml", name), name)


def settings_of_use(root: Path, what: str) -> Any:
    """The settings in `conf/WHAT.yaml` of a checkout; where there is no such file, the defaults.

    Raises:
        UserError: the file cannot be read, or holds what `settings_of` refuses.
    """
    name = f"conf/{what}.yaml"
    module, schema = OF_USE[what]
    content = read_plain_yaml(root / name, name) if (root / name).exists() else {}
    return _built(what, getattr(import_module(module), schema), content, name, all_needed=False)


def settings_of(group: str, content: Mapping[str, Any], name: str) -> Any:
    """A group's values as its dataclass.

    Raises:
        UserError: a key is unknown or missing, or a value is of the wrong kind or out of range; the file and
            the key are named.
    """
    module, schema = SCHEMAS[group]
    kind = getattr(import_module(module), schema)
    return _built(group, kind, content, name, all_needed=True)


def _built(group: str, kind: Any, content: Mapping[str, Any], name: str, *, all_needed: bool) -> Any:
    fields = {field.name: field for field in dataclasses.fields(kind)}
    if unknown := [key for key in content if key not in fields]:
        raise UserError(f"{name}: there is no key {unknown[0]!r}; the keys of {group} are {', '.join(fields)}.")
    for key, field in fields.items():
        if all_needed and key not in content and not field.metadata.get("optional"):
            raise UserError(f"{name} lacks {key}; {_example(field)}")
    hints = get_type_hints(kind)
    try:
        return kind(**{key: _typed(key, value, hints[key]) for key, value in content.items()})
    except ValueError as error:
        raise UserError(f"{name}: {str(error).rstrip('.')}.") from error


def refuse_other_kinds(content: Mapping[str, Any], kind: Any) -> None:
    """Raise ValueError where a plain value is of another kind than that field of the dataclass `kind`."""
    hints = get_type_hints(kind)
    for key, value in content.items():
        if hints.get(key) in WANTED:
            _typed(key, value, hints[key])


def _example(field: dataclasses.Field[Any]) -> str:
    value = field.default
    if value is dataclasses.MISSING:
        return f"it needs a line `{field.name}: ...`."
    shown = str(value).lower() if isinstance(value, bool) else value
    return f"it needs a line such as `{field.name}: {shown}`."


def _typed(key: str, value: Any, kind: Any) -> Any:
    """The value, if it is of its key's kind: no text for a number, no boolean for one either, nothing odd."""
    if kind is str:
        return _as_text(key, value)
    if kind not in WANTED:  # such as a search's space, which is checked where it is used
        if not isinstance(value, Mapping):
            raise ValueError(f"{key} must hold lines of its own, `name: value`, not {_shown(value)}")
        return dict(value)
    allowed = (int, float) if kind is float else (kind,)
    if not isinstance(value, allowed) or (isinstance(value, bool) and kind is not bool):
        raise ValueError(f"{key} must be {WANTED[kind]}, not {_shown(value)}")
    if kind is float and not math.isfinite(value):
        raise ValueError(f"{key} must be a finite number, not {value}")
    if key.endswith("seed") and not 0 <= value < 2**32:  # no random generator takes another
        raise ValueError(f"{key} must be from 0 to 4294967295, not {value}")
    return float(value) if kind is float else value


def _as_text(key: str, value: Any) -> str:
    if isinstance(value, Ambiguous):
        raise ValueError(f'{key} must be in quotes to be text for every program: "{value}"')
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)  # `precision: 32` has one meaning
    if not isinstance(value, str):
        raise ValueError(f"{key} must be text, not {_shown(value)}")
    if "${" in value:
        raise ValueError(f"{key} must be plain text, as DVC does not see what {value} stands for")
    return value


def _shown(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, Ambiguous):
        return str(value)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f"the text {value!r}"
    return f"{value!r}"
