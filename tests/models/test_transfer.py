"""MobileNetV2, backbones, and weights that come from elsewhere."""

import hashlib
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from mien.base.errors import UserError
from mien.models.description import ModelConfig
from mien.models.mobilenet import mobilenet_v2
from mien.models.networks import Network, build_model, trainable_parameters
from mien.models.weights import load_pretrained
from mien.runtime.spec import CutSpec


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


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_a_backbone_begins_with_the_weights_of_a_file(weights: Path, suffix: str) -> None:
    from safetensors.torch import load_file

    file = weights.with_suffix(suffix)
    if suffix == ".pth":
        torch.save(load_file(weights), file)
    config = small(weights=str(file), weights_sha256=digest(file))
    model = network(config)
    load_pretrained(model, config)
    assert model.backbone is not None
    torch.testing.assert_close(model.backbone.state_dict()["conv_stem.weight"], load_file(weights)["conv_stem.weight"])


def test_another_file_than_the_digest_says_is_refused(weights: Path) -> None:
    config = small(weights=str(weights), weights_sha256="0" * 64)
    with pytest.raises(UserError, match=f"{digest(weights)}, not 000"):
        load_pretrained(network(config), config)
    with pytest.raises(ValueError, match="weights_sha256 must be 64 hex digits, as `sha256sum"):
        small(weights=str(weights))


def test_what_does_not_fit_the_backbone_is_refused(tmp_path: Path) -> None:
    other = tmp_path / "other.safetensors"
    save_file({"layer1.weight": torch.zeros(3)}, other)
    config = small(weights=str(other), weights_sha256=digest(other))
    with pytest.raises(UserError, match="does not fit the backbone: 260 tensors are missing"):
        load_pretrained(network(config), config)


def test_a_pickle_of_anything_but_tensors_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "model.pth"
    torch.save({"conv": Path("/")}, file)
    config = small(weights=str(file), weights_sha256=digest(file))
    with pytest.raises(UserError, match="holds no weights"):
        load_pretrained(network(config), config)


def test_missing_weights_and_missing_timm_say_how_to_go_on(tmp_path: Path) -> None:
    config = small(weights=str(tmp_path / "gone.safetensors"), weights_sha256="0" * 64)
    with pytest.raises(UserError, match="there is no file"):
        load_pretrained(network(config), config)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"name": "cnn48", "weights": "imagenet"}, "of mobilenetv2, timm, not of cnn48"),
        ({"name": "timm"}, "backbone names a model of timm"),
        ({"name": "mobilenetv2", "backbone": "resnet18"}, "backbone names a model of timm"),
        ({"name": "mobilenetv2", "input_size": 20}, "32 to 512"),
    ],
)
def test_settings_that_make_no_network_are_refused(fields: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        ModelConfig(**fields)
