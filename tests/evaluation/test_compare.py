import numpy as np
import pytest

from mien.evaluation.intervals import COMPARED, paired_bootstrap
from mien.evaluation.measures import measure
from mien.runtime.session import softmax
from tests.evaluation.drawing import drawn


def test_a_model_does_not_differ_from_itself(labels_and_logits):
    labels, logits = labels_and_logits
    found = paired_bootstrap(labels, softmax(logits), softmax(logits), np.arange(400), n=200)
    assert tuple(found) == COMPARED
    assert all((one.value, one.low, one.high) == (0, 0, 0) for one in found.values())


def test_the_difference_is_b_minus_a_and_swapping_turns_it_round(labels_and_logits):
    labels, logits = labels_and_logits
    better = logits + np.eye(7)[labels]
    there = paired_bootstrap(labels, softmax(logits), softmax(better), np.arange(400), n=300)
    back = paired_bootstrap(labels, softmax(better), softmax(logits), np.arange(400), n=300)
    a, b = measure(labels, softmax(logits)), measure(labels, softmax(better))
    for name in COMPARED:
        assert there[name].value == pytest.approx(b[name] - a[name])
        assert (back[name].low, back[name].high) == pytest.approx((-there[name].high, -there[name].low))
    assert there["accuracy"].low > 0
    assert there["nll"].high < 0


def test_pairing_sees_a_small_difference_that_separate_intervals_do_not():
    """Two models that agree on nearly all faces: their difference is known far better than either."""
    labels, logits = drawn(1000)
    better = logits.copy()
    mended = np.flatnonzero(logits.argmax(axis=1) != labels)[:25]
    better[mended, labels[mended]] += 20
    found = paired_bootstrap(labels, softmax(logits), softmax(better), np.arange(1000), n=1000)["accuracy"]
    assert found.value == pytest.approx(0.025)
    assert 0.01 < found.low < found.high < 0.04


def test_a_lower_level_is_narrower(labels_and_logits):
    labels, logits = labels_and_logits
    wide, narrow = (
        paired_bootstrap(labels, softmax(logits), softmax(2 * logits), np.arange(400), n=300, level=level)["nll"]
        for level in (0.95, 0.8)
    )
    assert wide.low < narrow.low < narrow.value < narrow.high < wide.high


def test_one_photo_decides_nothing():
    labels, logits = drawn(5)
    found = paired_bootstrap(labels, softmax(logits), softmax(2 * logits), np.zeros(5))
    assert not any(one.known for one in found.values())
