"""Files of stages: written atomically, a file, a folder or all outs at once, by rename; and read with checks.

Records, small JSON and YAML files, carry no version number: one of an older mien lacks a key, one of a newer mien has a
key too many, and either is named.
"""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Self, TypeVar

from mien.base.errors import UserError
from mien.base.settings import read_yaml, shown

T = TypeVar("T")
PARTIAL: Final = ".partial"
KINDS: Final = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    dict: "a mapping",
    list: "a list",
}


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path to write a file or folder to, which replaces `path` when the block succeeds; after an error it is gone.

    It lies in a hidden folder beside `path`, where the next writer removes what a killed process left. Two processes
    must not write one path at the same time. An OSError where the folder cannot be made or written.
    """
    waiting = path.parent / f"{PARTIAL}-{path.name}"
    shutil.rmtree(waiting, ignore_errors=True)
    waiting.mkdir(parents=True)
    try:
        yield waiting / path.name
        _move(waiting / path.name, path)
    finally:
        shutil.rmtree(waiting, ignore_errors=True)


class Outs:
    """A stage's outs while they are written.

    `path("reports/crop.json")` is where to write that file or folder. When the block succeeds, each is renamed to its
    name; after an error or a kill none is there.
    """

    def __init__(self, stage: str, root: Path | None = None) -> None:
        self.root = root or Path.cwd()
        self._waiting = stage_folder(self.root) / stage
        self._names: list[str] = []

    def __enter__(self) -> Self:
        """Remove what a killed run of this stage left."""
        shutil.rmtree(self._waiting, ignore_errors=True)
        self._waiting.mkdir(parents=True)
        return self

    def path(self, name: str) -> Path:
        """Where to write the out that will be called `name`, from the repository root."""
        self._names.append(name)
        waiting = self._waiting / name
        waiting.parent.mkdir(parents=True, exist_ok=True)
        return waiting

    def folder(self, name: str) -> Path:
        """As `path`, for an out that is a folder; it exists already."""
        folder = self.path(name)
        folder.mkdir()
        return folder

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            for name in self._names:
                _move(self._waiting / name, self.root / name)
        shutil.rmtree(self._waiting, ignore_errors=True)


def stage_folder(root: Path) -> Path:
    """Where stages of a workspace keep unfinished outs and their locks."""
    return root / "build" / PARTIAL


def _move(source: Path, target: Path) -> None:
    """Rename a file or folder, in place of what is there."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_dir():
        shutil.rmtree(target)
    source.replace(target)


def rerun(stage: str) -> str:
    """The remedy where an out of that stage is missing or damaged, as the end of a sentence."""
    return f"`dvc repro {stage}` writes it again"


def read_record(file: Path, keys: Mapping[str, type], remedy: str, *, closed: bool = False) -> dict[str, Any]:
    """The mapping in a JSON or YAML file, which its suffix tells apart.

    `keys` are those needed, each with its kind (`object` is any); `closed` refuses others. `remedy` says what would be
    right, as the end of a sentence, such as `rerun("train")`. A UserError names file and key where there is no such
    file, or it holds something else.
    """
    parse = read_yaml if file.suffix == ".yaml" else lambda file: json.loads(file.read_text(encoding="utf-8"))
    content = read_out(file, parse, remedy)
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
