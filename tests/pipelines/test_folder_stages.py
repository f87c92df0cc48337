"""Class folders through ingest, crop and split, as DVC runs them."""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import mlflow
import numpy as np
import pandas as pd
import pytest
import requests
from typer.testing import CliRunner

from mien.base.classes import EXPRESSIONS
from mien.cli.main import app
from mien.crop.packed import open_faces
from mien.tracking.store import connect
from pipelines.__main__ import run_stage
from tests.app.serving import serving
from tests.inference.conftest import jpeg, portrait
from tests.photosets import encode, photo, picture

FOLDER = "data/folder"


@pytest.fixture
def workspace(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """`train/` with 12 photos and `validation/` with 3 of each class, in a folder that every user may enter."""
    root = Path(tempfile.mkdtemp())
    root.chmod(0o755)
    for seed in range(15 * 7):
        part, name = "train" if seed < 12 * 7 else "validation", EXPRESSIONS[seed % 7]
        file = root / FOLDER / part / name / f"{seed}.{'png' if seed % 2 else 'jpg'}"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(encode(picture(48, 48, seed), "PNG" if seed % 2 else "JPEG"))
    monkeypatch.chdir(root)
    yield root
    shutil.rmtree(root)


def run_all() -> None:
    run_stage("ingest", ["data=folder"])
    run_stage("crop", ["data=folder", "crop=grey48"])
    run_stage("split", ["split=grouped"])


def quarantine() -> dict[str, str]:
    rows = pd.read_csv("build/crop/quarantine.csv", keep_default_na=False)
    return dict(zip(rows["where"], rows["reason"], strict=True))


def test_a_validation_folder_stays_and_the_test_part_comes_out_of_training(workspace: Path) -> None:
    run_all()
    parts = {name: pd.read_parquet(f"build/split/{name}.parquet") for name in ("train", "val", "test")}
    assert set(parts["val"]["source_split"]) == {"val"} and len(parts["val"]) == 21
    assert set(parts["test"]["source_split"]) == set(parts["train"]["source_split"]) == {"train"}
    assert len(parts["test"]) + len(parts["train"]) == 84 and len(parts["test"]) >= 14
    assert json.loads(Path("reports/split.json").read_text())["official_split"]
    packed = open_faces(workspace / "build/crop")
    assert packed.pixels.shape == (105, 48, 48, 1)
    assert (packed.index[["top", "left", "right", "bottom"]] == (0, 0, 48, 48)).all(axis=None)


def test_broken_photos_stand_in_quarantine_with_their_path_and_class(workspace: Path) -> None:
    bad = Path(FOLDER) / "train/sad"
    for form in ("JPEG", "PNG", "WEBP"):
        data = encode(picture(48, 48, 500), form)
        (bad / f"short.{form.lower()}").write_bytes(data[: len(data) * 3 // 4])
    (bad / "nothing.png").write_bytes(b"")
    (bad / "text.jpg").write_text("this is no photo")
    (bad / "Thumbs.db").write_bytes(photo())
    run_stage("ingest", ["data=folder"])
    run_stage("crop", ["data=folder", "crop=grey48"])
    assert quarantine() == {
        **{f"train/sad/short.{form}": "truncated" for form in ("jpeg", "png", "webp")},
        "train/sad/nothing.png": "empty_file",
        "train/sad/text.jpg": "not_an_image",
        "train/sad/Thumbs.db": "not_a_photo",
    }
    dropped = json.loads(Path("reports/crop.json").read_text())["dropped"]
    assert all(set(classes) == {"sad"} for classes in dropped.values())


@contextmanager
def ordinary_user() -> Iterator[None]:
    """Root may read everything; so, where the tests run as root, somebody else for a while."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


def test_a_photo_that_may_not_be_read_is_named(workspace: Path) -> None:
    forbidden = Path(FOLDER) / "train/sad/4.jpg"
    forbidden.chmod(0)
    Path(FOLDER, "train/happy/twin.jpg").write_bytes(b"x" * forbidden.stat().st_size)  # which makes ingest look closer
    workspace.chmod(0o777)
    with ordinary_user():
        run_stage("ingest", ["data=folder"])
        run_stage("crop", ["data=folder", "crop=grey48"])
    assert quarantine() == {"train/sad/4.jpg": "unreadable_file", "train/happy/twin.jpg": "not_an_image"}


def test_a_folder_that_may_not_be_read_stops_the_stage(workspace: Path) -> None:
    Path(FOLDER, "train/sad").chmod(0)
    workspace.chmod(0o777)
    with ordinary_user(), pytest.raises(PermissionError, match="train/sad"):  # run_stage makes a sentence of it
        run_stage("ingest", ["data=folder"])


def draw_classes(root: Path, folders: list[str], n: int) -> None:
    """`n` grey photos of each class, told apart by a bright bar's place; in patches, or they would be near copies."""
    random = np.random.default_rng(0)
    for k, folder in enumerate(folders):
        (root / FOLDER / folder).mkdir(parents=True)
        for i in range(n):
            pixels = cv2.resize(random.integers(0, 110, (8, 8), np.uint8), (48, 48), interpolation=cv2.INTER_NEAREST)
            pixels[6 + 13 * k : 12 + 13 * k] += 120
            cv2.imwrite(str(root / FOLDER / folder / f"{i}.png"), pixels)


def run_to_the_registry(class_names: str = "") -> None:
    """Every stage with the shipped configuration, shrunk."""
    data = ["data=folder", *([f"+data.options.class_names={class_names}"] if class_names else [])]
    network = ["model=resnet16", "model.width=4", "augment=none", "optim=adamw", "optim.lr=0.01"]
    shrunk = [*network, "train=short", "trainer=single", "train.epochs=6", "train.patience=4", "train.batch_size=16"]
    run_stage("ingest", data)
    run_stage("crop", [*data, "crop=grey48"])
    run_stage("split", ["split=grouped"])
    run_stage("tune", [*data, *shrunk, "tune=none"])
    run_stage("train", [*data, *shrunk])
    run_stage("evaluate", [*data, "evaluate=standard", "evaluate.bootstrap=100"])
    run_stage("report", data)
    run_stage("register", [*data, "register=auto", "register.bootstrap=100"])


@pytest.fixture
def own_classes(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty checkout with a store of its own."""
    subprocess.run(["git", "init", "-q", "."], cwd=checkout, check=True)
    monkeypatch.chdir(checkout)
    return checkout


def test_three_classes_of_a_persons_own_are_learnt_registered_and_served(
    own_classes: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    names = ("Müde", "bored", "not sure-1")
    draw_classes(own_classes, ["not sure-1", "Müde", "bored"], n=40)
    (own_classes / FOLDER / "bored/nothing.png").touch()
    run_to_the_registry()
    assert json.loads(Path("reports/crop.json").read_text())["dropped"] == {"empty_file": {"bored": 1}}
    assert "The classes are the folders' own names, sorted: Müde, bored, not sure-1." in capsys.readouterr().out
    assert open_faces(own_classes / "build/crop").classes == names
    metrics = json.loads(Path("reports/metrics.json").read_text())
    assert list(metrics["per_class"]) == list(names) and metrics["accuracy"]["value"] > 0.5
    assert all(f"<th>{name}</th>" in Path("reports/report.html").read_text() for name in names)
    report = json.loads(Path("reports/register.json").read_text())
    assert (report["version"], report["champion"]) == (1, 1), report["reasons"]
    client = connect()
    run = client.get_run(client.get_model_version("mien-folder", "1").run_id)
    assert run.data.metrics["test/per_class/Müde/recall"] == pytest.approx(metrics["per_class"]["Müde"]["recall"])
    photo = next((own_classes / FOLDER / "Müde").iterdir()).read_bytes()
    served = mlflow.pyfunc.load_model("models:/mien-folder@champion")
    assert [column["name"] for column in served.metadata.signature.outputs.to_dict()] == ["label", *names]
    (answer,) = served.predict(pd.DataFrame({"image": [photo]})).to_dict("records")
    assert list(answer) == ["label", *names] and answer["label"] == max(names, key=answer.get)

    face = jpeg(portrait()[0])
    (tmp_path / "face.jpg").write_bytes(face)
    command, onnx = CliRunner(), str(tmp_path / "own.onnx")
    assert command.invoke(app, ["export", "--out", onnx, "--model", "build/train"]).exit_code == 0
    answers = []
    for model in ("build/train", onnx):
        done = command.invoke(app, ["predict", str(tmp_path / "face.jpg"), "--json", "--model", model])
        answers += [one["probabilities"] for one in json.loads(done.stdout)]
    with serving("build/train") as (address, _):
        (shown,) = requests.post(f"{address}/api/predict", data=face, timeout=20).json()["faces"]
    for given in (*answers, shown["probabilities"]):
        assert list(given) == list(names) and given == pytest.approx(answers[0], abs=1e-5)
    options = ["--class", "bored", "--model", "build/train", "--out", str(tmp_path / "why.png")]
    done = command.invoke(app, ["explain", str(tmp_path / "face.jpg"), *options])
    assert done.exit_code == 0 and "the map shows what speaks for bored" in done.stdout


@pytest.mark.slow
def test_another_name_of_a_class_changes_names_alone_and_is_never_compared(own_classes: Path) -> None:
    draw_classes(own_classes, ["0", "1"], n=40)
    seen, runs = [], set()
    for names in (("drowsy", "awake"), ("None", "wach")):
        run_to_the_registry(f"[{','.join(names)}]")
        text = {file: Path(file).read_text() for file in ("reports/metrics.json", "reports/predictions.csv")}
        for name, position in zip(names, "01", strict=True):
            text = {file: content.replace(name, f"class {position}") for file, content in text.items()}
        metrics = json.loads(text.pop("reports/metrics.json"))
        runs.add(json.loads(Path("build/train/lineage.json").read_text())["digest"])
        seen.append([metrics, text, (own_classes / "build/train/model.safetensors").read_bytes()])
    assert seen[0] == seen[1] and len(runs) == 2 and list(metrics["per_class"]) == ["class 0", "class 1"]
    report = json.loads(Path("reports/register.json").read_text())
    assert (report["version"], report["champion"]) == (2, 1)
    says = (
        "The champion, version 1, knows the classes drowsy, awake, and the candidate None, wach: they are not compared."
    )
    assert says in report["reasons"]
