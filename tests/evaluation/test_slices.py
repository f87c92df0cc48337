import re
import warnings

import numpy as np

from mien.base.classes import EXPRESSIONS
from mien.evaluation.scoring import slice_accuracy, terciles, with_slices
from tests.evaluation.drawing import index_of

NAMES = ("small", "medium", "large")


def test_terciles_by_hand_and_equal_values_stay_together():
    found = {title: np.flatnonzero(rows).tolist() for title, rows in terciles([9, 1, 2, 8, 5, 4], NAMES, " px").items()}
    assert found == {"small, 1–2 px": [1, 2], "medium, 4–5 px": [4, 5], "large, 8–9 px": [0, 3]}
    found = terciles([1, 1, 1, 1, 7, 7], NAMES, " px")
    assert {title: rows.sum() for title, rows in found.items()} == {"small, 1 px": 4, "large, 7 px": 2}


def test_a_slices_accuracy_is_that_of_its_faces():
    labels = np.repeat(np.arange(7), 60)
    index = index_of(labels)
    predicted = np.where((labels == 2) | (index["face_size"] < 50), 0, labels)
    found = {(s.group, s.name): s for s in slice_accuracy(index, predicted, EXPRESSIONS).slices}
    assert found["class", "fear"].accuracy.value == 0
    assert found["class", "angry"].accuracy.value == 1
    small = next(s for key, s in found.items() if key[1].startswith("small"))
    assert small.accuracy.value < 0.3
    assert sum(s.faces for s in found.values() if s.group == "face size") == 420
    assert found["class", "happy"].photos == 30


def test_few_faces_are_said_to_be_too_few():
    labels = np.array([0] * 100 + [1] * 19)
    found = {s.name: s for s in slice_accuracy(index_of(labels), labels, EXPRESSIONS).slices}
    assert found["disgust"].too_few
    assert not found["disgust"].accuracy.known
    assert not found["angry"].too_few
    assert found["angry"].accuracy.known


def test_without_confidences_or_with_equal_sizes_the_grouping_is_skipped_and_said():
    index = index_of(np.arange(70) % 7).assign(confidence=np.nan, face_size=48)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = slice_accuracy(index, index["label"], EXPRESSIONS)
    assert found.skipped == {
        "detector confidence": "the data set gives no detector confidence",
        "face size": "all 70 faces have the same face size",
    }
    assert {s.group for s in found.slices} == {"class"}


def test_faces_without_a_confidence_among_others_are_a_slice_of_their_own():
    index = index_of(np.arange(70) % 7)
    index.loc[:29, "confidence"] = np.nan
    found = [s for s in slice_accuracy(index, index["label"], EXPRESSIONS).slices if s.name == "not given"]
    assert [s.faces for s in found] == [30]


def test_slices_by_columns_of_the_faces_table() -> None:
    """Numbers in thirds, also as text; other values each, the rarer ones together; nothing given is a slice too."""
    index = index_of(np.arange(280) % 7)
    faces = index[["face_id"]].assign(
        camera=["front", "side", ""] * 93 + ["front"],
        age=[str(20 + k % 60) for k in range(280)],
        maker=[f"maker {k % 40:02}" if k % 2 else "common" for k in range(280)],
        glasses=[k % 4 == 0 for k in range(280)],
        group="one",
        empty="",
    )
    columns = ["camera", "age", "maker", "glasses", "group", "empty"]
    shuffled = faces.sample(frac=1, random_state=0)
    found = slice_accuracy(with_slices(index, shuffled, columns), index["label"], EXPRESSIONS)
    assert found.skipped == {"group": "all 280 faces have the same group", "empty": "the data set gives no empty"}
    faces_of = {(s.group, s.name): s.faces for s in found.slices}
    assert [faces_of["camera", name] for name in ("front", "side", "not given")] == [94, 93, 93]
    ages = [name for group, name in faces_of if group == "age"]
    assert [re.sub("[0-9]+", "N", name) for name in ages] == ["low, N–N", "middle, N–N", "high, N–N"]
    makers = [name for group, name in faces_of if group == "maker"]
    assert makers[0] == "common" and makers[-1] == "9 rarer values" and len(makers) == 13
    assert sum(n for (group, _), n in faces_of.items() if group == "maker") == 280
    assert (faces_of["glasses", "True"], faces_of["glasses", "False"]) == (70, 210)
