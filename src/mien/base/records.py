"""Records: small JSON and YAML files passed between stages and between versions of mien.

They carry no version number: a record of an older mien lacks a key, one of a newer mien has a key too many, and either
is named.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

from mien.base.errors import UserError
from mien.base.settings import read_yaml, shown

T = TypeVar("T")
KINDS: Final = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    dict: "a mapping",
    list: "a list",
}


def rerun(stage: str) -> str:
    """The remedy where an out of that stage is missing or damaged, as the end of a sentence."""
    return f"`dvc repro {stage}` writes it again"


def read_record(file: Path, keys: Mapping[str, type], remedy: str, *, closed: bool = False) -> dict[str, Any]:
    """The mapping in a JSON or YAML file, which its suffix tells apart.

    `keys` are those needed, each with its kind (`object` is any); `closed` refuses others. `remedy` says what would be
    right, as the end of a sentence, such as `rerun("train")`. A UserError names file and key where there is no such
    file, or it holds something else.
    """
    content = read_out(file, _parse, remedy)
    if not isinstance(content, dict):
        raise UserError(f"{file} must hold a mapping, and holds {shown(content)}; {remedy}.")
    for key, kind in keys.items():
        if key not in content:
            raise UserError(f"{file} lacks {key}, as another version of mien or a person wrote it; {remedy}.")
        value, number = content[key], int | float if kind is float else kind
        if not (kind in (bool, object) if isinstance(value, bool) else isinstance(value, number)):
            raise UserError(f"{file}: {key} must be {KINDS[kind]}, not {shown(value)}; {remedy}.")
    if closed and (unknown := [key for key in content if key not in keys]):
        newer = f"{file} has {unknown[0]}, which this version of mien does not know"
        raise UserError(f"{newer}: a newer one wrote it; install that one, or {remedy}.")
    return content


def read_out(file: Path, reader: Callable[[Path], T], remedy: str) -> T:
    """What `reader` makes of a file that a stage wrote; a UserError where that is missing or holds something else."""
    try:
        return reader(file)
    except FileNotFoundError as error:
        raise UserError(f"{file} is missing; {remedy}.") from error
    except (ValueError, EOFError) as error:
        reason = str(error).strip().splitlines()[0].rstrip(".")
        raise UserError(f"{file} is damaged ({reason}); {remedy}.") from error


def _parse(file: Path) -> Any:
    text = file.read_text(encoding="utf-8")
    return read_yaml(file) if file.suffix == ".yaml" else json.loads(text)
