"""Where a network looked: maps lie on the evidence, for every network, and leave no trace in it."""

import dataclasses
import io
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from mien.base.errors import UserError
from mien.inference.heatmap import explain_faces, explanation_figure, heat_maps
from mien.inference.predictor import FoundFaces, Predictor
from mien.models.description import FACES, ModelConfig, ModelSpec
from mien.models.networks import Network
from mien.runtime.cut import Box
from mien.runtime.spec import CutSpec
from mien.sources.detect import Detection
from tests.inference.stripes import SIZE, Stripes, draw_stripes, trained_on_stripes

MEMBERS = [dataclasses.asdict(ModelConfig("resnet", width=width)) for width in (4, 8)]
NEEDED: dict[str, dict[str, Any]] = {"mobilenetv2": {"input_size": 224}, "ensemble": {"members": MEMBERS}}


def born(name: str, **settings: Any) -> tuple[Network, ModelSpec]:
    """A network with the weights that it is born with."""
    torch.manual_seed(0)
    wanted = FACES[name]
    spec = ModelSpec(
        dataclasses.asdict(ModelConfig(name, **NEEDED.get(name, {}), **settings)),
        CutSpec(wanted.size or 48, wanted.colour or "rgb"),
    )
    return spec.build(), spec


def noise(cut: CutSpec, n: int) -> np.ndarray:
    shape = (n, cut.size, cut.size, cut.channels)
    return np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8)


def test_maps_lie_on_the_evidence() -> None:
    """Closer to each picture's own patch than to another picture's: by chance that is every second time."""
    model, drawn = trained_on_stripes(), draw_stripes(300, 2)
    assert (model.probabilities(drawn.faces).argmax(axis=1) == drawn.classes).mean() > 0.99
    stripes = Stripes(*(part[drawn.classes < 2] for part in drawn))
    maps = heat_maps(model.network(), stripes.faces, stripes.classes)
    pixels, weight = np.arange(SIZE), maps.sum(axis=(1, 2))
    assert weight.all()
    centres = np.stack([maps.sum(axis=2) @ pixels, maps.sum(axis=1) @ pixels], axis=1) / weight[:, None]
    own = np.linalg.norm(centres - stripes.centres, axis=1)
    others = np.linalg.norm(centres - stripes.centres[::-1], axis=1)
    assert np.median(own) < 4
    assert np.median(others) > 9
    assert (own < others).mean() > 0.9


@pytest.mark.parametrize("name", [name for name in FACES if name != "timm"])
def test_every_network_has_maps(name: str) -> None:
    network, spec = born(name)
    faces = noise(spec.cut, 3)
    maps = heat_maps(network, faces, np.array([0, 3, 6]))
    assert maps.shape == (3, spec.cut.size, spec.cut.size)
    assert maps.dtype == np.float32
    assert maps.min() >= 0
    assert set(maps.max(axis=(1, 2))) <= {0.0, 1.0}
    assert maps.any()
    assert maps.std(axis=(1, 2)).any()
    assert heat_maps(network, faces[:0], np.array([], int)).shape == (0, spec.cut.size, spec.cut.size)


def test_of_a_network_that_flips_a_mirrored_face_has_the_mirrored_map() -> None:
    network, spec = born("resnet", width=8, flip=True)
    faces, classes = noise(spec.cut, 3), np.array([0, 3, 6])
    mirrored = heat_maps(network, np.ascontiguousarray(faces[:, :, ::-1]), classes)
    np.testing.assert_allclose(mirrored[:, :, ::-1], heat_maps(network, faces, classes), atol=1e-4)


def test_the_network_is_left_as_it_was() -> None:
    network, stripes = trained_on_stripes().network(), draw_stripes(4, 3)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    with torch.inference_mode():  # as a caller may be in
        heat_maps(network, stripes.faces, stripes.classes)
    assert not network.training
    assert all(parameter.grad is None and parameter.requires_grad for parameter in network.parameters())
    assert not any(module._forward_hooks or module._backward_hooks for module in network.modules())
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_threads_get_what_each_would_get_alone() -> None:
    model, stripes = trained_on_stripes(), draw_stripes(12, 4)
    alone = heat_maps(model.network(), stripes.faces, stripes.classes)
    answers = model.probabilities(stripes.faces)

    def ask(i: int) -> tuple[np.ndarray, np.ndarray]:
        rows = slice(i % 12, i % 12 + 1)
        heat = heat_maps(model.network(), stripes.faces[rows], stripes.classes[rows])
        return heat, model.probabilities(stripes.faces[rows])

    with ThreadPoolExecutor(8) as pool:
        for i, (found, answer) in enumerate(pool.map(ask, range(48))):
            np.testing.assert_allclose(found[0], alone[i % 12], atol=1e-4)
            np.testing.assert_allclose(answer[0], answers[i % 12], atol=1e-5)


def test_a_graph_alone_is_refused_in_one_sentence() -> None:
    model = dataclasses.replace(trained_on_stripes(), files=None, name="mien.onnx")
    with pytest.raises(UserError, match=r"mien\.onnx has only a graph.*name the registered model"):
        model.network()


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
