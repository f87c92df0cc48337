"""The networks: their sizes, what they take, what they refuse."""

import numpy as np
import pytest
import torch

from mien.base.errors import UserError
from mien.models.description import FACES, ModelConfig
from mien.models.networks import MODELS, build_model, multiply_adds, trainable_parameters
from mien.models.weights import predict_logits
from mien.runtime.session import softmax
from mien.runtime.spec import CutSpec


@pytest.mark.parametrize(
    ("name", "size", "channels", "parameters"),
    [
        ("vgg64", 64, 3, 4_967_623),
        ("cnn48", 48, 1, 2_513_543),
        ("lenet48", 48, 1, 168_971),
        ("cnn5x5", 48, 1, 1_375_175),
    ],
)
def test_reference_networks_have_their_published_sizes(name: str, size: int, channels: int, parameters: int) -> None:
    model = build_model(ModelConfig(name), CutSpec(size, {1: "grey", 3: "rgb"}[channels]), 7)
    assert trainable_parameters(model) == parameters
    assert model(torch.zeros(2, channels, size, size, dtype=torch.uint8)).shape == (2, 7)


@pytest.mark.parametrize("size", [16, 48, 64, 97])
def test_the_residual_net_takes_faces_of_any_size(size: int) -> None:
    model = build_model(ModelConfig("resnet", width=4), CutSpec(size, "rgb"), 7)
    assert model(torch.zeros(2, 3, size, size)).shape == (2, 7)


def test_a_network_that_does_not_fit_the_crop_says_what_fits() -> None:
    with pytest.raises(UserError, match=r"vgg64 takes faces of 64 pixels in rgb.*48 pixels in grey"):
        build_model(ModelConfig("vgg64"), CutSpec(48, "grey"), 7)


def test_multiply_adds_are_those_of_convolutions_and_linear_layers() -> None:
    """LeNet-5's by hand: 44 x 44 places of 6 filters of 25, then 18 x 18 of 16 of 6 x 25, and three linear layers."""
    by_hand = 44 * 44 * 6 * 25 + 18 * 18 * 16 * 6 * 25 + 16 * 9 * 9 * 120 + 120 * 84 + 84 * 7
    network = build_model(ModelConfig("lenet48"), CutSpec(48, "grey"), 7)
    assert multiply_adds(network, CutSpec(48, "grey")) == by_hand
    assert network.training


def test_every_network_says_what_faces_it_takes() -> None:
    assert set(MODELS) == set(FACES)


def test_normalisation_is_measured_on_the_training_faces() -> None:
    faces = np.random.default_rng(0).integers(20, 80, (50, 16, 16, 1), dtype=np.uint8)
    model = build_model(ModelConfig("resnet", width=4), CutSpec(16, "grey"), 7)
    model.normalise.measure(faces)
    normalised = model.normalise(torch.from_numpy(faces).permute(0, 3, 1, 2))
    assert abs(float(normalised.mean())) < 1e-3
    assert abs(float(normalised.std()) - 1) < 1e-3


def test_logits_do_not_depend_on_the_batch() -> None:
    faces = np.random.default_rng(0).integers(0, 255, (11, 32, 32, 3), dtype=np.uint8)
    model = build_model(ModelConfig("resnet", width=8), CutSpec(32, "rgb"), 7)
    np.testing.assert_allclose(predict_logits(model, faces, 3), predict_logits(model, faces, 11), rtol=1e-4, atol=1e-5)
    assert predict_logits(model, faces[:0]).shape == (0, 7)


def test_softmax_survives_large_logits_and_flattens_with_temperature() -> None:
    sharp = softmax(np.array([[1000.0, 0, 0, 0, 0, 0, 0]]))
    assert sharp[0, 0] == pytest.approx(1)
    logits = np.array([[2.0, 1, 0, 0, 0, 0, 0]])
    assert softmax(logits, 2.0).max() < softmax(logits).max()
