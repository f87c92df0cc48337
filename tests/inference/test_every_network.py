"""Every network of the catalogue becomes a file that answers as it does, and a file needs nothing of PyTorch's."""

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import numpy as np
import pytest

from mien.inference.address import MeasuredModel, load_model_of
from mien.inference.export import ExportFaces, export_onnx, probabilities_in
from mien.models.description import FACES
from mien.models.graph import export_graph
from mien.models.weights import save_model
from tests.inference.conftest import jpeg, portrait
from tests.inference.test_heatmap import born, noise
from tests.inference.tiny import Export

# What a machine needs that only uses an exported file; mien's own dependencies are more.
NEEDED = (
    *("numpy", "numpy.libs", "cv2", "opencv_python_headless.libs", "PIL", "pillow.libs"),
    *("onnxruntime", "flatbuffers", "google", "packaging"),
    *("typer", "click", "rich", "markdown_it", "mdurl", "pygments", "shellingham", "typing_extensions.py"),
    *("pydantic", "pydantic_core", "typing_inspection", "annotated_types", "annotated_doc", "yaml", "_yaml", "tqdm"),
)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in FACES if name != "timm"])
def test_every_network_is_exported(name: str, tmp_path: Path) -> None:
    network, spec = born(name, **({"input_size": 224} if name == "mobilenetv2" else {}))
    (tmp_path / "train").mkdir()
    save_model(network, spec, tmp_path / "train")
    export_graph(network, spec, tmp_path / "train/model.onnx", noise(spec.cut, 3))
    loaded = load_model_of(str(tmp_path / "train"))
    measured = MeasuredModel(loaded, {"digest": "born", "run": name})
    faces = ExportFaces(noise(spec.cut, 5), "5 faces of noise", calibration=noise(spec.cut, 16))
    done = export_onnx(measured, faces, tmp_path / "model.onnx", int8=True)
    assert done.float32.difference < 1e-4
    assert done.int8 is not None
    assert done.int8.difference < 0.2
    one, three = (noise(spec.cut, n) for n in (1, 3))
    np.testing.assert_allclose(probabilities_in(done.file, three)[:1], probabilities_in(done.file, one), atol=0.02)


@pytest.mark.slow
def test_a_machine_without_pytorch(exported: Export, tmp_path: Path) -> None:
    """A virtual environment that holds what the file needs, and no more."""
    venv.create(tmp_path / "venv", with_pip=False)
    (packages,) = (tmp_path / "venv/lib").glob("python*/site-packages")
    for name in NEEDED:
        place = Path(sysconfig.get_paths()["purelib"]) / name
        if place.exists():
            (packages / name).symlink_to(place)
    (packages / "mien").symlink_to(Path(__file__).parents[2] / "src/mien")
    (tmp_path / "portrait.jpg").write_bytes(jpeg(portrait()[0]))
    command = [tmp_path / "venv/bin/python", "-m", "mien.cli.main", "predict", "portrait.jpg", "--model"]
    environment = {"PATH": os.environ["PATH"]}
    done = subprocess.run(
        [*command, exported.float32.file], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "1 face in 1 photo" in done.stdout
    absent = subprocess.run([command[0], "-c", "import torch"], capture_output=True, env=environment, check=False)
    assert absent.returncode == 1
    assert sys.prefix not in done.stderr
