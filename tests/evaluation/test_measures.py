import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import minimize_scalar
from sklearn import metrics
from sklearn.metrics import log_loss

from mien.base.classes import EXPRESSIONS
from mien.base.errors import UserError
from mien.evaluation.measures import (
    CLASS_MEASURES,
    confusion_counts,
    face_sums,
    fit_temperature,
    measure,
    measures,
    reliability,
    top_confusions,
)
from mien.runtime.session import softmax
from tests.evaluation.drawing import calibrated, drawn


def certain(predicted: list[int]) -> np.ndarray:
    return np.eye(7)[predicted]


def test_a_class_never_predicted_counts_as_zero_and_one_without_faces_is_left_out():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sums = face_sums([0, 0, 1], certain([0, 2, 0]), 15).sum(axis=0, keepdims=True)
        scores = measures(sums, 15)
        found = measure([0, 0, 1], certain([0, 2, 0]))
    assert [scores[name][0, 1] for name in CLASS_MEASURES] == [0, 0, 0]
    assert np.isnan([scores[name][0, 2] for name in CLASS_MEASURES]).all()
    assert found["unweighted_average_recall"] == pytest.approx((0.5 + 0) / 2)
    assert found["macro_precision"] == pytest.approx((0.5 + 0) / 2)


logits_of_faces = st.integers(1, 40).flatmap(
    lambda n: st.tuples(
        arrays(np.int64, n, elements=st.integers(0, 6)), arrays(np.float64, (n, 7), elements=st.floats(-30, 30))
    )
)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(logits_of_faces)
def test_measures_are_those_of_scikit_learn(drawn_faces):
    labels, logits = drawn_faces
    probabilities = softmax(logits)
    predicted = probabilities.argmax(axis=1)
    found = measure(labels, probabilities)
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(labels, predicted))
    assert found["nll"] == pytest.approx(log_loss(labels, probabilities, labels=range(7)))
    brier = metrics.brier_score_loss(labels, probabilities, labels=range(7), scale_by_half=False)
    assert found["brier"] == pytest.approx(brier, abs=1e-9)
    confusion = metrics.confusion_matrix(labels, predicted, labels=range(7))
    assert (confusion_counts(labels, predicted, 7) == confusion).all()
    present = np.unique(labels)
    expected = metrics.precision_recall_fscore_support(labels, predicted, labels=present, zero_division=0)
    by_class = measures(face_sums(labels, probabilities, 15).sum(axis=0, keepdims=True), 15)
    for name, values in zip(("precision", "recall", "f1"), expected, strict=False):
        assert by_class[name][0, present] == pytest.approx(values), name
        assert found[f"macro_{name}"] == pytest.approx(values.mean()), name
    assert found["unweighted_average_recall"] == found["macro_recall"]


@pytest.mark.parametrize(
    "probabilities", [np.full((1, 7), np.nan), np.full((1, 7), 0.5), np.array([[2.0, -1, 0, 0, 0, 0, 0]])]
)
def test_what_is_no_probability_is_refused(probabilities):
    with pytest.raises(ValueError, match="0 or above and sum to 1"):
        measure([0], probabilities)


def test_eight_classes_are_measured_as_seven_are() -> None:
    labels = np.arange(24) % 8
    found = measure(labels, np.eye(8)[(labels + (labels == 7)) % 8])
    assert found["accuracy"] == pytest.approx(21 / 24)
    assert confusion_counts(labels, np.zeros(24, int), 8)[7, 0] == 3
    sums = face_sums(labels, np.eye(8)[labels], 15).sum(axis=0, keepdims=True)
    assert measures(sums, 15)["recall"].tolist() == [[1.0] * 8]


def probabilities_of(predicted: list[int], confidence: list[float]) -> np.ndarray:
    table = np.full((len(predicted), 7), np.nan)
    for row, (k, p) in enumerate(zip(predicted, confidence, strict=True)):
        table[row] = (1 - p) / 6
        table[row, k] = p
    return table


