"""The measures of a classifier on one set of faces.

A class that stands in the test set but is never predicted has precision 0 and F1 0. A class without a
face in the test set has none of the three (NaN), and macro averages leave it out: its precision cannot
be earned there. So macro recall is the unweighted average recall (Schuller et al., 2009) in every case.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from mien.evaluation.calibration import expected_calibration_error
from mien.evaluation.checks import Ints, checked_labels, checked_probabilities, classes_of
from mien.expressions import N_EXPRESSIONS, class_names

MEASURES: Final = (
    "accuracy",
    "macro_precision",
    "macro_recall",
    "macro_f1",
    "unweighted_average_recall",
    "nll",
    "brier",
    "ece",
)
CLASS_MEASURES: Final = ("precision", "recall", "f1")


@dataclass(frozen=True)
class ClassScores:
    """One class's precision, recall and F1 (NaN where `support`, its faces in the test set, is 0)."""

    precision: float
    recall: float
    f1: float
    support: int


def confusion_counts(labels: npt.ArrayLike, predicted: npt.ArrayLike, classes: int = N_EXPRESSIONS) -> Ints:
    """(classes, classes) int64: rows are true classes, columns predicted ones."""
    from sklearn.metrics import confusion_matrix

    counts = confusion_matrix(
        checked_labels(labels, classes), checked_labels(predicted, classes), labels=range(classes)
    )
    return np.asarray(counts, dtype=np.int64)


def scores_per_class(
    labels: npt.ArrayLike, predicted: npt.ArrayLike, classes: int = N_EXPRESSIONS
) -> dict[str, ClassScores]:
    """Precision, recall, F1 and support of each expression, in the order of the classes."""
    from sklearn.metrics import precision_recall_fscore_support

    columns = precision_recall_fscore_support(
        checked_labels(labels, classes), checked_labels(predicted, classes), labels=range(classes), zero_division=0
    )
    scores = {}
    for name, precision, recall, f1, support in zip(class_names(classes), *columns, strict=True):
        missing = 0.0 if support else np.nan
        scores[name] = ClassScores(
            float(precision + missing), float(recall + missing), float(f1 + missing), int(support)
        )
    return scores


def measure(labels: npt.ArrayLike, probabilities: npt.ArrayLike, bins: int = 15) -> dict[str, float]:
    """All of MEASURES for probabilities (N, classes); the prediction is the most probable class.

    NLL is the mean of -ln p(true class) in nats, with p no smaller than float64's epsilon. Brier is the
    multi-class sum (Brier, 1950): mean over faces of the squared distance to the one-hot label, 0 to 2.
    """
    from sklearn.metrics import accuracy_score, brier_score_loss, log_loss

    classes = classes_of(probabilities)
    truth = checked_labels(labels, classes)
    given = checked_probabilities(probabilities, len(truth))
    predicted = given.argmax(axis=1)
    present = [s for s in scores_per_class(truth, predicted, classes).values() if s.support]
    recall = float(np.mean([s.recall for s in present]))
    return {
        "accuracy": float(accuracy_score(truth, predicted)),
        "macro_precision": float(np.mean([s.precision for s in present])),
        "macro_recall": recall,
        "macro_f1": float(np.mean([s.f1 for s in present])),
        "unweighted_average_recall": recall,
        "nll": float(log_loss(truth, given, labels=range(classes))),
        "brier": float(brier_score_loss(truth, given, labels=range(classes), scale_by_half=False)),
        "ece": expected_calibration_error(truth, given, bins),
    }


def majority(labels: npt.ArrayLike, classes: int = N_EXPRESSIONS) -> tuple[str, float]:
    """The most frequent class and its share: what always answering it would score."""
    counts = np.bincount(checked_labels(labels, classes), minlength=classes)
    return class_names(classes)[int(counts.argmax())], float(counts.max() / counts.sum())
