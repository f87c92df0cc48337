"""The exported graph answers as PyTorch does, and equal weights give equal bytes wherever they are exported."""

import dataclasses
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import mien
from mien.base.errors import UserError
from mien.models import weights
from mien.models.description import ModelConfig, ModelSpec
from mien.models.graph import export_graph, model_identity
from mien.models.weights import predict_logits
from mien.runtime.session import Model, open_graph
from mien.runtime.spec import CutSpec

SPEC = ModelSpec(dataclasses.asdict(ModelConfig("resnet", width=4)), CutSpec(24, "grey"))
NOISE = np.random.default_rng(0).integers(0, 256, (300, 24, 24, 1), dtype=np.uint8)
EXPORT = "import sys; from pathlib import Path; from tests.models.test_graph import export; export(Path(sys.argv[1]))"


def export(file: Path) -> torch.nn.Module:
    torch.manual_seed(0)
    network = SPEC.build()
    export_graph(network, SPEC, file, NOISE[:8])
    return network


def test_the_graph_answers_as_pytorch_for_any_number_of_faces(tmp_path: Path) -> None:
    network = export(tmp_path / "model.onnx").train()
    model = Model(open_graph(tmp_path / "model.onnx", SPEC.serving(None)), SPEC.serving(None))
    for n in (0, 1, 3, 300):
        np.testing.assert_allclose(model.logits(NOISE[:n]), predict_logits(network, NOISE[:n]), atol=1e-4)


def test_with_flip_the_graph_answers_with_the_mean_of_a_face_and_its_mirror(tmp_path: Path) -> None:
    spec = dataclasses.replace(SPEC, architecture={**SPEC.architecture, "flip": True})
    network = spec.build()
    export_graph(network, spec, tmp_path / "model.onnx", NOISE[:8])
    logits = Model(open_graph(tmp_path / "model.onnx", spec.serving(None)), spec.serving(None)).logits
    np.testing.assert_allclose(logits(NOISE[:9]), logits(NOISE[:9, :, ::-1]), atol=1e-5)
    network.flip = False
    alone = [predict_logits(network, faces) for faces in (NOISE[:9], np.ascontiguousarray(NOISE[:9, :, ::-1]))]
    assert np.abs(alone[0] - alone[1]).max() > 1e-3
    np.testing.assert_allclose(logits(NOISE[:9]), (alone[0] + alone[1]) / 2, atol=1e-4)
    network.flip = True
    pixels = torch.from_numpy(NOISE[:9]).permute(0, 3, 1, 2)
    assert not torch.equal(network.train()(pixels), network.train()(pixels.flip(-1)))  # trained on one view at a time


@pytest.mark.slow
def test_the_same_weights_give_the_same_bytes_in_another_checkout(tmp_path: Path) -> None:
    """Without the node metadata removed, the bytes hold the paths of the source files."""
    checkout = Path(mien.__file__).parents[2]
    shutil.copytree(checkout / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path / 'src'}{os.pathsep}{checkout}"}
    export(tmp_path / "here.onnx")
    subprocess.run([sys.executable, "-c", EXPORT, tmp_path / "there.onnx"], check=True, env=environment, cwd=tmp_path)
    here, there = (tmp_path / f"{place}.onnx" for place in ("here", "there"))
    assert here.read_bytes() == there.read_bytes()
    assert b"test_graph" not in here.read_bytes() and b"networks.py" not in here.read_bytes()


def test_a_graph_that_answers_otherwise_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "predict_logits", lambda model, faces: predict_logits(model, faces) + np.arange(7) / 9)
    with pytest.raises(UserError, match=r"differs from PyTorch by 0\.\d+ in a probability on 8 faces"):
        export(tmp_path / "model.onnx")
    assert not (tmp_path / "model.onnx").exists()


def test_whatever_changes_an_answer_changes_the_identity(tmp_path: Path) -> None:
    graphs = [tmp_path / "a.onnx", tmp_path / "b.onnx"]
    for file in graphs:
        file.write_bytes(file.name.encode())
    spec = SPEC.serving(1.5)
    others = [
        (graphs[1], spec),
        (graphs[0], dataclasses.replace(spec, temperature=1.6)),
        (graphs[0], dataclasses.replace(spec, classes=spec.classes[::-1])),
        (graphs[0], dataclasses.replace(spec, cut=dataclasses.replace(spec.cut, margin=0.1))),
    ]
    identities = [model_identity(file, spec) for file, spec in [(graphs[0], spec), *others]]
    assert len(set(identities)) == len(identities)
    assert model_identity(graphs[0], SPEC.serving(1.5)) == identities[0]
