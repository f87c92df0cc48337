"""What mien does where only its core dependencies are installed, the program of docs/howto/export.md, every network."""

import functools
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import distribution, packages_distributions
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from mien.cli.main import COMMANDS, EXTRAS
from mien.evaluation.other_data import MeasuredModel
from mien.inference.address import load_model_of
from mien.inference.classifier import METADATA
from mien.inference.export import ExportFaces, export_onnx, probabilities_in
from mien.models.description import FACES
from mien.models.graph import export_graph
from mien.models.weights import save_model
from tests.inference.conftest import Export, jpeg, portrait
from tests.inference.test_heatmap import born, noise

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@functools.cache
def core() -> frozenset[str]:
    """The modules that `pip install .` brings: the core dependencies, and all that they require."""
    found, waiting = {"mien"}, [Requirement(text) for text in PROJECT["dependencies"]]
    while waiting:
        one = waiting.pop()
        name = canonicalize_name(one.name)
        if name not in found and (one.marker is None or one.marker.evaluate({"extra": ""})):
            found.add(name)
            waiting += map(Requirement, distribution(name).requires or ())
    whose = packages_distributions().items()
    return frozenset(module for module, names in whose if found & set(map(canonicalize_name, names)))


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
BUT_CORE = f"top not in {set(core())} and top not in sys.stdlib_module_names and not top.startswith('_sysconfigdata')"


def predict(*arguments: object, absent: str = BUT_CORE) -> subprocess.CompletedProcess[str]:
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
    needed = (
        "mien: `mien explain` needs matplotlib, which is not installed: `pip install 'mien[explain]'` installs it.\n"
    )
    assert (absent.returncode, absent.stdout) == (2, "") and absent.stderr.endswith(needed)
    done = predict(*explain, absent="top == 'torch'")
    assert (done.returncode, done.stdout) == (2, "")
    assert "mien: `mien explain` needs torch, which is not installed: `pip install 'mien[explain]'`" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_extras_of_the_messages_exist() -> None:
    assert PROJECT["optional-dependencies"].keys() >= {"train", *EXTRAS.values()}


ONE = "--model models:/mien-fer2013@champion"
WITH = {"compare": "a b", "evaluate": "--data fer2013", "preset": "fer2013", "export": ONE}
WITH |= {"predict": f"photo.jpg {ONE}", "explain": f"photo.jpg {ONE}"}


@pytest.mark.slow
def test_a_wheel_in_an_empty_environment_predicts_and_says_what_each_other_command_needs(
    exported: Export, photo_file: Path, tmp_path: Path
) -> None:
    (source := tmp_path / "source").mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(ROOT / "src/mien", source / "src/mien", ignore=shutil.ignore_patterns("__pycache__"))
    programs = tmp_path / "environment/bin"
    away = {"cwd": tmp_path, "text": True, "capture_output": True}
    away["env"] = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "MLFLOW_TRACKING_URI")}
    subprocess.run([sys.executable, "-m", "venv", programs.parent], check=True)
    pip = [programs / "python", "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", "-w", tmp_path, source], check=True, **away)
    subprocess.run([*pip, "install", "-c", ROOT / "constraints.txt", *tmp_path.glob("*.whl")], check=True, **away)

    def mien(*arguments: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run([programs / "mien", *map(str, arguments)], check=False, **away)

    absent = "import importlib.util as u, mien; print(*filter(u.find_spec, ('torch', 'mlflow', 'dvc', 'pandas')))"
    assert subprocess.run([programs / "python", "-c", absent], check=True, **away).stdout == "\n"

    def predicts(*arguments: object) -> None:
        done = mien("predict", photo_file, *arguments)
        assert (done.returncode, "1 face in 1 photo" in done.stdout) == (0, True), done.stderr

    predicts("--model", exported.float32.file)
    for arguments in ([], *([command.__name__] for group in COMMANDS.values() for command in group)):
        helped = mien(*arguments, "--help")
        assert (helped.returncode, helped.stderr) == (0, "")
    video = mien("video", "clip.mp4", "out.mp4", "--model", exported.float32.file)
    assert (video.returncode, "`pip install 'mien[video]'` installs it." in video.stderr) == (2, True)
    shutil.copy(photo_file, tmp_path / "photo.jpg")
    for name in ("conf", "reports"):  # in a checkout each command comes to its libraries
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("*.html", "*.csv"))
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy(ROOT / name, tmp_path)
    predicts()  # with the model in the package
    for name in (
        "data",
        *(one.__name__ for group in COMMANDS.values() for one in group if one.__name__ not in ("detector", "video")),
    ):
        extra = {"app": "app", "explain": "explain", "labels": "noise"}.get(name, "train")
        done = mien(name, *WITH.get(name, "").split())
        assert (done.returncode, done.stdout) == (2, ""), (name, done)
        lacks, mended = (
            rf"`mien {name}` needs \w+, which is not installed",
            rf"`pip install 'mien\[{extra}\]'` installs it",
        )
        assert re.fullmatch(rf"mien: {lacks}: {mended}\.\n", done.stderr), done.stderr
    assert mien("detector").returncode == 0


PAGE = (ROOT / "docs/howto/export.md").read_text()


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
