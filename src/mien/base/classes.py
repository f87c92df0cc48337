"""Class names, and names of the parts of a split.

A data set brings its own classes and their order. `ingest` writes them to `classes.csv`, from where they travel with
the packed faces and the model's spec: a label is a position among them, and nobody guesses names from a count.

The default are the seven expressions, in the order of FER2013 (Goodfellow et al., 2013) and of ExpW (Zhang et al.,
2016), whose label files hold the position in this tuple. FER+ (Barsoum et al., 2016) has contempt as an eighth.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

EXPRESSIONS: Final = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
WITH_CONTEMPT: Final = (*EXPRESSIONS, "contempt")
N_EXPRESSIONS: Final = len(EXPRESSIONS)
PARTS: Final = ("train", "val", "test")
MOST_CLASSES: Final = 100
# A name stands in file names, in columns beside these, and in names of MLflow's metrics.
NAME: Final = re.compile(r"\w(?:[\w .-]{0,38}\w)?")
RESERVED: Final = (
    *("file", "frame", "time", "face", "track", "top", "left", "right", "bottom", "score", "label", "unsure"),
    *("quality", "model", "version", "unknown"),
)
ALWAYS_SLICED: Final = ("class", "face size", "detector confidence")  # what every data set has slices by


def checked_classes(names: Sequence[str]) -> tuple[str, ...]:
    """The names as the classes of a data set, in their order; a ValueError where they cannot be that."""
    if not 2 <= len(names) <= MOST_CLASSES:
        raise ValueError(f"a data set needs 2 to {MOST_CLASSES} classes, not {len(names)} ({', '.join(names)})")
    for name in names:
        if not NAME.fullmatch(name) or name.isdecimal() or name.endswith("_raw"):
            raise ValueError(
                f"{name!r} cannot be the name of a class: it takes up to 40 letters, digits, '_', and between them "
                "also blanks, '.' and '-'; it is no number and does not end in _raw"
            )
        if name.casefold() in RESERVED:
            raise ValueError(f"{name!r} cannot be the name of a class, because mien has a column of that name")
    lower = [name.casefold() for name in names]
    if twice := [name for name in names if lower.count(name.casefold()) > 1]:
        raise ValueError(f"the class {twice[0]} is there twice ({', '.join(twice)})")
    return tuple(names)


def count_labels(labels: Iterable[int], classes: Sequence[str]) -> dict[str, int]:
    """How many of the labels, positions in `classes`, are each class; in the order of the classes."""
    counts = Counter(int(label) for label in labels)
    return {name: counts[i] for i, name in enumerate(classes)}
