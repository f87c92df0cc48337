"""How public data sets spell the expressions, and the parts, as names of folders."""

import re
import unicodedata
from collections.abc import Mapping
from typing import Final

from mien.base.classes import EXPRESSIONS, WITH_CONTEMPT

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
PARTS: Final = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "val", "valid", "dev", "publictest"), "val"),
    **dict.fromkeys(("test", "testing", "privatetest"), "test"),
}
_NUMBER: Final = re.compile(r"^\d+[\s._-]*(?=\D)")  # of "0_angry", "3 Happy"


def plain(name: str) -> str:
    """A folder's name without what spellings differ in by chance: case, Unicode form, outer blanks."""
    return unicodedata.normalize("NFKC", name).casefold().strip()


def expression_spelt(name: str) -> str | None:
    """The expression that a folder's name means, by a known spelling, also after a number (`0_angry`), else None."""
    return SPELLINGS.get(_NUMBER.sub("", plain(name)))


def expression_numbered(name: str) -> str | None:
    """The expression that a plain number means, 0 to 6 as in FER2013, else None."""
    number = plain(name)
    return EXPRESSIONS[int(number)] if re.fullmatch(r"0*[0-6]", number, re.ASCII) else None


def part_spelt(name: str) -> str | None:
    """The part that a folder's name means: train, val or test, else None."""
    return PARTS.get(re.sub(r"[\s_-]", "", plain(name)))


def checked_class_names(class_names: Mapping[str, str | None]) -> dict[str, str | None]:
    """A person's own words for folders, the keys made plain, the values the expressions' own names or None.

    Raises:
        ValueError: it is no such mapping, or a value is no expression.
    """
    if not isinstance(class_names, Mapping):
        raise ValueError(f"class_names must say which expression a folder means, as in {{wut: angry}}: {class_names!r}")
    checked: dict[str, str | None] = {}
    for folder, name in class_names.items():
        expression = None if name is None else expression_spelt(str(name))
        if name is not None and expression is None:
            raise ValueError(
                f"class_names: {folder}: {name!r} is no expression; say one of {', '.join(WITH_CONTEMPT)}, "
                "or null to leave the folder out"
            )
        checked[plain(str(folder))] = expression
    return checked
