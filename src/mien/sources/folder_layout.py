"""Class and part folders: mapping of folder names to expressions and parts."""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from mien.base.classes import EXPRESSIONS, WITH_CONTEMPT
from mien.base.errors import UserError

SPELLINGS: Final = {
    **{name: name for name in WITH_CONTEMPT},
    "anger": "angry",
    "disgusted": "disgust",
    "fearful": "fear",
    "afraid": "fear",
    "happiness": "happy",
    "sadness": "sad",
    "surprised": "surprise",
    "neutrality": "neutral",
    "contemptuous": "contempt",
}
# What data sets mean by a folder that is a plain number: each counts in an order of its own.
NUMBERINGS: Final[dict[str, dict[int, str]]] = {
    "fer2013": dict(enumerate(EXPRESSIONS)),
    "affectnet": dict(enumerate(("neutral", "happy", "sad", "surprise", "fear", "disgust", "angry", "contempt"))),
    "rafdb": dict(enumerate(("surprise", "fear", "disgust", "happy", "sad", "angry", "neutral"), start=1)),
}
PART_FOLDERS: Final = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "val", "valid", "dev", "publictest"), "val"),
    **dict.fromkeys(("test", "testing", "privatetest"), "test"),
}
_NUMBER: Final = re.compile(r"^\d+[\s._-]*(?=\D)")  # of "0_angry", "3 Happy"


@dataclass(frozen=True)
class ClassFolder:
    """One folder of photos of one expression."""

    path: Path
    part: str  # "train", "val", "test", or "" where the data set has no parts
    expression: str


@dataclass
class Layout:
    """The folders of a data set; `strays` and `left_out` are files and folders without a usable photo."""

    classes: list[ClassFolder] = field(default_factory=list)
    strays: list[Path] = field(default_factory=list)  # beside the class folders
    left_out: list[Path] = field(default_factory=list)  # folders that class_names maps to null


def plain(name: str) -> str:
    """A folder's name without differences that mean nothing: case, Unicode form, outer blanks."""
    return unicodedata.normalize("NFKC", name).casefold().strip()


def expression_spelt(name: str) -> str | None:
    """The expression that a name means, by a known spelling, also after a number (`0_angry`), else None."""
    return SPELLINGS.get(_NUMBER.sub("", plain(name)))


def part_spelt(name: str) -> str | None:
    """The part that a name means: train, val or test, else None."""
    return PART_FOLDERS.get(re.sub(r"[\s_-]", "", plain(name)))


def checked_class_names(class_names: Mapping[str, str | None]) -> dict[str, str | None]:
    """A person's own words for folders, the keys made plain, the values the expressions' own names or None.

    Raises:
        ValueError: a value is no expression.
    """
    checked: dict[str, str | None] = {}
    for folder, name in class_names.items():
        expression = None if name is None else expression_spelt(str(name))
        if name is not None and expression is None:
            raise ValueError(
                f"class_names: {folder}: {name!r} is not an expression; use one of {', '.join(WITH_CONTEMPT)}, "
                "or null to leave the folder out"
            )
        checked[plain(str(folder))] = expression
    return checked


def number_of(folder: Path) -> int | None:
    """The number that a folder's name is; None where it is none."""
    name = plain(folder.name)
    return int(name) if name.isdecimal() else None


def find_layout(root: Path, class_names: Mapping[str, str | None], numbering: str = "") -> Layout:
    """The class folders in `train/`, `validation/` and `test/`, or right in `root`; `numbering` is one of NUMBERINGS.

    Raises:
        UserError: there is no class folder, one is unknown, two mean the same class or part, parts and classes
            are side by side, a folder is a link, or class_names or numbering is for a folder that is not there.
    """
    layout = Layout()
    folders = _folders(root, layout)
    parts = {f: part for f in folders if plain(f.name) not in class_names and (part := part_spelt(f.name))}
    if not parts:
        _add_classes(layout, root, "", folders, class_names, numbering)
    elif beside := [f for f in folders if f not in parts and class_names.get(plain(f.name), "") is not None]:
        raise UserError(
            f"{beside[0]} is beside {next(iter(parts)).name}/; beside parts (train, validation, test) there can "
            f"only be other parts: move it into one, or leave it out by class_names: {{{beside[0].name}: null}}."
        )
    else:
        _refuse_same(parts, "part")
        layout.left_out += [folder for folder in folders if folder not in parts]
        for folder, part in parts.items():
            before = len(layout.classes)
            _add_classes(layout, folder, part, _folders(folder, layout), class_names, numbering)
            if len(layout.classes) == before:
                raise UserError(
                    f"{folder} holds no class folder such as angry/; remove it, or leave it out by options: "
                    f"class_names: {{{folder.name}: null}}."
                )
    found = {plain(f.name) for f in (*layout.left_out, *(folder.path for folder in layout.classes))}
    if unused := [name for name in class_names if name not in found]:  # most likely mistyped
        raise UserError(f"class_names: {unused[0]}: there is no such folder in {root}; remove the key or correct it.")
    if numbering and all(number_of(folder.path) is None for folder in layout.classes):
        raise UserError(f"numbering: {numbering}: there is no numbered folder in {root}; remove the key.")
    if not layout.classes:
        held = _names(folders) if folders else "no folder"
        raise UserError(f"{root} holds no class folder such as angry/ or train/angry/; it holds {held}.")
    return layout


