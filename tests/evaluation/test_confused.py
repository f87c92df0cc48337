import numpy as np
import pytest

from mien.evaluation.measures import most_confused


def probabilities_of(predicted: list[int], confidence: list[float]) -> np.ndarray:
    table = np.full((len(predicted), 7), np.nan)
    for row, (k, p) in enumerate(zip(predicted, confidence, strict=True)):
        table[row] = (1 - p) / 6
        table[row, k] = p
    return table


def test_pairs_by_count_with_the_most_confident_mistakes_first():
    labels = np.array([0, 0, 0, 0, 3, 3, 3, 6])
    predicted = [1, 1, 1, 0, 0, 0, 3, 6]
    found = most_confused(
        labels, probabilities_of(predicted, [0.5, 0.9, 0.7, 0.9, 0.4, 0.6, 0.9, 0.9]), pairs=5, faces=2
    )
    assert [(p.true, p.predicted, p.faces) for p in found] == [("angry", "disgust", 3), ("happy", "angry", 2)]
    assert found[0].rows.tolist() == [1, 2]
    assert found[0].probabilities == pytest.approx([0.9, 0.7])
    assert found[0].share == 0.75


def test_equal_counts_go_by_the_share_of_the_true_class():
    labels = np.array([0, 0, 0, 1])
    found = most_confused(labels, probabilities_of([2, 0, 0, 2], [0.9] * 4), pairs=1, faces=8)
    assert (found[0].true, found[0].share) == ("disgust", 1.0)


def test_no_error_no_pair():
    assert most_confused(np.arange(7), np.eye(7), pairs=5, faces=8) == ()
