"""What the picture of an explanation is made of."""

import dataclasses
import io

import numpy as np
from PIL import Image

from mien.inference.heatmap import explain_faces, explanation_figure, heat_maps
from mien.inference.predictor import FoundFaces, Predictor
from mien.runtime.cut import Box
from mien.sources.detect import Detection
from tests.inference.stripes import draw_stripes, trained_on_stripes


def test_each_face_is_explained_by_its_own_answer_or_by_the_class_asked_for() -> None:
    predictor, stripes = Predictor(trained_on_stripes()), draw_stripes(6, 5)
    found = FoundFaces([Detection(Box(0, 0, 32, 32))] * 6, stripes.faces)
    names = predictor.model.spec.classes
    explained = explain_faces(predictor, found)
    assert [row.asked for row in explained] == [names[k] for k in stripes.classes]
    assert [row.prediction.label for row in explained] == [row.asked for row in explained]
    expected = heat_maps(predictor.model.network(), stripes.faces, stripes.classes)
    np.testing.assert_allclose([row.heat for row in explained], expected, atol=1e-4)
    other = explain_faces(predictor, found, names[1])
    assert {row.asked for row in other} == {names[1]}
    assert [row.prediction.label for row in other] == [row.prediction.label for row in explained]


def test_every_face_has_a_row_and_an_empty_map_says_so() -> None:
    predictor, stripes = Predictor(trained_on_stripes()), draw_stripes(3, 5)
    explained = explain_faces(predictor, FoundFaces([Detection(Box(0, 0, 32, 32))] * 3, stripes.faces))
    sizes = []
    for rows in (explained[:1], explained):
        with Image.open(io.BytesIO(explanation_figure(rows, "title", "subtitle"))) as picture:
            sizes.append(picture.size)
    assert sizes[0][0] == sizes[1][0]
    assert sizes[1][1] > 2 * sizes[0][1]
    empty = dataclasses.replace(explained[0], heat=np.zeros((32, 32), np.float32))
    assert explanation_figure([empty], "title", "") != explanation_figure([explained[0]], "title", "")
