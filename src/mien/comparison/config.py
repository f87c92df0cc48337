"""What was configured otherwise, and what else differs that the numbers may depend on."""

import re
from collections.abc import Mapping
from typing import Final

from mien.comparison.subject import Subject

# Facts of a run that its numbers may depend on, as people call them.
FACTS: Final = {
    "mien.data_digest": "faces (digest)",
    "mien.split_digest": "split (digest)",
    "mien.precision": "precision",
    "mlflow.source.git.commit": "commit",
    "mien.git_dirty": "uncommitted edits",
    "mien.cpu": "processor",
    "mien.gpu": "GPU",
    "mien.versions": "versions",
    "mien.torch": "torch",  # of older runs, which have a tag a package
    "mien.numpy": "numpy",
    "mien.opencv-python-headless": "opencv",
}
ABSENT: Final = "–"
LONG: Final = re.compile(r"\d+\.\d{5,}(e-?\d+)?")
DIGITS: Final = 12  # of a digest that tell it apart

Difference = tuple[str, str, str]  # what, in A, in B


def config_differences(a: Subject, b: Subject) -> list[Difference]:
    """The parameters that differ, by name; a dash where a run has none of it."""
    found = _differences(a.params, b.params, {key: key for key in sorted({*a.params, *b.params})})
    return [(key, *_rounded(ours, theirs)) for key, ours, theirs in found]


def fact_differences(a: Subject, b: Subject) -> list[Difference]:
    """Digests, code and machine where both runs say something else; a folder says less than the store."""
    known = {key: name for key, name in FACTS.items() if key in a.facts and key in b.facts}
    return [(name, _short(ours), _short(theirs)) for name, ours, theirs in _differences(a.facts, b.facts, known)]


def _differences(a: Mapping[str, str], b: Mapping[str, str], names: Mapping[str, str]) -> list[Difference]:
    pairs = ((name, a.get(key, ABSENT), b.get(key, ABSENT)) for key, name in names.items())
    return [(name, ours, theirs) for name, ours, theirs in pairs if ours != theirs]


def _short(value: str) -> str:
    """A digest by its beginning; anything else whole."""
    is_digest = len(value) >= 32 and all(letter in "0123456789abcdef" for letter in value)
    return value[:DIGITS] if is_digest else value


def _rounded(ours: str, theirs: str) -> tuple[str, str]:
    """Searched numbers with four digits, where that leaves them apart."""
    a, b = (f"{float(value):.4g}" if LONG.fullmatch(value) else value for value in (ours, theirs))
    return (a, b) if a != b else (ours, theirs)
