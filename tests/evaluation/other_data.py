"""A checkout with a registered model of the bars, and other data sets of the same bars in class folders."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from mien.base.classes import EXPRESSIONS
from mien.crop.packed import open_faces
from tests.pipelines.workspace import ROOT
from tests.registry.workspace import SIDE

FACES = 3  # of each class
CONFIG = "# {0}\nname: {0}\nsource: folder\npath: data/{0}\ntitle: bars in folders\ndrawn: true\n"


def draw_bar(shown: int, random: np.random.Generator) -> np.ndarray:
    """A face as `draw_photos` draws it, alone in its file."""
    face = random.integers(0, 90, (SIDE, SIDE, 3), dtype=np.uint8)
    face[shown * 5 : 5 + shown * 5] += 120
    return face


def write_folders(root: Path, name: str, classes: tuple[str, ...] = EXPRESSIONS, part: str = "") -> Path:
    """data/NAME with class folders, and conf/data/NAME.yaml."""
    random = np.random.default_rng(99)
    folder = root / "data" / name
    for label, expression in enumerate(classes):
        (folder / part / expression).mkdir(parents=True)
        for number in range(FACES):
            cv2.imwrite(str(folder / part / expression / f"{number}.png"), draw_bar(label % 7, random))
    (root / "conf/data" / f"{name}.yaml").write_text(CONFIG.format(name))
    return folder


@pytest.fixture
def bars(two_champions: Path) -> Path:
    """A checkout whose champion knows bars, with the data sets `other` (seven classes) and `contempt` (for neutral)."""
    shutil.copytree(ROOT / "conf", two_champions / "conf")
    (two_champions / "params.yaml").write_text("data: tiny\ncrop: grey48\nevaluate: standard\n")
    settings = two_champions / "conf/evaluate/standard.yaml"
    settings.write_text(settings.read_text().replace("bootstrap: 1000", "bootstrap: 100"))
    tiny = CONFIG.format("tiny").replace("folder", "expw", 1)
    (two_champions / "conf/data/tiny.yaml").write_text(tiny)
    write_folders(two_champions, "other")
    write_folders(two_champions, "contempt", (*EXPRESSIONS[:-1], "contempt"), part="test")
    return two_champions


def plant_training_face(root: Path, name: str) -> int:
    """Put one face, cut as the model takes it, of the model's training into a data set; its label."""
    train = pd.read_parquet(root / "build/split/train.parquet").iloc[0]
    face = open_faces(root / "build/crop").pixels[int(train["row"])]
    label = int(train["label"])
    cv2.imwrite(str(root / "data" / name / EXPRESSIONS[label] / "copy.png"), face)
    return label
