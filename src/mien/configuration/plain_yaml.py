"""YAML files of `key: value` lines, read so that every program which reads them sees the same values.

PyYAML and Hydra follow YAML 1.1, DVC follows 1.2: `yes`, `1_0`, `010` and `1:30` are a boolean and numbers to
the former and text to the latter. Here such a value is `Ambiguous`, and who needs one kind refuses it.
"""

import re
from pathlib import Path
from typing import Any, Final

import yaml

from mien.errors import UserError

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
