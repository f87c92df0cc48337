"""Backbones of timm; `make test-timm` runs this with the extra installed beside the pinned stack."""

import subprocess
import sys
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

from mien.base.errors import UserError
from mien.models.description import ModelConfig, ModelSpec
from mien.models.graph import export_graph
from mien.models.mobilenet import mobilenet_v2
from mien.models.networks import build_model, trainable_parameters
from mien.models.weights import load_initial
from mien.runtime.spec import CutSpec

with_timm = pytest.mark.skipif(find_spec("timm") is None, reason="the extra timm is not installed; see make test-timm")


@pytest.mark.skipif(find_spec("timm") is not None, reason="timm is installed")
def test_without_timm_it_says_how_to_get_it_and_what_else_there_is() -> None:
    config = ModelConfig("mobilenetv2", input_size=32, init="imagenet")
    with pytest.raises(UserError, match=r"pip install .*\[timm\].*init_sha256.*train from scratch"):
        load_initial(build_model(ModelConfig("mobilenetv2"), CutSpec(48, "grey"), 7), config, (), {})


@with_timm
def test_lightning_imports_beside_a_torchvision_of_another_build() -> None:
    code = "import mien.training.fit, torchvision; print(torchvision.__version__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@with_timm
def test_our_mobilenetv2_answers_as_timms_with_the_same_weights() -> None:
    from mien.models.timm_backbone import timm_backbone

    theirs, features = timm_backbone("mobilenetv2_100", 96)
    ours = mobilenet_v2()
    ours.load_state_dict(theirs.state_dict())
    images = torch.rand(2, 3, 96, 96)
    with torch.inference_mode():
        torch.testing.assert_close(ours.eval()(images), theirs.eval()(images))
    assert features == 1280


@with_timm
@pytest.mark.parametrize("name", ["resnet10t", "mobilenetv4_conv_small", "ghostnet_100", "convnext_atto"])
def test_a_backbone_by_its_name_learns(name: str) -> None:
    model = build_model(ModelConfig("timm", backbone=name, input_size=64), CutSpec(48, "grey"), 8)
    logits = model.train()(torch.zeros(2, 1, 48, 48, dtype=torch.uint8))
    assert logits.shape == (2, 8)
    logits.sum().backward()
    assert trainable_parameters(model) > 1_000_000


@with_timm
@pytest.mark.parametrize(("name", "size"), [("vit_tiny_patch16_224", 0), ("mobilenetv3_small_050", 96)])
def test_a_backbone_for_faces_of_another_size_is_exported(name: str, size: int, tmp_path: Path) -> None:
    spec = ModelSpec(asdict(ModelConfig("timm", backbone=name, input_size=size)), CutSpec(48, "grey"))
    faces = np.random.default_rng(0).integers(0, 256, (3, 48, 48, 1), dtype=np.uint8)
    export_graph(spec.build(), spec, tmp_path / "model.onnx", faces)  # refuses a graph that answers otherwise


@with_timm
def test_a_size_that_a_backbone_cannot_take_is_refused() -> None:
    with pytest.raises(UserError, match=r"model.input_size: efficientformer_l1 of timm cannot take 48 pixels"):
        build_model(ModelConfig("timm", backbone="efficientformer_l1"), CutSpec(48, "grey"), 7)


@with_timm
def test_an_unknown_backbone_gives_near_names() -> None:
    with pytest.raises(UserError, match=r"no model 'resnet19'; near ones are .*resnet"):
        build_model(ModelConfig("timm", backbone="resnet19"), CutSpec(48, "grey"), 7)


@with_timm
def test_the_names_read_from_timms_files_are_those_that_it_has() -> None:
    import timm

    from mien.models.timm_backbone import backbone_names

    assert sorted(backbone_names()) == sorted(timm.list_models())


@with_timm
def test_without_a_network_imagenet_weights_say_what_else_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    config = ModelConfig("mobilenetv2", input_size=32, init="imagenet")
    with pytest.raises(UserError, match=r"timm's hub cannot give .*init_sha256.*train from scratch"):
        load_initial(build_model(config, CutSpec(48, "grey"), 7), config, (), {})