def is_hidden(path: Path) -> bool:
    """Whether a file or folder is a system's own, not the data set's."""
    return path.name.startswith(".") or path.name == "__MACOSX"


def refuse_link(folder: Path) -> None:
    """Raise UserError where a folder is a link."""
    if folder.is_symlink():
        raise UserError(f"{folder} is a link to a folder; replace it by the folder, so that DVC tracks its photos.")


def _folders(folder: Path, layout: Layout) -> list[Path]:
    """The folders in a folder, sorted; what else there is becomes a stray."""
    found = []
    for path in sorted(folder.iterdir()):
        if not path.is_dir() or is_hidden(path):
            layout.strays.append(path)
        else:
            refuse_link(path)
            found.append(path)
    return found


def _add_classes(
    layout: Layout,
    parent: Path,
    part: str,
    folders: list[Path],
    class_names: Mapping[str, str | None],
    numbering: str,
) -> None:
    """Take the folders of one part as classes."""
    chosen = {f: class_names[plain(f.name)] for f in folders if plain(f.name) in class_names}
    others = [folder for folder in folders if folder not in chosen]
    numbers = {folder: number for folder in others if (number := number_of(folder)) is not None}
    meanings = NUMBERINGS.get(numbering, {})
    if strange := [folder for folder, number in numbers.items() if number not in meanings]:
        raise UserError(_unknown_numbers(parent, strange, numbering))
    known = {folder: meanings.get(numbers.get(folder, -1)) or expression_spelt(folder.name) for folder in others}
    if unknown := [folder for folder, expression in known.items() if expression is None]:
        raise UserError(_unknown(parent, unknown))
    _refuse_same({folder: str(expression) for folder, expression in known.items()}, "class")
    layout.left_out += [folder for folder, expression in chosen.items() if expression is None]
    meant = sorted((known | chosen).items())
    layout.classes += [ClassFolder(folder, part, expression) for folder, expression in meant if expression]


def _refuse_same(meanings: Mapping[Path, str], kind: str) -> None:
    first: dict[str, Path] = {}
    for folder, meaning in meanings.items():
        before = first.setdefault(meaning, folder)
        if before != folder:
            same = f"{before.name}/ and {folder.name}/ in {folder.parent} mean the same {kind}, {meaning}; join them"
            confirm = f", or confirm it by options: class_names: {{{folder.name}: {meaning}}}"
            raise UserError(f"{same}{confirm if kind == 'class' else ''}.")


def _unknown(parent: Path, unknown: list[Path]) -> str:
    """What is unknown and what to do; a data set is often unpacked one folder too deep."""
    problem = f"{parent} holds {_names(unknown)}, which {'is' if len(unknown) == 1 else 'are'} no known expression"
    for inner in (path for folder in unknown for path in sorted(folder.iterdir()) if path.is_dir()):
        if part_spelt(inner.name) or expression_spelt(inner.name):
            return f"{problem}; {inner.parent.name}/ holds {inner.name}/: move what is in it up to {parent}."
    remedy = f"class_names: {{{unknown[0].name}: happy}}, or null to leave it out"
    return f"{problem}; map them in conf/data, as in options: {remedy}."


def _unknown_numbers(parent: Path, numbers: list[Path], numbering: str) -> str:
    """What numbers may mean: nobody can see it in them, and a wrong guess gives every face a wrong label."""
    one_each = f"what each number means, as in class_names: {{{numbers[0].name}: happy}}"
    if numbering:
        return f"{parent} holds {_names(numbers)}, which {_says(numbering)} does not have; set in options {one_each}."
    return (
        f"{parent} holds {_names(numbers)}, and data sets number the expressions differently; say in conf/data, in "
        f"options, whose numbers they are: numbering: {', '.join(map(_says, NUMBERINGS))}; or {one_each}."
    )


def _says(numbering: str) -> str:
    return f"{numbering} ({', '.join(f'{number} {name}' for number, name in NUMBERINGS[numbering].items())})"


def _names(folders: list[Path]) -> str:
    return ", ".join(f"{folder.name}/" for folder in folders)
