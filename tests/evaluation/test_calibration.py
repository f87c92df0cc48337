import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from sklearn.metrics import log_loss

from mien.base.errors import UserError
from mien.evaluation.calibration import fit_temperature, reliability
from mien.evaluation.measures import measure
from mien.runtime.session import softmax
from tests.evaluation.drawing import calibrated, drawn


@pytest.mark.parametrize("true", [0.3, 1.0, 2.5])
def test_a_known_temperature_is_found_again(true):
    labels, logits = calibrated(20_000)
    assert fit_temperature(logits * true, labels).value == pytest.approx(true, rel=0.03)


def test_the_temperature_is_the_minimum_that_scipy_finds_on_the_negative_log_likelihood():
    labels, logits = drawn(500)
    found = fit_temperature(3 * logits, labels)
    best = minimize_scalar(lambda t: log_loss(labels, softmax(3 * logits, t), labels=range(7)), (0.5, 5))
    assert found.value == pytest.approx(best.x, rel=1e-4)
    assert found.nll_after == pytest.approx(best.fun)
    assert found.nll_before == pytest.approx(log_loss(labels, softmax(3 * logits), labels=range(7)))
    assert found.note == ""


def test_all_right_keeps_the_temperature_and_says_why():
    found = fit_temperature(np.eye(7) * 5, np.arange(7))
    assert found.value == 1
    assert "no error" in found.note


def test_equal_logits_keep_the_temperature_and_say_why():
    found = fit_temperature(np.full((7, 7), 3.0), np.arange(7))
    assert (found.value, found.nll_after) == (1, pytest.approx(np.log(7)))
    assert "nothing to scale" in found.note


def test_logits_that_point_away_are_flattened():
    found = fit_temperature(-5 * np.eye(7), np.arange(7))
    assert found.value == 1000
    assert found.nll_after == pytest.approx(np.log(7), abs=0.01)
    assert found.note


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
