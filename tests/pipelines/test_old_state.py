"""What an older or newer mien, a person or a bad disk left in build/: one sentence with the remedy, before any work.

Each row changes one file of a workspace as crop, split, tune and train leave it. A change is new values of keys (None
takes the key out), or the whole content of the file.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from mien.base.errors import UserError
from mien.crop.packed import open_faces
from mien.registry.evidence import read_test_set
from mien.reporting.evaluation_report import read_background
from mien.training.inputs import read_best, read_inputs
from mien.training.recipe import Recipe
from pipelines.__main__ import run_stage
from pipelines.compose import compose
from tests.registry.workspace import candidate_of

Change = Mapping[str, Any] | bytes
CHOICES = ["data=sample", "model=resnet16", "augment=standard", "optim=adamw", "train=short", "trainer=single"]
CROP, SPLIT, BEST, MODEL, LINEAGE = (
    "build/crop/crop.json",
    "build/split/split.json",
    "build/tune/best.yaml",
    "build/train/model.json",
    "build/train/lineage.json",
)
PIXELS, INDEX, TRAIN = "build/crop/faces.npy", "build/crop/index.parquet", "build/split/train.parquet"

# what reads it, file, change, what the sentence must say
ROWS: list[tuple[str, str, Change, str]] = [
    ("train", CROP, {"classes": None}, "lacks classes, as another version of mien"),
    ("train", CROP, {"tilt": 3}, "has tilt, which this version of mien does not know"),
    ("train", CROP, {"n": 7}, "index rows, and crop.json says 7; `dvc repro crop`"),
    ("evaluate", CROP, b'{"size": 24', "is damaged"),
    ("train", PIXELS, b"", "is damaged"),
    ("train", PIXELS, b"garbage " * 99, "is damaged"),
    ("evaluate", INDEX, b"garbage " * 99, "is damaged"),
    ("report", "build/crop/quarantine.csv", b"", "is damaged (No columns to parse from file)"),
    ("evaluate", "build/split/test.parquet", b"garbage " * 99, "is damaged"),
    ("register", "build/split/test.parquet", b"garbage " * 99, "is damaged"),
    ("crop", "build/ingest/faces.parquet", b"garbage " * 99, "is damaged"),
    ("crop", "build/ingest/classes.csv", b"name,faces\n", "is damaged"),
    ("crop", "build/ingest/problems.csv", b"\xff\xfe", "is damaged"),
    ("train", SPLIT, {"digest": None}, "lacks digest"),
    ("train", SPLIT, {"data_digest": "another"}, "was made from other faces than build/crop holds"),
    ("evaluate", SPLIT, b"[]", "must hold a mapping, and holds []"),
    ("train", TRAIN, b"garbage " * 99, "is damaged"),
    ("train", BEST, b"", "is damaged"),
    ("train", BEST, {"made_on": None}, "lacks made_on, as another version of mien"),
    ("train", BEST, {"values": [1]}, "values must be a mapping, not [1]"),
    ("train", BEST, {"values": {"optim.rate": 1}}, "values: there is no optim.rate"),
    ("train", BEST, {"values": {"optim.lr": -1.0}}, "values: lr must be greater than 0, not -1.0"),
    ("train", BEST, {"values": {"optim.lr": "fast"}}, "values: "),
    ("evaluate", LINEAGE, {"split_digest": None}, "lacks split_digest"),
    ("evaluate", LINEAGE, {"search": [1]}, "search must be a mapping"),
    ("register", LINEAGE, b"{}", "lacks digest"),
    ("evaluate", MODEL, {"cut": None}, "lacks cut"),
    ("register", "build/evaluate/temperature.json", {"temperature": "warm"}, "must be a number, not 'warm'"),
]


@pytest.fixture(scope="module")
def template(weak: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    unused = shutil.ignore_patterns(".mien")  # of tests that registered it before
    root = Path(shutil.copytree(weak, tmp_path_factory.mktemp("state") / "checkout", ignore=unused))
    about = json.loads((root / SPLIT).read_text())
    faces = json.loads((root / CROP).read_text())
    (root / SPLIT).write_text(json.dumps({**about, "data_digest": faces["digest"]}))
    (root / "build/tune").mkdir()
    (root / "build/ingest/problems.csv").write_text("where,face_id,image,label,reason,detail\n")
    (root / "build/ingest/classes.csv").write_text("label,faces\nangry,3\n")
    best = {"digest": "d", "made_on": None, "values": {"optim.lr": 0.01}, "overruled": {}, "trials": 1}
    best |= {"confirmed": "", "stopped": ""}
    (root / BEST).write_text(yaml.safe_dump(best))
    return root


@pytest.fixture
def root(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = Path(shutil.copytree(template, tmp_path / "checkout"))
    monkeypatch.chdir(root)
    return root


def read(stage: str) -> None:
    """What the stage reads before it works."""
    if stage == "train":
        config = compose("train", CHOICES)
        recipe = Recipe(config.model, config.augment, config.optim, config.train)
        read_inputs("sample", recipe, config.choices)
        read_best(recipe)
    elif stage == "evaluate":
        run_stage("evaluate", ["data=sample", "evaluate=standard", "evaluate.bootstrap=100"])
    elif stage == "report":
        read_background(Path("build"), open_faces(Path("build/crop")), "sample", drawn=True, best_epoch=1)
    elif stage == "crop":
        run_stage("crop", ["data=sample", "crop=grey48"])
    else:
        candidate = candidate_of(Path())
        assert candidate.spec and candidate.lineage
        read_test_set(candidate)


def change(file: Path, how: Change) -> None:
    if isinstance(how, bytes):
        file.write_bytes(how)
        return
    content = {**yaml.safe_load(file.read_text()), **how}
    file.write_text(json.dumps({key: value for key, value in content.items() if key not in how or value is not None}))


@pytest.mark.parametrize("stage", ["train", "register"])
def test_state_as_it_should_be_is_read(root: Path, stage: str) -> None:
    read(stage)  # what is refused raises


@pytest.mark.parametrize(("stage", "file", "how", "says"), ROWS, ids=[f"{s}-{f}-{h}"[:70] for s, f, h, _ in ROWS])
def test_bad_state_is_told_in_one_sentence(root: Path, stage: str, file: str, how: Change, says: str) -> None:
    change(root / file, how)
    with pytest.raises(UserError) as told:
        read(stage)
    sentence = str(told.value)
    assert says in sentence and "\n" not in sentence
    folder = Path(file).parent  # the stage of that name writes it
    assert str(folder) in sentence and f"`dvc repro {folder.name}` writes it" in sentence


@pytest.mark.parametrize("where", ["train.batch_size=500", "+tune.space={train.batch_size:{choices:[16,500]}}"])
def test_a_batch_of_more_faces_than_there_are_stops_the_search_before_it_begins(root: Path, where: str) -> None:
    with pytest.raises(UserError, match=r"train.batch_size: 500 is more than the \d+ faces of the training part"):
        run_stage("tune", [*CHOICES, "tune=quick", where])
    assert not (root / ".mien").exists()


@pytest.mark.parametrize(
    ("stage", "where"),
    [
        ("tune", ["tune=quick", "train.batch_size=4", "+tune.space={train.ema:{low:0.0,high:0.9999}}"]),
        ("train", ["train.batch_size=4", "train.ema=0.9999"]),
    ],
)
def test_an_average_over_more_steps_than_a_training_has_stops_it_before_it_begins(
    root: Path, stage: str, where: list[str]
) -> None:
    with pytest.raises(
        UserError, match=r"train.ema: 0.9999 averages the weights of about 10,000 steps, and \d+ epochs"
    ):
        run_stage(stage, [*CHOICES, *where])
    assert not (root / ".mien").exists()


def test_a_lineage_from_before_devices_were_noted_is_read(root: Path) -> None:
    about = json.loads((root / LINEAGE).read_text())
    assert "device" not in about and "made_on" not in about["search"]
    run_stage("evaluate", ["data=sample", "evaluate=standard", "evaluate.bootstrap=100"])
    assert (root / "reports/metrics.json").exists()
