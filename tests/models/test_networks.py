"""The networks: their sizes, what they take, what they refuse."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from mien.base.errors import UserError
from mien.models.description import FACES, ModelConfig
from mien.models.mobilenet import mobilenet_v2
from mien.models.networks import MODELS, Network, build_model, multiply_adds, trainable_parameters
from mien.models.weights import load_initial, predict_logits
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


@pytest.mark.parametrize(
    ("settings", "parameters", "multiplied"),
    [
        ({"width": 16}, 308_151, 8_931_200),
        ({"width": 16, "blocks": 2, "stem_stride": 1}, 700_791, 78_189_440),
        ({"width": 32, "blocks": 2, "flip": True}, 2_796_263, 2 * 78_024_448),
    ],
)
def test_the_residual_net_has_the_size_that_was_screened(settings: dict[str, Any], parameters: int, multiplied: int):
    model = build_model(ModelConfig("resnet", **settings), CutSpec(48, "grey"), 7)
    assert (trainable_parameters(model), multiply_adds(model, CutSpec(48, "grey"))) == (parameters, multiplied)


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
    model.normalise.measure(faces, np.arange(len(faces)))
    normalised = model.normalise(torch.from_numpy(faces).permute(0, 3, 1, 2))
    assert abs(float(normalised.mean())) < 1e-3
    assert abs(float(normalised.std()) - 1) < 1e-3


def test_logits_do_not_depend_on_the_batch() -> None:
    faces = np.random.default_rng(0).integers(0, 255, (11, 32, 32, 3), dtype=np.uint8)
    model = build_model(ModelConfig("resnet", width=8), CutSpec(32, "rgb"), 7)
    np.testing.assert_allclose(predict_logits(model, faces, 3), predict_logits(model, faces, 11), rtol=1e-4, atol=1e-5)
    assert predict_logits(model, faces[:0]).shape == (0, 7)


def small(**more: object) -> ModelConfig:
    return ModelConfig(**{"name": "mobilenetv2", "dropout": 0.0, "input_size": 32, **more})


def network(config: ModelConfig) -> Network:
    return build_model(config, CutSpec(48, "grey"), 7)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    torch.manual_seed(3)
    file = tmp_path / "model.safetensors"
    state = {**mobilenet_v2().state_dict(), "classifier.weight": torch.zeros(1000, 1280)}
    save_file(state, file)
    return file


def digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def test_mobilenetv2_has_the_published_size_and_enlarges_grey_faces_itself() -> None:
    model = network(ModelConfig("mobilenetv2", input_size=64))
    assert trainable_parameters(model) == 2_396_551
    seen: list[tuple[int, ...]] = []
    model.body.backbone.register_forward_pre_hook(lambda _, inputs: seen.append(tuple(inputs[0].shape)))
    assert model(torch.zeros(2, 1, 48, 48, dtype=torch.uint8)).shape == (2, 7)
    assert seen == [(2, 3, 64, 64)]


def test_mobilenetv2_trains_its_downsampling_in_float32_on_a_cpu() -> None:
    layer = network(small()).body.backbone.blocks[1][0].conv_dw
    faces = torch.randn(2, layer.in_channels, 8, 8)
    with torch.autocast("cpu", torch.bfloat16):
        trained, answered = layer.train()(faces), layer.eval()(faces)
    assert (trained.dtype, answered.dtype) == (torch.float32, torch.bfloat16)
    assert torch.equal(trained, layer(faces))


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_a_backbone_begins_with_the_weights_of_a_file(weights: Path, suffix: str) -> None:
    from safetensors.torch import load_file

    file = weights.with_suffix(suffix)
    if suffix == ".pth":
        torch.save(load_file(weights), file)
    config = small(init=str(file), init_sha256=digest(file))
    model = network(config)
    load_initial(model, config, (), {})
    torch.testing.assert_close(model.backbone.state_dict()["conv_stem.weight"], load_file(weights)["conv_stem.weight"])


def test_another_file_than_the_digest_says_and_none_are_refused(weights: Path) -> None:
    config = small(init=str(weights), init_sha256="0" * 64)
    with pytest.raises(UserError, match=f"{digest(weights)}, not 000"):
        load_initial(network(config), config, (), {})
    weights.unlink()
    with pytest.raises(UserError, match="there is no file"):
        load_initial(network(config), config, (), {})
    with pytest.raises(ValueError, match="init_sha256 must be 64 hex digits, of `sha256sum"):
        small(init=str(weights))


def test_what_does_not_fit_the_backbone_is_refused(tmp_path: Path) -> None:
    other = tmp_path / "other.safetensors"
    save_file({"layer1.weight": torch.zeros(3)}, other)
    config = small(init=str(other), init_sha256=digest(other))
    with pytest.raises(UserError, match="does not fit the backbone: 260 tensors are missing"):
        load_initial(network(config), config, (), {})


def test_a_pickle_of_anything_but_tensors_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "model.pth"
    torch.save({"conv": Path("/")}, file)
    config = small(init=str(file), init_sha256=digest(file))
    with pytest.raises(UserError, match="holds no weights"):
        load_initial(network(config), config, (), {})


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"name": "cnn48", "init": "imagenet"}, "is for the backbone of mobilenetv2, timm; cnn48 can begin"),
        ({"name": "timm"}, "backbone names a model of timm"),
        ({"name": "mobilenetv2", "backbone": "resnet18"}, "backbone names a model of timm"),
        ({"name": "mobilenetv2", "input_size": 20}, "32 to 512"),
    ],
)
def test_settings_that_make_no_network_are_refused(fields: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        ModelConfig(**fields)
