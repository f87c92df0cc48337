"""Which folders of a data set hold which class and part, before any photo is looked at."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mien.base.errors import UserError
from mien.sources.label_names import expression_numbered, expression_spelt, part_spelt, plain


@dataclass(frozen=True)
class ClassFolder:
    """One folder of photos of one expression."""

    path: Path
    part: str  # "train", "val", "test", or "" where the data set has no parts
    expression: str


@dataclass
class Layout:
    """What lies where; `strays` and `left_out` are what holds no usable photo, files and folders."""

    classes: list[ClassFolder] = field(default_factory=list)
    strays: list[Path] = field(default_factory=list)  # beside the class folders
    left_out: list[Path] = field(default_factory=list)  # folders that class_names maps to null


def find_layout(root: Path, class_names: Mapping[str, str | None]) -> Layout:
    """The class folders in `train/`, `validation/` and `test/`, or right in `root`.

    Raises:
        UserError: there is no class folder, one is unknown, two mean the same class or part, parts and classes
            stand side by side, a folder is a link, or class_names names a folder that is not there.
    """
    layout = Layout()
    folders = _folders(root, layout)
    own = {folder: part_spelt(folder.name) for folder in folders if plain(folder.name) not in class_names}
    parts = {folder: part for folder, part in own.items() if part}
    if not parts:
        _add_classes(layout, root, "", folders, class_names)
    elif beside := [f for f in folders if f not in parts and class_names.get(plain(f.name), "") is not None]:
        raise UserError(
            f"{beside[0]} stands beside {next(iter(parts)).name}/; beside parts (train, validation, test) there can "
            f"only be other parts: move it into one, or leave it out by class_names: {{{beside[0].name}: null}}."
        )
    else:
        _refuse_same(parts, "part")
        layout.left_out += [folder for folder in folders if folder not in parts]
        for folder, part in parts.items():
            before = len(layout.classes)
            _add_classes(layout, folder, part, _folders(folder, layout), class_names)
            if len(layout.classes) == before:
                raise UserError(
                    f"{folder} holds no class folder such as angry/; remove it, or leave it out by options: "
                    f"class_names: {{{folder.name}: null}}."
                )
    _refuse_unused(layout, root, class_names)
    if not layout.classes:
        there = _names(folders) if folders else "no folder"
        raise UserError(f"{root} holds no class folder such as angry/ or train/angry/; it holds {there}.")
    return layout


def is_hidden(path: Path) -> bool:
    """Whether a file or folder is a system's own, not the data set's."""
    return path.name.startswith(".") or path.name == "__MACOSX"


def _folders(folder: Path, layout: Layout) -> list[Path]:
    """The folders in a folder, sorted; what else there is becomes a stray."""
    found = []
    for path in sorted(folder.iterdir()):
        if not path.is_dir() or is_hidden(path):
            layout.strays.append(path)
        elif path.is_symlink():
            raise UserError(f"{path} is a link to a folder; put the folder itself there, so that DVC keeps its photos.")
        else:
            found.append(path)
    return found


def _add_classes(
    layout: Layout, parent: Path, part: str, folders: list[Path], class_names: Mapping[str, str | None]
) -> None:
    """Take the folders of one part as classes."""
    chosen = {f: class_names[plain(f.name)] for f in folders if plain(f.name) in class_names}
    others = [folder for folder in folders if folder not in chosen]
    numbers = [folder for folder in others if plain(folder.name).isdecimal()]
    if numbers and not any(int(folder.name) == 0 for folder in numbers):
        raise UserError(
            f"the folders {_names(numbers)} in {parent} are no numbers of FER2013, which begin with 0 (0 angry to "
            f"6 neutral); say what each means, as in options: class_names: {{{numbers[0].name}: happy}}."
        )
    known = {f: expression_spelt(f.name) or expression_numbered(f.name) for f in others}
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
            mend = "; join them"
            if kind == "class":
                mend += f", or confirm it by options: class_names: {{{folder.name}: {meaning}}}"
            raise UserError(
                f"{before.name}/ and {folder.name}/ in {folder.parent} mean the same {kind}, {meaning}{mend}."
            )


def _refuse_unused(layout: Layout, root: Path, class_names: Mapping[str, str | None]) -> None:
    """A key of class_names that fits no folder is most likely mistyped."""
    there = {plain(f.name) for f in (*layout.left_out, *(found.path for found in layout.classes))}
    if unused := [name for name in class_names if name not in there]:
        raise UserError(f"class_names: {unused[0]}: there is no such folder in {root}; remove the key or mend it.")


def _unknown(parent: Path, unknown: list[Path]) -> str:
    """Says what to do; a data set is often unpacked one folder too deep."""
    said = f"{parent} holds {_names(unknown)}, which {'is' if len(unknown) == 1 else 'are'} no known expression"
    for folder in unknown:
        for inner in sorted(path for path in folder.iterdir() if path.is_dir()):
            if part_spelt(inner.name) or expression_spelt(inner.name):
                return f"{said}; {folder.name}/ holds {inner.name}/: move what is in it up to {parent}."
    return (
        f"{said}; say what is meant in conf/data, as in options: class_names: {{{unknown[0].name}: happy}}, or null to "
        "leave it out."
    )


def _names(folders: list[Path]) -> str:
    return ", ".join(f"{folder.name}/" for folder in folders)