def test_pairs_by_count_with_the_most_confident_mistakes_first():
    labels = np.array([0, 0, 0, 0, 3, 3, 3, 6])
    predicted = [1, 1, 1, 0, 0, 0, 3, 6]
    probabilities = probabilities_of(predicted, [0.5, 0.9, 0.7, 0.9, 0.4, 0.6, 0.9, 0.9])
    found = top_confusions(labels, probabilities, EXPRESSIONS, pairs=5, faces=2)
    assert [(p.true, p.predicted, p.faces) for p in found] == [("angry", "disgust", 3), ("happy", "angry", 2)]
    assert found[0].rows.tolist() == [1, 2]
    assert found[0].probabilities == pytest.approx([0.9, 0.7])
    assert found[0].share == 0.75


def test_equal_counts_go_by_the_share_of_the_true_class():
    labels = np.array([0, 0, 0, 1])
    found = top_confusions(labels, probabilities_of([2, 0, 0, 2], [0.9] * 4), EXPRESSIONS, pairs=1, faces=8)
    assert (found[0].true, found[0].share) == ("disgust", 1.0)
    assert top_confusions(np.arange(7), np.eye(7), EXPRESSIONS, pairs=5, faces=8) == ()


def test_the_temperature_is_the_minimum_that_scipy_finds_on_the_negative_log_likelihood():
    labels, logits = drawn(500)
    found = fit_temperature(3 * logits, labels)
    best = minimize_scalar(lambda t: log_loss(labels, softmax(3 * logits, t), labels=range(7)), (0.5, 5))
    assert found.value == pytest.approx(best.x, rel=1e-4)
    assert found.nll_after == pytest.approx(best.fun)
    assert found.nll_before == pytest.approx(log_loss(labels, softmax(3 * logits), labels=range(7)))
    assert found.note == ""


@pytest.mark.parametrize(
    ("logits", "temperature", "nll"),
    [(np.eye(7) * 5, 1, 0.04), (np.full((7, 7), 3.0), 1, np.log(7)), (-5 * np.eye(7), 1000, np.log(7))],
)
def test_logits_without_a_best_temperature_say_why(logits, temperature, nll):
    found = fit_temperature(logits, np.arange(7))
    assert found.value == temperature
    assert found.note and found.nll_after == pytest.approx(nll, abs=0.01)


@pytest.mark.parametrize("scale", [1e-2, 1.0, 1e4])
def test_extreme_logits_do_not_overflow(scale):
    labels, logits = drawn(200)
    found = fit_temperature(scale * logits, labels)
    assert np.isfinite([found.value, found.nll_before, found.nll_after]).all()
    assert found.nll_after <= found.nll_before


def test_a_diverged_model_is_named_as_such():
    logits = np.zeros((3, 7))
    logits[1, 2] = np.nan
    with pytest.raises(UserError, match="1 of 3 faces"):
        fit_temperature(logits, [0, 1, 2])


def test_reliability_by_hand():
    probabilities = np.zeros((4, 7))
    probabilities[:, 0], probabilities[:, 1] = (0.6, 0.65, 1.0, 0.5), (0.4, 0.35, 0.0, 0.5)
    table = reliability([0, 1, 0, 0], probabilities, bins=5)
    assert table.faces.tolist() == [0, 0, 2, 1, 1]  # 0.6 belongs to (0.4, 0.6]
    assert table.confidence[2:] == pytest.approx([0.55, 0.65, 1.0])
    assert table.accuracy[2:] == pytest.approx([1.0, 0.0, 1.0])
    assert np.isnan(table.accuracy[:2]).all()
    assert measure([0, 1, 0, 0], probabilities, 5)["ece"] == pytest.approx((2 * 0.45 + 0.65 + 0) / 4)


def test_calibrated_probabilities_have_a_small_error_and_sharpened_ones_a_large_one():
    labels, logits = calibrated(20_000)
    assert measure(labels, softmax(logits))["ece"] < 0.02
    assert measure(labels, softmax(5 * logits))["ece"] > 0.15
