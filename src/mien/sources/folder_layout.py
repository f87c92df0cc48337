"""Class and part folders: mapping of folder names to classes and parts."""

import difflib
import re
import unicodedata
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from mien.base.classes import EXPRESSIONS, WITH_CONTEMPT, checked_classes
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
# What a folder named by a number means: each data set has an order of its own.
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
class Words:
    """What the labels of a data set mean."""

    chosen: Mapping[str, str | None]  # what a person said of labels, by their plain form; None leaves a label out
    known: Mapping[str, str]  # further words
    classes: tuple[str, ...] = ()  # the data set's own, in their order; () where they are the expressions

    def meaning(self, label: str) -> str | None:
        """The class that a label means: "" where it is left out, None where nobody knows."""
        key = plain(label)
        return self.chosen[key] or "" if key in self.chosen else self.known_meaning(label)

    def known_meaning(self, label: str) -> str | None:
        """The class that a known word means, also after a number (`0_angry`), else None."""
        key = plain(label)
        key = key.lstrip("0") or "0" if key.isdecimal() else key
        return self.known.get(key) or self.known.get(_NUMBER.sub("", key))

    def classes_of(self, meant: Collection[str]) -> tuple[str, ...]:
        """The classes of a data set whose faces are of those that are `meant`: seven expressions, eight or its own."""
        return self.classes or (EXPRESSIONS if set(meant) <= set(EXPRESSIONS) else WITH_CONTEMPT)


@dataclass(frozen=True)
class ClassFolder:
    """One folder of photos of one class."""

    path: Path
    part: str  # "train", "val", "test", or "" where the data set has no parts
    label: str  # the name of the class


@dataclass
class Layout:
    """The folders of a data set; `strays` and `left_out` are files and folders without a usable photo."""

    words: Words
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


def read_words(class_names: Mapping[str, str | None] | Sequence[str], numbering: str = "") -> Words:
    """The words that `class_names` and `numbering` of a data set's options give.

    A list holds the data set's own classes in their order, and a number is a position in it. A mapping gives labels
    their meaning: expressions, or else classes of its own, in the order in which it names them first. A ValueError
    where a name cannot be a class's or is almost an expression's, or numbers are of two kinds.
    """
    if not isinstance(class_names, Mapping):
        if numbering:
            raise ValueError("numbering says what numbers mean, and so does a list of class_names; keep one of them")
        own = checked_classes(class_names)
        return Words({}, {str(number): name for number, name in enumerate(own)} | _words_for(own), own)
    chosen = {plain(str(label)): name and (expression_spelt(name) or name) for label, name in class_names.items()}
    names = [name for name in dict.fromkeys(chosen.values()) if name is not None]
    numbers = {str(number): name for number, name in NUMBERINGS.get(numbering, {}).items()}
    if set(names) <= set(WITH_CONTEMPT):
        return Words(chosen, SPELLINGS | numbers)
    for label, name in class_names.items():
        if name and (near := _almost(name)) not in (None, *names):
            raise ValueError(f"class_names: {label}: {name!r} is no expression; did you mean {near}?")
    if numbers:
        raise ValueError(f"numbering: {numbering} numbers the expressions, and class_names gives other classes")
    own = checked_classes(names)
    return Words(chosen, _words_for(own), own)


def _words_for(classes: Sequence[str]) -> dict[str, str]:
    """The words for classes: their names, and for those that are expressions the known spellings."""
    return {word: name for word, name in SPELLINGS.items() if name in classes} | {plain(name): name for name in classes}


def _almost(name: str) -> str | None:
    """The expression of which a name is most likely a mistyped form."""
    near = difflib.get_close_matches(plain(name), SPELLINGS, 1, 0.8)
    return SPELLINGS[near[0]] if near else None


def number_of(folder: Path) -> int | None:
    """The number that a folder's name is; None where it is none."""
    name = plain(folder.name)
    return int(name) if name.isdecimal() else None


def find_layout(root: Path, words: Words, numbering: str = "") -> Layout:
    """The class folders in `train/`, `validation/` and `test/`, or right in `root`; `numbering` is one of NUMBERINGS.

    Folders of which none has the name of an expression, nor a number, are classes of the data set's own. A UserError
    where no folder is a class, one is unknown or a link, two mean the same, parts and classes are side by side, or
    class_names or numbering is for a folder that is not there.
    """
    layout = Layout(words)
    folders = _folders(root, layout)
    parts = {f: part for f in folders if plain(f.name) not in words.chosen and (part := part_spelt(f.name))}
    if parts:
        layout.left_out += [folder for folder in folders if folder not in parts]
        if beside := [folder for folder in layout.left_out if words.meaning(folder.name) != ""]:
            raise UserError(f"{beside[0]} is beside parts; move it into one, or map it to null in class_names.")
        _refuse_same(parts, "part")
    inside = {folder: _folders(folder, layout) for folder in parts} or {root: folders}
    layout.words = _own_words([folder for inner in inside.values() for folder in inner], words)
    for parent, inner in inside.items():
        meant = {folder: layout.words.meaning(folder.name) for folder in inner}
        if unknown := [folder for folder, name in meant.items() if name is None]:
            raise UserError(_unknown(parent, unknown, numbering, layout.words))
        _refuse_same({f: name for f, name in meant.items() if name and plain(f.name) not in words.chosen}, "class")
        layout.left_out += [folder for folder, name in meant.items() if not name]
        layout.classes += [ClassFolder(f, parts.get(parent, ""), name) for f, name in meant.items() if name]
    if empty := sorted(parts.keys() - {folder.path.parent for folder in layout.classes}):
        raise UserError(f"{empty[0]} holds no class folder such as sad/; remove it, or map it to null in class_names.")
    found = {plain(f.name) for f in (*layout.left_out, *(folder.path for folder in layout.classes))}
    if unused := [name for name in words.chosen if name not in found]:  # most likely mistyped
        raise UserError(f"class_names: {unused[0]}: there is no such folder in {root}; remove the key or correct it.")
    if numbering and all(number_of(folder.path) is None for folder in layout.classes):
        raise UserError(f"numbering: {numbering}: there is no numbered folder in {root}; remove the key.")
    if not layout.classes:
        held = ", ".join(f"{folder.name}/" for folder in folders) or "no folder"
        raise UserError(f"{root} holds no class folder such as angry/ or train/angry/; it holds {held}.")
    return layout


