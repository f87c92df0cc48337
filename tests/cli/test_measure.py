"""`mien compare`, `mien evaluate` and `mien labels` on real stores and models."""

import json
import re
import shutil
import sqlite3
from pathlib import Path
from unittest.mock import Mock

import pandas as pd
import pytest

from mien.base.listener import Listener
from mien.cli.check import RECIPE
from mien.cli.choices import write_choices
from mien.cli.measure import read_chosen
from mien.inference.default_model import choices
from mien.search import tuning
from mien.search.storage import STORAGE
from mien.search.tuning import Search
from mien.tracking.store import connect
from mien.training.inputs import read_inputs
from mien.training.recipe import Recipe
from tests.cli.conftest import Command, refused
from tests.evaluation.labelled import cropped, turn_labels
from tests.evaluation.other_data import bars, plant_training_face
from tests.inference.two_runs import STRONG, WEAK, id_of, store
from tests.pipelines.workspace import ROOT

__all__ = ["bars", "cropped", "store"]


def test_it_prints_a_table_and_writes_a_page_that_holds_everything(mien: Command, store: Path) -> None:
    a, b = id_of(WEAK), id_of(STRONG)
    done = mien("compare", a[:10], b[:10])
    assert done.code == 0, done.err
    assert max(map(len, done.out.splitlines())) <= 80 or "/" in done.out.splitlines()[-1]
    assert done.out.index("validation accuracy") < done.out.index("mean recall")
    assert re.search(r"validation accuracy +0\.500 +0\.500", done.out)
    assert re.search(r"\n accuracy +0\.\d{3} +0\.\d{3} +\+0\.\d{3} +\+0\.\d{3} to \+0\.\d{3} +B", done.out)
    assert "settings that differ: none" in done.out
    page = (store / "reports/compare.html").read_text()
    titles = ("On the validation set", "Who is right", "Only B is right", "How they learnt", "B is more accurate")
    assert all(said in page for said in (a[:8], b[:8], *titles))
    assert page.count("data:image/png") > 10  # the faces on which they disagree, and the curves
    assert not re.findall(r"(?:src|href)=\"(?!data:)", page)
    assert "prefers-color-scheme: dark" in page


def test_without_the_crop_faces_are_named(mien: Command, store: Path, tmp_path: Path) -> None:
    shutil.rmtree(store / "build/crop")
    page = tmp_path / "new" / "page.html"
    assert mien("compare", id_of(WEAK), id_of(STRONG), "--out", page).code == 0
    text = page.read_text()
    assert text.count("data:image/png") == 2  # the curves, light and dark
    assert "Without pictures" in text
    assert re.search(r"<th>p\d+-\d</th>", text)


def test_json_is_all_that_is_printed(mien: Command, store: Path) -> None:
    done = mien("compare", id_of(WEAK), ".", "--json")
    found = json.loads(done.out)
    assert found["paired"]["differences"]["accuracy"]["low"] > 0
    assert found["b"]["validation"] == {"accuracy": 0.5, "macro_f1": 0.4, "loss": 1.25}
    assert found["b"]["source"] == str(store)
    assert len(found["paired"]["disagreements"]) > 0
    assert not (store / "reports/compare.html").exists()


def test_the_champion_is_measured_on_another_data_set_with_the_same_report(mien: Command, bars: Path) -> None:
    done = mien("evaluate", "--data", "other")
    assert done.code == 0, done.err
    assert done.out.startswith("mien-tiny version 2 on bars in folders: 21 faces of 21 photos\n")
    folder = bars / "reports/cross/mien-tiny-2-on-other"
    report, found = (folder / "report.html").read_text(), json.loads((folder / "metrics.json").read_text())
    assert found["accuracy"]["value"] > 0.8  # it knows bars, whoever drew them
    assert re.search(rf"accuracy +{found['accuracy']['value']:.3f} \(", done.out)
    assert (found["data"], found["part"], found["n"]) == ("other", "all", 21)
    assert (found["model"], found["model_version"], found["learnt_from"]["data"]) == ("mien-tiny", 2, "tiny")
    assert "mien-tiny version 2 on bars in folders" in report and "All usable faces of other" in report
    assert set(re.findall(r"(?:src|href)=\"(?!data:|#)([^\"]*)", report)) == {"faces.html"}
    assert (folder / "faces.html").is_file()
    assert (folder / "figures/confusion.png").read_bytes()[:4] == b"\x89PNG"
    assert len(pd.read_csv(folder / "predictions.csv")) == 21
    assert not list(folder.glob(".partial*"))

    own = json.loads((bars / "build/evaluate/temperature.json").read_text())["temperature"]
    assert found["temperature"] == pytest.approx(own, abs=1e-6)
    assert found["temperature_fitted_on"] == "validation of tiny"

    client = connect()
    logged = client.get_run(str(client.get_model_version("mien-tiny", "2").run_id)).data.metrics
    assert logged["cross/other/accuracy"] == pytest.approx(found["accuracy"]["value"], abs=1e-6)
    assert logged["cross/other/faces"] == 21


def test_a_store_that_cannot_be_written_costs_the_metrics_alone(mien: Command, bars: Path) -> None:
    with sqlite3.connect(bars / "mlruns/mlflow.db") as database:
        database.execute("DROP TABLE latest_metrics")
    done = mien("evaluate", "--data", "other")
    assert done.code == 0 and "the tracking store failed" in done.err and done.err.count("\n") == 1
    assert (bars / "reports/cross/mien-tiny-2-on-other/report.html").is_file()


