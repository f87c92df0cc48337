import warnings

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from mien.base.classes import EXPRESSIONS
from mien.evaluation.measures import (
    MEASURES,
    class_measures,
    confusion_counts,
    face_sums,
    majority,
    measure,
    scores_per_class,
)


def certain(predicted: list[int]) -> np.ndarray:
    return np.eye(7)[predicted]


def test_measures_of_four_faces_as_computed_by_hand():
    labels = [0, 0, 1, 1]
    probabilities = np.zeros((4, 7))
    probabilities[0, :2] = 0.8, 0.2  # right
    probabilities[1, :2] = 0.4, 0.6  # wrong
    probabilities[2, :2] = 0.3, 0.7  # right
    probabilities[3, :2] = 0.1, 0.9  # right
    found = measure(labels, probabilities, bins=10)
    assert found["accuracy"] == 0.75
    assert found["macro_precision"] == pytest.approx((1 + 2 / 3) / 2)
    assert found["unweighted_average_recall"] == found["macro_recall"] == pytest.approx((1 / 2 + 1) / 2)
    assert found["macro_f1"] == pytest.approx((2 / 3 + 4 / 5) / 2)
    assert found["nll"] == pytest.approx(-np.log([0.8, 0.4, 0.7, 0.9]).mean())
    assert found["brier"] == pytest.approx(2 * (0.2**2 + 0.6**2 + 0.3**2 + 0.1**2) / 4)
    assert found["ece"] == pytest.approx((0.2 + 0.6 + 0.3 + 0.1) / 4)
    assert tuple(found) == MEASURES


def test_a_class_never_predicted_counts_as_zero_and_one_without_faces_is_left_out():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scores = scores_per_class([0, 0, 1], [0, 2, 0])
        found = measure([0, 0, 1], certain([0, 2, 0]))
    assert (scores["disgust"].precision, scores["disgust"].recall, scores["disgust"].f1) == (0, 0, 0)
    assert scores["fear"].support == 0
    assert np.isnan([scores["fear"].precision, scores["fear"].recall, scores["fear"].f1]).all()
    assert found["unweighted_average_recall"] == pytest.approx((0.5 + 0) / 2)
    assert found["macro_precision"] == pytest.approx((0.5 + 0) / 2)


def test_unweighted_average_recall_is_scikit_learns_balanced_accuracy(labels_and_logits):
    labels, logits = labels_and_logits
    probabilities = certain(logits.argmax(axis=1).tolist())
    expected = balanced_accuracy_score(labels, logits.argmax(axis=1))
    assert measure(labels, probabilities)["unweighted_average_recall"] == pytest.approx(expected)


def test_certain_and_wrong_gives_a_finite_nll():
    found = measure([0, 1], certain([1, 0]))
    assert found["accuracy"] == 0
    assert np.isfinite(found["nll"])
    assert found["brier"] == 2
    assert found["ece"] == 1


def test_perfect_and_constant_models():
    labels = list(range(7)) * 3
    perfect, constant = measure(labels, certain(labels)), measure(labels, np.full((21, 7), 1 / 7))
    assert (perfect["accuracy"], perfect["macro_f1"], perfect["brier"], perfect["ece"]) == (1, 1, 0, 0)
    assert constant["unweighted_average_recall"] == pytest.approx(1 / 7)
    assert constant["nll"] == pytest.approx(np.log(7))
    assert constant["ece"] == pytest.approx(0)


def test_confusion_rows_are_the_truth():
    counts = confusion_counts([0, 0, 3], [0, 3, 3])
    assert counts.shape == (7, 7)
    assert (counts[0, 0], counts[0, 3], counts[3, 3], counts.sum()) == (1, 1, 1, 3)


def test_majority_names_the_most_frequent_class():
    assert majority([3, 3, 3, 6]) == ("happy", 0.75)
    assert majority([6])[0] == EXPRESSIONS[6]


@pytest.mark.parametrize(
    ("labels", "probabilities", "says"),
    [
        ([], np.zeros((0, 7)), "at least one face"),
        ([7], certain([0]), "0 to 6"),
        ([0.5], certain([0]), "whole numbers"),
        ([0], np.zeros((1, 6)), r"7 or 8 classes, not shape \(1, 6\)"),
        ([0], np.full((1, 7), np.nan), "sum to 1"),
        ([0], np.full((1, 7), 0.5), "sum to 1"),
        ([0], np.array([[2.0, -1, 0, 0, 0, 0, 0]]), "0 or above"),
    ],
)
def test_what_is_no_label_or_no_probability_is_refused(labels, probabilities, says):
    with pytest.raises(ValueError, match=says):
        measure(labels, probabilities)


def test_eight_classes_are_measured_as_seven_are() -> None:
    labels = np.arange(24) % 8
    found = measure(labels, np.eye(8)[(labels + (labels == 7)) % 8])
    assert found["accuracy"] == pytest.approx(21 / 24)
    assert confusion_counts(labels, np.zeros(24, int), 8)[7, 0] == 3
    assert majority([7, 7, 0], 8) == ("contempt", pytest.approx(2 / 3))
    sums = face_sums(labels, np.eye(8)[labels], 15).sum(axis=0, keepdims=True)
    assert class_measures(sums, 15)["recall"].tolist() == [[1.0] * 8]
