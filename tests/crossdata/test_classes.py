"""Classes that one side lacks."""

import numpy as np
import pandas as pd
import pytest

from mien.base.classes import EXPRESSIONS, WITH_CONTEMPT
from mien.evaluation.other_data import SharedClasses, absent, names_of
from mien.runtime.session import softmax


def test_a_class_that_the_data_cannot_name_leaves_the_choice_and_the_rest_adds_up_to_one() -> None:
    shared = SharedClasses(model=WITH_CONTEMPT, data=EXPRESSIONS)
    logits = np.random.default_rng(0).normal(size=(5, 8))
    whole = softmax(logits, 2.0)
    assert softmax(shared.logits(logits), 2.0) == pytest.approx(whole[:, :7] / whole[:, :7].sum(axis=1, keepdims=True))


def test_what_the_dropped_class_had_won_is_counted() -> None:
    shared = SharedClasses(model=WITH_CONTEMPT, data=EXPRESSIONS)
    logits = np.zeros((3, 8))
    logits[0, 7], logits[0, 2] = 3, 2  # contempt, then fear, which is right
    logits[1, 4] = 1
    logits[2, 5] = 1
    labels = np.array([2, 4, 0])
    assert shared.dropped(logits, labels) == {
        "classes": ["contempt"],
        "first_answers": 1,
        "accuracy_if_wrong": pytest.approx(1 / 3, abs=1e-6),
    }
    assert (shared.logits(logits).argmax(axis=1) == labels).sum() == 2


def test_equal_classes_change_nothing() -> None:
    shared = SharedClasses(EXPRESSIONS, EXPRESSIONS)
    logits = np.random.default_rng(0).normal(size=(5, 7))
    assert (shared.logits(logits) == logits).all() and shared.dropped(logits, np.zeros(5)) is None


def test_a_class_that_the_model_cannot_name_is_found() -> None:
    faces = pd.DataFrame({"label": [0, 7, 6, 7]})
    unknown = SharedClasses(EXPRESSIONS, WITH_CONTEMPT).unknown(faces)
    assert unknown.tolist() == [False, True, False, True]
    assert names_of(faces["label"][unknown]) == {"contempt": 2}
    assert absent(faces["label"].to_numpy(), EXPRESSIONS) == ["disgust", "fear", "happy", "sad", "surprise"]
