"""Tables of labelled photos: a csv or Parquet file with a row per face, as RAF-DB, AffectNet and labelling tools have.

    image,label                 image,label,left,top,right,bottom,person,split
    photos/1.jpg,happy    or    photos/1.jpg,happy,10,20,90,100,S01,train

Further columns are kept in the faces table.
"""

import codecs
import csv
import io
import math
import re
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, Final, Literal

import pandas as pd

from mien.base.classes import EXPRESSIONS, WITH_CONTEMPT
from mien.base.errors import UserError
from mien.base.settings import STRICT, refuse
from mien.runtime.cut import WHOLE_PHOTO
from mien.sources.folder_layout import Words, is_hidden, part_spelt, read_words
from mien.sources.photos import FolderPhotos, existing_folder, leaves_folder
from mien.sources.source import BadRow, Ingested, Source, faces_table, finder_mistake, no_usable, problems_table

SEPARATORS: Final = ",;\t|"
SURPLUS: Final = "\0"  # a column for the values of a row that has more of them than the header
TABLES: Final = (".csv", ".tsv", ".txt", ".lst", ".parquet")
BOX: Final = ("left", "top", "right", "bottom")
SIZES: Final = ("left", "top", "width", "height")
KNOWN: Final = ("image", "label", *BOX, "width", "height", "confidence", "split", "person", "votes")


