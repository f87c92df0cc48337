"""`mien predict` with an ONNX file where little else is installed, the program of docs/ONNX.md, every network."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mien.inference.address import MeasuredModel, load_model_of
from mien.inference.classifier import METADATA
from mien.inference.export import ExportFaces, export_onnx, probabilities_in
from mien.models.description import FACES
from mien.models.graph import export_graph
from mien.models.weights import save_model
from tests.inference.conftest import Export, jpeg, portrait
from tests.inference.test_heatmap import born, noise

# What a machine needs that only uses an exported file; mien's own dependencies are more.
NEEDED = (
    *("mien", "numpy", "cv2", "PIL", "onnxruntime", "flatbuffers", "google", "packaging"),
    *("typer", "click", "rich", "markdown_it", "mdurl", "pygments", "shellingham", "typing_extensions"),
    *("pydantic", "pydantic_core", "typing_inspection", "annotated_types", "annotated_doc", "yaml", "_yaml"),
)
# As if nothing else were installed: whoever imports it fails, as does whoever imports what needs it.
ALONE = """
import sys

class Alone:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if {absent}:
            raise ModuleNotFoundError("No module named " + repr(name), name=name)

sys.meta_path.insert(0, Alone())
from mien.cli.main import main
sys.argv = ["mien", *{arguments}]
main()
"""
ALL_ELSE = f"top not in {NEEDED} and top not in sys.stdlib_module_names and not top.startswith('_sysconfigdata')"


def predict(*arguments: object, absent: str = ALL_ELSE) -> subprocess.CompletedProcess[str]:
    """The command, outside of any checkout."""
    code = ALONE.format(absent=absent, arguments=[str(argument) for argument in arguments])
    how: dict[str, Any] = {"cwd": "/", "env": {**os.environ, "NO_COLOR": "1"}}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, **how)


@pytest.mark.parametrize("folder", [False, True])
def test_it_predicts_with_a_file_and_with_a_folder(exported: Export, photo_file: Path, folder: bool) -> None:
    done = predict("predict", photo_file, "--model", exported.root / "build/train" if folder else exported.float32.file)
    assert done.returncode == 0, done.stderr
    assert "1 face in 1 photo" in done.stdout
    assert "learnt from drawings (bars)" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_explanation_says_that_it_needs_torch(exported: Export, photo_file: Path) -> None:
    explain = ("explain", photo_file, "--model", exported.root / "build/train")
    absent = predict(*explain)  # the block itself works
    assert absent.returncode != 0 and "No module named" in absent.stderr
    done = predict(*explain, absent="top == 'torch'")
    assert (done.returncode, done.stdout) == (1, "")
    assert "mien: heat maps need torch, which is not installed: `pip install" in done.stderr
    assert "Traceback" not in done.stderr


PAGE = (Path(__file__).parents[2] / "docs/ONNX.md").read_text()


def test_the_program_in_the_page_answers_as_mien_does(exported: Export, tmp_path: Path) -> None:
    photo, box = portrait()
    (tmp_path / "face.jpg").write_bytes(jpeg(photo[box.top : box.bottom, box.left : box.right]))
    shutil.copy(exported.float32.file, tmp_path / "model.onnx")
    (program,) = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    printed = {name: float(share) for name, share in (line.split() for line in done.stdout.splitlines())}
    model, face = tmp_path / "model.onnx", tmp_path / "face.jpg"
    (row,) = json.loads(predict("predict", face, "--model", model, "--cropped", "--json").stdout)
    assert printed == pytest.approx(row["probabilities"], abs=1e-3)
    assert max(printed.values()) > 0.2


def test_the_page_names_every_key_of_the_metadata() -> None:
    keys = {"spec", *METADATA}
    section = PAGE.partition("## Contents of the file")[2].partition("## Use in another program")[0]
    assert keys <= set(re.findall(r"`([a-z_]+)`", section))


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in FACES if name != "timm"])
def test_every_network_is_exported(name: str, tmp_path: Path) -> None:
    network, spec = born(name)
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
