"""Class names of the expressions, and names of the parts of a split.

The order of the seven is that of FER2013 (Goodfellow et al., 2013) and of ExpW (Zhang et al., 2016), whose label files
hold the position in this tuple. FER+ (Barsoum et al., 2016) has contempt as an eighth. It comes last, so that a
position means the same expression in every data set, and the number of classes says which they are.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

EXPRESSIONS: Final = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
WITH_CONTEMPT: Final = (*EXPRESSIONS, "contempt")
N_EXPRESSIONS: Final = len(EXPRESSIONS)
CLASS_SETS: Final = {len(names): names for names in (EXPRESSIONS, WITH_CONTEMPT)}
PARTS: Final = ("train", "val", "test")


def class_names(n: int) -> tuple[str, ...]:
    """The names of `n` classes, 7 or 8, in their order.

    Raises:
        ValueError: no data set has so many.
    """
    if n not in CLASS_SETS:
        raise ValueError(f"{n} classes are not supported, only {' or '.join(map(str, CLASS_SETS))}")
    return CLASS_SETS[n]


def count_labels(labels: Iterable[int], classes: Sequence[str]) -> dict[str, int]:
    """How many of the labels, positions in `classes`, are each class; in the order of the classes."""
    counts = Counter(int(label) for label in labels)
    return {name: counts[i] for i, name in enumerate(classes)}