def is_hidden(path: Path) -> bool:
    """Whether a file or folder is a system's own, not the data set's."""
    return path.name.startswith(".") or path.name == "__MACOSX"


def files_of_class(folder: Path, words: Words) -> Iterator[Path]:
    """The files in a class folder, to its depths, in the order of the names; a folder where it is hidden or empty."""
    paths = sorted(folder.iterdir())
    if not paths:
        yield folder
    for path in paths:
        if not path.is_dir() or is_hidden(path):
            yield path
            continue
        _refuse_link(path)
        if part_spelt(path.name) or (number_of(path) is None and words.known_meaning(path.name)):
            raise UserError(f"{path}, a part or class, lies in class {folder.name}/; the order is PART/CLASS/photos.")
        yield from files_of_class(path, words)


def _refuse_link(folder: Path) -> None:
    if folder.is_symlink():
        raise UserError(f"{folder} is a link to a folder; replace it by the folder, so that DVC tracks its photos.")


def _folders(folder: Path, layout: Layout) -> list[Path]:
    """The folders in a folder, sorted; what else there is becomes a stray."""
    found = []
    for path in sorted(folder.iterdir()):
        if not path.is_dir() or is_hidden(path):
            layout.strays.append(path)
        else:
            _refuse_link(path)
            found.append(path)
    return found


def _own_words(folders: list[Path], words: Words) -> Words:
    """The folders' own names as classes, sorted, where not one of them is known, a number or unpacked too deep."""
    others = [folder for folder in folders if plain(folder.name) not in words.chosen]
    names = sorted({plain(f.name): unicodedata.normalize("NFC", f.name).strip() for f in reversed(others)}.values())
    known = any(words.known_meaning(name) or name.isdecimal() for name in names)
    if words.classes or any(words.chosen.values()) or known or len(names) < 2 or any(map(_too_deep, others)):
        return words
    for name in names:
        if near := _almost(name):
            raise UserError(f"{name}/ in {folders[0].parent} is almost {near}/: rename it, or name all in class_names.")
    try:
        own = checked_classes(names)
    except ValueError as error:
        raise UserError(f"{folders[0].parent}: {error}; say by class_names what its folders mean.") from error
    return Words(words.chosen, _words_for(own), own)


def _refuse_same(meanings: Mapping[Path, str], kind: str) -> None:
    first: dict[str, Path] = {}
    for folder, meaning in meanings.items():
        before = first.setdefault(meaning, folder)
        if before != folder:
            same = f"{before.name}/ and {folder.name}/ in {folder.parent} mean the same {kind}, {meaning}; join them"
            confirm = f", or confirm it by options: class_names: {{{folder.name}: {meaning}}}"
            raise UserError(f"{same}{confirm if kind == 'class' else ''}.")


def _unknown(parent: Path, unknown: list[Path], numbering: str, words: Words) -> str:
    """What is unknown and what to do: no number is guessed, and a data set is often unpacked one folder too deep."""
    numbers = [] if words.classes else [folder for folder in unknown if number_of(folder) is not None]
    holds = f"{parent} holds {', '.join(f'{folder.name}/' for folder in numbers or unknown)}"
    if numbers:
        says = {
            name: f"{name} ({', '.join(f'{n} {label}' for n, label in of.items())})" for name, of in NUMBERINGS.items()
        }
        why = f"which {says[numbering]} does not have" if numbering else "and data sets number expressions differently"
        return (
            f"{holds}, {why}; say in conf/data, in options, whose numbers they are: numbering: "
            f"{', '.join(says.values())}; or what each means, as in class_names: {{{numbers[0].name}: happy}}; or name "
            "the classes of the numbers 0, 1, ...: class_names: [bored, engaged]."
        )
    known = f"none of its classes ({', '.join(words.classes)})" if words.classes else "no known expression"
    problem = f"{holds}, which {'is' if len(unknown) == 1 else 'are'} {known}"
    if inner := next(filter(None, map(_too_deep, unknown)), None):
        return f"{problem}; {inner.parent.name}/ holds {inner.name}/: move what is in it up to {parent}."
    near = ((folder.name, _almost(folder.name)) for folder in unknown)
    possible = ((name, close) for name, close in near if close and close in (words.classes or (close,)))
    name, meaning = next(possible, (unknown[0].name, (words.classes or ("happy",))[0]))
    remedy = f"class_names: {{{name}: {meaning}}}, or null to leave it out"
    listed = "" if words.classes else "; or name all classes, where they are other ones: class_names: [bored, engaged]"
    return f"{problem}; map them in conf/data, as in options: {remedy}{listed}."


def _too_deep(folder: Path) -> Path | None:
    """The first folder in a folder that has the name of a part or an expression."""
    inside = sorted(path for path in folder.iterdir() if path.is_dir())
    return next((path for path in inside if part_spelt(path.name) or expression_spelt(path.name)), None)