def test_a_face_that_a_version_or_a_folders_model_learnt_from_is_left_out_and_counted(
    mien: Command, bars: Path, tmp_path: Path
) -> None:
    plant_training_face(bars, "other")
    out, folder = tmp_path / "version", bars / "build/train"
    version = mien("evaluate", "--data", "other", "--model", "models:/mien-tiny/2", "--out", out)
    here = mien("evaluate", "--data", "other", "--model", folder, "--out", tmp_path / "folder")
    for done in (version, here):
        assert "21 faces of 21 photos" in done.out
        assert "1 face was left out because the model learnt from the same photo or the same pixels." in done.out
    assert (out / "predictions.csv").read_text() == (tmp_path / "folder/predictions.csv").read_text()
    (folder / "training_faces.parquet").unlink()
    done = mien("evaluate", "--data", "other", "--model", folder)
    assert "22 faces" in done.out and "Which faces the model learnt from is not written" in done.out


def test_a_class_that_the_model_cannot_name_is_left_out_and_one_that_no_face_has_is_said(
    mien: Command, bars: Path
) -> None:
    done = mien("evaluate", "--data", "contempt")
    assert "18 faces of 18 photos" in done.out
    assert "3 faces of contempt were left out: the model cannot name that class." in done.out
    assert "The test part that contempt itself gives" in done.out
    assert "No face here is labelled neutral" in done.out


def test_an_own_part_that_is_not_there_and_other_mistakes_are_one_sentence(mien: Command, bars: Path) -> None:
    for arguments, reason in (
        (["--data", "nowhere"], "there is no conf/data/nowhere.yaml"),
        (["--data", "fer2013"], "data set fer2013: data/fer2013 is missing"),
        (["--data", "other", "--part", "test"], "has no part 'test': the data set has no official split"),
        (["--data", "contempt", "--part", "train"], "has no part 'train': the official parts are test"),
        (["--data", "tiny"], "learnt from tiny itself, and only `dvc repro evaluate` opens its test set"),
        (["--data", "other", "--model", "mien-none@champion"], "there is no models:/mien-none@champion"),
        (["--data", "other", "--model", "models:/mien-tiny/9"], "there is no models:/mien-tiny/9"),
        (
            ["--data", "other", "--model", "packagd"],
            "packagd: there is no such folder (did you mean packaged?); a model is",
        ),
    ):
        refused(mien("evaluate", *arguments), reason)
    assert not (bars / "reports/cross").exists()


BEST = "{{digest: d, made_on: null, overruled: {{}}, trials: 1, confirmed: '', stopped: '', values: {{{}}}}}\n"


@pytest.fixture
def workspace(cropped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout after split, with small settings."""
    root = tmp_path / "checkout"
    shutil.copytree(cropped, root)
    shutil.copytree(ROOT / "conf", root / "conf")
    shutil.copyfile(ROOT / "params.yaml", root / "params.yaml")
    (root / "build/tune").mkdir()
    (root / "build/tune/best.yaml").write_text(BEST.format("train.batch_size: 16, augment.strength: 0.0"))
    turn_labels(root)
    monkeypatch.chdir(root)
    return root


def test_it_says_what_it_found_and_where_it_is(mien: Command, workspace: Path) -> None:
    done = mien("labels", "--folds", "2", "--epochs", "1")
    assert done.code == 0, done.err
    assert "labels are suspect" in done.out and "nothing was changed" in done.out
    assert done.err.splitlines() == ["fold 1 of 2 done", "fold 2 of 2 done"]
    page = (workspace / "reports/labels/labels.html").read_text()
    assert "drawn sample: of" in page and "2 folds of\n    resnet16, at most 1 epoch each" in page
    assert (workspace / "reports/labels/labels.csv").is_file()


def test_it_joins_the_search_that_a_stage_began(
    mien: Command, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused(mien("join"), "there is no search to join: set MIEN_TUNE_STORAGE")
    monkeypatch.setenv(STORAGE, f"sqlite:///{workspace}/search.db")
    refused(mien("join"), "no search has begun in sqlite:///")
    few = {"trials": 2, "epochs": 1, "confirm": {"best": 0, "seeds": 0}, "space": {"model.dropout": {"choices": [0.1]}}}
    write_choices(workspace / "conf/tune/quick.yaml", few)
    settings = read_chosen(workspace, ("data", *RECIPE, "tune"))
    recipe = Recipe(*(settings[group] for group in RECIPE))
    search = Search(read_inputs(settings["data"].name, recipe, choices(workspace)), settings["tune"])
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(tuning, "fit", Mock(side_effect=KeyboardInterrupt))
        search.run(workspace, Listener())
    done = mien("join")
    assert (done.code, done.out) == (0, "the search is complete; `dvc repro` goes on with it where it began\n"), (
        done.err
    )
    report = search.run(workspace, Listener())
    first, _ = report["trials"]
    assert first["params"]["model.dropout"] == recipe.model.dropout


def test_mistakes_are_one_sentence(mien: Command, workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (workspace / "build/tune/best.yaml").write_text(BEST.format("train.size: 16"))
    refused(mien("labels"), "there is no train.size")
    (workspace / "build/tune/best.yaml").unlink()
    shutil.rmtree(workspace / "build/split")
    refused(mien("labels"), "split.json is missing; `dvc repro split`")
    monkeypatch.setattr("mien.evaluation.label_noise.find_spec", lambda name: None)
    needed = "mien: `mien labels` needs cleanlab: `pip install -c constraints.txt -e '.[noise]'` installs it.\n"
    refused(mien("labels"), needed)
