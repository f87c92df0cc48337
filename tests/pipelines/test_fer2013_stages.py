"""FER2013 and FER+ from csv to what training reads: parts, classes and soft labels arrive."""

import json
from pathlib import Path

import numpy as np
import pytest

from mien.training.inputs import Inputs, read_inputs
from mien.training.recipe import Recipe
from pipelines.__main__ import run_stage
from pipelines.compose import compose
from tests.fer_csv import row, write_csv

USAGES = ("Training", "Training", "PublicTest", "PrivateTest")
TRAIN = ["model=resnet16", "augment=none", "optim=adam", "train=short", "trainer=single"]


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """64 faces; FER+ votes 6 to 4 for two emotions, the first of them contempt for every eighth face."""
    rows = [row(i, label=i % 7, usage=USAGES[i % 4]) for i in range(64)]
    header = "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF"
    votes = [header]
    for i in range(64):
        counts = [0] * 10
        counts[7 - i % 8], counts[(8 - i) % 8] = 6, 4
        votes.append(",".join([USAGES[i % 4], "", *map(str, counts)]))
    for name in ("fer2013", "ferplus", "ferplus8"):
        write_csv(tmp_path / "data" / name, rows)
        (tmp_path / "data" / name / "fer2013new.csv").write_text("\n".join(votes))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(data: str, *more: str, clean: bool = False) -> Inputs:
    run_stage("ingest", [f"data={data}", *more])
    run_stage("crop", [f"data={data}", "crop=grey48", *more])
    run_stage("split", [f"split={'official_clean' if clean else 'grouped'}", "split.near_duplicates=false"])
    config = compose("train", [f"data={data}", *TRAIN, *more])
    recipe = Recipe(config.model, config.augment, config.optim, config.train)
    return read_inputs(data, recipe, config.choices)


def test_fer2013_keeps_its_split_and_pixels(workspace: Path) -> None:
    inputs = run("fer2013")
    assert (len(inputs.train), len(inputs.val)) == (32, 16)
    assert inputs.train.votes is None
    assert len(json.loads(Path("reports/split.json").read_text())["identical_pixels"]) == 5


def test_a_clean_training_is_what_training_reads(workspace: Path) -> None:
    rows = (workspace / "data/fer2013/fer2013.csv").read_text().splitlines()
    rows[1] = rows[3].replace("PublicTest", "Training")
    (workspace / "data/fer2013/fer2013.csv").write_text("\n".join(rows))
    assert len(run("fer2013", clean=True).train) == 31
    assert Path("build/split/left_out.csv").read_text().splitlines()[1].startswith("row-00000,row-00000,2,copy_of_val")


def test_soft_labels_arrive_with_seven_and_with_eight_classes(workspace: Path) -> None:
    seven = run("ferplus", "data.options.ferplus=cross_entropy")
    assert seven.train.votes is not None and seven.train.votes.shape == (len(seven.train), 7)
    np.testing.assert_allclose(seven.train.votes.sum(axis=1), 1, rtol=1e-6)
    assert (seven.train.votes.argmax(axis=1) == seven.train.labels).all()
    eight = run("ferplus8", "data.options.ferplus=cross_entropy")
    assert eight.train.votes is not None and eight.train.votes.shape[1] == 8
    assert eight.spec.classes[7] == "contempt" and len(eight.train) + len(eight.val) == 48
    assert len(seven.train) + len(seven.val) == 48 - 8


def test_other_votes_are_other_data(workspace: Path) -> None:
    shares = run("ferplus8", "data.options.ferplus=cross_entropy")
    equals = run("ferplus8", "data.options.ferplus=multi_target")
    assert shares.train.labels.tolist() == equals.train.labels.tolist()
    assert shares.data_digest != equals.data_digest
