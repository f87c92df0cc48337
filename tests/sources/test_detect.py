"""YuNet and the file that comes with mien."""

import hashlib
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from mien.sources.detect import YUNET, as_annotated

CHECKOUT = Path(__file__).parents[2]
PUBLISHED = "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"


def test_yunets_box_becomes_the_square_that_data_sets_draw() -> None:
    x, y, w, h = as_annotated(100.0, 50.0, 60.0, 80.0)
    assert (w, h, x + w / 2) == (80.0, 80.0, 130.0)
    assert y == pytest.approx(50 - 0.06 * 80)


def test_a_wheel_holds_the_network_as_it_was_published_and_its_licence(tmp_path: Path) -> None:
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(CHECKOUT / name, tmp_path)
    shutil.copytree(CHECKOUT / "src/mien", tmp_path / "src/mien", ignore=shutil.ignore_patterns("__pycache__"))
    build = ["-m", "pip", "wheel", "--no-deps", "--no-index", "--no-build-isolation", "--quiet", "."]
    subprocess.run([sys.executable, *build], cwd=tmp_path, check=True)
    (wheel,) = tmp_path.glob("mien-*.whl")
    with zipfile.ZipFile(wheel) as content:
        network = content.read(f"mien/sources/{YUNET.name}")
        assert b"MIT License" in content.read("mien/sources/face_detection_yunet.LICENSE")
    assert hashlib.sha256(network).hexdigest() == PUBLISHED
