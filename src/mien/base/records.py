"""Files in which one stage or version of mien tells another what it did: read, and refused where they are otherwise.

They carry no version number: a record of an older mien lacks a key, one of a newer mien has a key too many, and either
is named.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

from mien.base.errors import UserError

T = TypeVar("T")
KINDS: Final = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    dict: "a mapping",
    list: "a list",
}


def read_record(file: Path, keys: Mapping[str, type], remedy: str, *, closed: bool = False) -> dict[str, Any]:
    """The mapping in a JSON or YAML file.

    Args:
        file: what to read; its suffix says which of the two it is.
        keys: the keys that are needed, each with its kind; `object` is any.
        remedy: what would be right, as the end of a sentence, such as "`dvc repro train` writes it anew".
        closed: whether another key is refused too.

    Raises:
        UserError: there is no such file, or it holds something else; file and key are named.
    """
    try:
        text = file.read_text(encoding="utf-8")
        content = _from_yaml(text) if file.suffix == ".yaml" else json.loads(text)
    except FileNotFoundError as error:
        raise UserError(f"{file} is missing; {remedy}.") from error
    except ValueError as error:
        raise UserError(f"{file} is damaged ({_first_line(error)}); {remedy}.") from error
    if not isinstance(content, dict):
        raise UserError(f"{file} must hold a mapping, and holds {_shown(content)}; {remedy}.")
    for key, kind in keys.items():
        if key not in content:
            raise UserError(f"{file} lacks {key}, as another version of mien or a person wrote it; {remedy}.")
        if not _is(content[key], kind):
            raise UserError(f"{file}: {key} must be {KINDS[kind]}, not {_shown(content[key])}; {remedy}.")
    if closed and (unknown := [key for key in content if key not in keys]):
        raise UserError(
            f"{file} has {unknown[0]}, which this version of mien does not know: a newer one wrote it; "
            f"install that one, or {remedy}."
        )
    return content


def opened(file: Path, reader: Callable[[Path], T], remedy: str) -> T:
    """What `reader` makes of a table or an array that a stage wrote.

    Raises:
        UserError: there is no such file, or it holds something else.
    """
    try:
        return reader(file)
    except FileNotFoundError as error:
        raise UserError(f"{file} is missing; {remedy}.") from error
    except (ValueError, EOFError) as error:
        raise UserError(f"{file} is damaged ({_first_line(error)}); {remedy}.") from error


def _from_yaml(text: str) -> Any:
    import yaml  # `mien --help` does not wait for it

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error


def _is(value: Any, kind: type) -> bool:
    if isinstance(value, bool):
        return kind in (bool, object)
    return isinstance(value, int | float if kind is float else kind)


def _shown(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0].rstrip(".")