@dataclass(frozen=True)
class Table:
    """The source `table`; a ValueError as of `read_words`, for unknown columns, or where a pattern is none."""

    expects: ClassVar[str] = "a csv or Parquet file with the columns image and label, and the photos it names"

    __pydantic_config__ = STRICT

    file: str = ""  # the table's name in the data set's folder; "": there is one table alone
    columns: dict[str, str] = field(default_factory=dict)  # what the file calls those of KNOWN, where it differs
    header: list[str] = field(default_factory=list)  # the columns of a file without a header
    separator: str = ""  # of the columns of a text file; "": what the first line has most of SEPARATORS
    photo: str = "{image}"  # the photo's path, made of a row's {image}, its {stem} and {suffix}
    split: str = ""  # a pattern whose one group finds the part in a row's image
    # the classes, or labels and their classes (None leaves a row out)
    class_names: dict[str, str | None] | list[str] = field(default_factory=dict)
    numbering: Literal["", "fer2013", "affectnet", "rafdb"] = ""  # whose numbers the labels are

    def __post_init__(self) -> None:
        mistakes = []
        try:
            read_words(self.class_names, self.numbering)
        except ValueError as error:
            mistakes.append(str(error))
        for name in sorted(set(self.columns) - set(KNOWN)):
            mistakes.append(f"columns: {name} is not a column; the columns are {', '.join(KNOWN)}")
        try:
            self.photo.format(image="", stem="", suffix="")
        except (KeyError, IndexError, ValueError):
            mistakes.append(f"photo: {self.photo!r} may hold {{image}}, {{stem}} and {{suffix}} alone")
        mistakes.append(finder_mistake("split", self.split, "the part"))
        if len(self.separator) > 1:
            mistakes.append(f"separator must be one character, not {self.separator!r}")
        refuse(*mistakes)

    def ingest(self, folder: Path) -> Ingested:
        """A face per row; a row that cannot be used is a problem that names file and line.

        The classes are those of `class_names`, or the expressions: eight where a row shows contempt, else seven. A
        UserError where there is no such table or column, it cannot be read, or no row can be used.
        """
        path = self._find(existing_folder(folder))
        table = self._read(path)
        words = read_words(self.class_names, self.numbering)
        every = words.classes or WITH_CONTEMPT
        rows: dict[str, dict[str, Any]] = {}
        kept: list[int] = []
        problems: list[dict[str, str]] = []
        given = table.astype(object).where(table.notna(), "")
        for line, row in zip(table.index, given.to_dict("records"), strict=True):
            try:
                face = self._face(row, words)
                if face["face_id"] in rows:
                    raise BadRow("duplicate_row", "an earlier row, which is used, names the same face", face)
            except BadRow as error:
                problems.append(error.problem(f"{path.name}:{line}", every))
            else:
                rows[face["face_id"]] = face
                kept.append(line)
        if not kept:
            own = ""
            if not words.classes and {row["reason"] for row in problems} == {"unknown_label"}:
                labels = ", ".join(sorted({str(label).strip() for label in table["label"]})[:12])
                own = f"; classes that are no expressions are named in conf/data, in options: class_names: [{labels}]"
            raise no_usable(f"{path} has no usable row{own}", problems)
        most = max(max(face["label"], len(face["votes"] or []) - 1) for face in rows.values())
        classes = words.classes_of([every[most]])
        for face in rows.values():
            face["votes"] = face["votes"] and face["votes"] + [0.0] * (len(classes) - len(face["votes"]))
        faces = faces_table([*rows.values()])
        further = [name for name in table.columns if name not in (*KNOWN, *faces, SURPLUS)]
        faces[further] = table.loc[kept, further].reset_index(drop=True)
        return Ingested(faces, problems_table(problems), classes=classes)

    def photos(self, folder: Path, unpack_to: Path) -> FolderPhotos:
        """The photos, where they lie."""
        return FolderPhotos(folder)

    def _find(self, folder: Path) -> Path:
        if self.file:
            if leaves_folder(self.file) or not (folder / self.file).is_file():
                raise UserError(f"{folder / self.file} is missing; options: file names the table of the data set.")
            return folder / self.file
        found = sorted(path for path in folder.iterdir() if path.suffix.lower() in TABLES and not is_hidden(path))
        if len(found) != 1:
            held = ", ".join(path.name for path in found) or "none"
            raise UserError(f"{folder} must hold one table ({', '.join(TABLES)}), and holds {held}; name it by file.")
        return found[0]

    def _read(self, path: Path) -> pd.DataFrame:
        """The table by its lines, with mien's names for its columns, all values text but those of Parquet."""
        try:
            if path.suffix.lower() == ".parquet":
                table = pd.read_parquet(path).reset_index(drop=True)
                table.index += 1
            else:
                data = path.read_bytes()
                wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
                text = data.decode("utf-16" if wide else "utf-8-sig")
                separator = self.separator or max(SEPARATORS, key=text.partition("\n")[0].count)
                reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
                rows = [(reader.line_num, row) for row in reader if any(value.strip() for value in row)]
                names = self.header or (rows.pop(0)[1] if rows else [])
                n = len(names)
                cells = [[*(row + [""] * n)[:n], separator.join(row[n:]).strip(separator + " ")] for _, row in rows]
                table = pd.DataFrame(cells, [line for line, _ in rows], [*names, SURPLUS], dtype="str")
        except (ValueError, OSError, csv.Error) as error:
            reason = str(error).strip().splitlines()[0]
            raise UserError(f"{path} cannot be read ({reason}); save it as csv in UTF-8, or as Parquet.") from error
        table.columns = [str(name).strip() for name in table]
        given = [str(name) for name in table if name not in ("", SURPLUS)]
        if twice := [name for i, name in enumerate(given) if name in given[:i]]:
            raise UserError(f"{path} has two columns {twice[0]}; rename or remove one.")
        for name in ("image", "label", *self.columns):
            if (theirs := self.columns.get(name, name)) not in table:
                raise UserError(
                    f"{path} has no column {theirs}; its columns are {', '.join(given)}. Say in conf/data, in "
                    f"options, which of them is the {name}: columns: {{{name}: ...}}."
                )
        named = {theirs: name for name, theirs in self.columns.items()}
        kept = [bool(name) and (name in named or name not in self.columns) for name in table]
        return table.loc[:, kept].rename(columns=named)

    def _face(self, given: dict[Any, Any], words: Words) -> dict[str, Any]:
        """One row as a row of the faces table; raises BadRow."""
        name = PurePosixPath(str(given["image"]).strip().replace("\\", "/"))
        image = self.photo.format(image=name, stem=name.with_suffix(""), suffix=name.suffix) if name.name else ""
        at: dict[str, Any] = {"image": image, "face_id": image}
        if given.get(SURPLUS):
            reason = f"{given[SURPLUS]!r} is more than there are columns; a value with a separator needs quotes"
            raise BadRow("malformed_row", reason, at)
        every = words.classes or WITH_CONTEMPT
        label = str(given["label"]).strip()
        meaning = words.meaning(label)
        if meaning == "":
            raise BadRow("left_out", f"class_names leaves {label!r} out", at)
        if meaning is None:
            what = f"none of {', '.join(words.classes)}" if words.classes else "no known expression"
            raise BadRow("unknown_label", f"{label!r} is {what}; class_names may say what it means", at)
        at["label"] = every.index(meaning)
        if leaves_folder(image):
            raise BadRow("malformed_name", f"{image!r} names no photo in the data set's folder", at)
        box = self._box(given, at)
        part = str(given.get("split", "")).strip()
        if self.split and (found := re.search(self.split, name.as_posix())):
            part = found[1]
        if part and part_spelt(part) is None:
            raise BadRow("unknown_part", f"split {part!r} is none of train, val and test", at)
        return {
            **at,
            "face_id": f"{image}:{','.join(map(str, box))}" if box else image,
            **dict(zip(BOX, box or WHOLE_PHOTO, strict=True)),
            "confidence": _number(given, "confidence", at) if given.get("confidence", "") != "" else float("nan"),
            "source_split": part_spelt(part) or "",
            "person": str(given.get("person", "")).strip(),
            "votes": _votes(given.get("votes", ""), words, at),
        }

    def _box(self, row: dict[Any, Any], at: dict[str, Any]) -> tuple[int, int, int, int] | None:
        """Left, top, right and bottom; None where the whole photo is the face."""
        keys = next((keys for keys in (BOX, SIZES) if all(row.get(key, "") != "" for key in keys)), None)
        if keys is None:
            return None
        left, top, x, y = (round(_number(row, key, at)) for key in keys)
        right, bottom = (x, y) if keys is BOX else (left + x, top + y)
        if right <= left or bottom <= top:
            raise BadRow("malformed_row", f"the box {left} {top} {right} {bottom} has no area", at)
        return left, top, right, bottom


SOURCE: Final[type[Source]] = Table


def _number(row: dict[Any, Any], key: str, at: dict[str, Any]) -> float:
    try:
        number = float(row[key])
    except (TypeError, ValueError):
        number = math.nan
    if not abs(number) < 2**31:
        raise BadRow("malformed_row", f"{key} {row[key]!r} is not a number", at)
    return number


def _votes(votes: Any, words: Words, at: dict[str, Any]) -> list[float] | None:
    """A vote for each class, or for seven or eight expressions, in their order; in text separated by blanks."""
    if isinstance(votes, str) and not votes.strip():
        return None
    given = re.split(r"[\s;|]+", votes.strip()) if isinstance(votes, str) else list(votes)
    try:
        shares = [float(vote) for vote in given]
    except ValueError as error:
        raise BadRow("malformed_row", f"votes {votes!r} are not numbers", at) from error
    counts = [len(classes) for classes in ([words.classes] if words.classes else [EXPRESSIONS, WITH_CONTEMPT])]
    if len(shares) not in counts or min(shares) < 0 or not 0 < sum(shares) < math.inf:
        many = " or ".join(map(str, counts))
        raise BadRow("malformed_row", f"votes must be {many} numbers of at least 0, not {votes!r}", at)
    return shares
