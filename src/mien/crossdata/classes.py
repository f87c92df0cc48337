"""What becomes of a class that only one side knows, the model or the data set: the shared classes are measured.

Cross-corpus studies of expressions measure on the classes that both sides share. Two rules follow. A face whose
class the model cannot name is left out: no answer to it could be right. A class that the data set cannot name is
taken out of the model's choice, and the probabilities of the others are scaled up to 1: the annotators chose among
the others alone, so the model is asked the question that they answered. How often that class had been the model's
first answer is counted, with the accuracy that comes out if each of these answers counts as wrong.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from mien.evaluation.checks import Floats
from mien.expressions import WITH_CONTEMPT


@dataclass(frozen=True)
class SharedClasses:
    """The classes of a model and of a data set; those both know come first in either, in the same order."""

    model: tuple[str, ...]
    data: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The classes that are measured."""
        return min(self.model, self.data, key=len)

    def unknown(self, faces: pd.DataFrame) -> pd.Series:
        """Which faces (N,) have a class that the model cannot name, bool."""
        return faces["label"] >= len(self.names)

    def logits(self, given: np.ndarray) -> np.ndarray:
        """Logits (N, model's classes) without the columns of classes that the data set cannot name.

        The softmax of the rest is what the probabilities of the rest are when they are scaled up to 1.
        """
        return given[:, : len(self.names)]

    def dropped(self, given: Floats | np.ndarray, labels: np.ndarray) -> dict[str, Any] | None:
        """What the model said of classes that the data set cannot name; None where there is none.

        Keys: `classes`, `first_answers` (faces whose first answer was one of them), and `accuracy_if_wrong` (the
        accuracy if these answers stay and count as wrong).
        """
        if len(self.model) == len(self.names):
            return None
        first = given.argmax(axis=1)
        return {
            "classes": list(self.model[len(self.names) :]),
            "first_answers": int((first >= len(self.names)).sum()),
            "accuracy_if_wrong": round(float((first == labels).mean()), 6),
        }


def names_of(labels: pd.Series) -> dict[str, int]:
    """How many faces there are of each class that occurs, by its name."""
    counts = labels.value_counts().sort_index()
    return {WITH_CONTEMPT[int(str(label))]: int(n) for label, n in counts.items()}


def absent(labels: Sequence[int] | np.ndarray, names: tuple[str, ...]) -> list[str]:
    """The classes without any face."""
    return [name for k, name in enumerate(names) if not (np.asarray(labels) == k).any()]
