"""`mien predict` with an ONNX file where neither PyTorch nor MLflow nor pandas is installed."""

import os
import subprocess
import sys
from pathlib import Path

from tests.inference.conftest import jpeg, portrait
from tests.inference.tiny import Export

# As if they were not installed: whoever imports one fails, as does whoever imports what needs one.
ABSENT = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {absent}:
            raise ModuleNotFoundError("No module named " + repr(name), name=name)

sys.meta_path.insert(0, Absent())
from mien.cli.main import main
sys.argv = ["mien", *{arguments}]
main()
"""
NOT_NEEDED = (
    *("torch", "pytorch_lightning", "mlflow", "sqlalchemy", "pandas", "pyarrow", "matplotlib", "scipy", "sklearn"),
    *("optuna", "dvc", "hydra", "omegaconf", "onnx", "onnxscript", "captum", "albumentations", "safetensors"),
)


def predict(*arguments: object, absent: tuple[str, ...] = NOT_NEEDED) -> subprocess.CompletedProcess[str]:
    code = ABSENT.format(absent=absent, arguments=[str(argument) for argument in arguments])
    environment = {**os.environ, "NO_COLOR": "1"}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment)


def test_it_predicts(exported: Export, tmp_path: Path) -> None:
    (tmp_path / "portrait.jpg").write_bytes(jpeg(portrait()[0]))
    done = predict("predict", tmp_path / "portrait.jpg", "--model", exported.float32.file)
    assert done.returncode == 0, done.stderr
    assert "1 face in 1 photo" in done.stdout
    assert "learnt from drawings (bars)" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_folder_needs_no_more_than_a_file(exported: Export, tmp_path: Path) -> None:
    (tmp_path / "portrait.jpg").write_bytes(jpeg(portrait()[0]))
    done = predict("predict", tmp_path / "portrait.jpg", "--model", exported.root / "build/train")
    assert done.returncode == 0, done.stderr


def test_absent_is_absent(exported: Export, tmp_path: Path) -> None:
    """The block itself works: an explanation needs PyTorch."""
    (tmp_path / "portrait.jpg").write_bytes(jpeg(portrait()[0]))
    done = predict("explain", tmp_path / "portrait.jpg", "--model", exported.root / "build/train")
    assert done.returncode != 0
    assert "No module named" in done.stderr


def test_an_explanation_says_that_it_needs_torch(exported: Export, tmp_path: Path) -> None:
    (tmp_path / "portrait.jpg").write_bytes(jpeg(portrait()[0]))
    done = predict("explain", tmp_path / "portrait.jpg", "--model", exported.root / "build/train", absent=("torch",))
    assert (done.returncode, done.stdout) == (1, "")
    assert "mien: heat maps need torch, which is not installed: `pip install" in done.stderr
    assert "Traceback" not in done.stderr
