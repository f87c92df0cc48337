"""ingest, crop and split as DVC runs them, one after the other, on a small data set in a folder of its own."""

import json
from pathlib import Path

import pandas as pd
import pytest

from mien.base.errors import UserError
from mien.crop.packed import open_faces
from pipelines.__main__ import run_stage
from tests.photosets import photo, write_archive, write_labels


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`data/expw` with 140 photos in volumes, some rows that cannot be used, and nothing else."""
    photos = {f"{i}.jpg": photo(seed=i) for i in range(140)}
    rows = [f"{i}.jpg 0 10 20 60 70 {25 if i % 10 == 9 else 80} {i % 7}" for i in range(140)]
    photos["broken.jpg"] = photos["0.jpg"][:-200]
    photos["nobody.jpg"] = photos["1.jpg"]
    write_labels(
        tmp_path / "data" / "expw", [*rows, "broken.jpg 0 1 2 30 40 50 0", "0.jpg 1 2 3", "5.jpg 3 0 0 9 9 50 8"]
    )
    write_archive(tmp_path / "data" / "expw", photos, 50_000)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run_all(size: int = 16) -> None:
    run_stage("ingest", ["data=expw"])
    run_stage("crop", ["data=expw", "crop=rgb64", f"crop.size={size}"])
    run_stage("split", ["split=grouped"])


def test_from_archives_to_parts(workspace: Path) -> None:
    run_all()
    report = json.loads((workspace / "reports/ingest.json").read_text())
    assert (report["faces"], report["photos"], report["unlabelled_photos"]) == (141, 141, 1)
    assert report["problems"] == {"malformed_row": 1, "unknown_label": 1}
    assert pd.read_csv("build/ingest/classes.csv")["faces"].tolist() == [21, *[20] * 6]
    counts = json.loads((workspace / "reports/crop.json").read_text())
    reasons = {reason: sum(classes.values()) for reason, classes in counts["dropped"].items()}
    assert reasons == {"low_confidence": 14, "malformed_row": 1, "truncated": 1, "unknown_label": 1}
    quarantine = pd.read_csv("build/crop/quarantine.csv")
    assert len(quarantine) == counts["dropped_total"] == 17
    assert set(quarantine["where"]) >= {"label.lst:142", "label.lst:143", "broken.jpg"}
    packed = open_faces(workspace / "build/crop")
    assert packed.pixels.shape == (126, 16, 16, 3)
    parts = [pd.read_parquet(f"build/split/{name}.parquet") for name in ("train", "val", "test")]
    assert sorted(pd.concat(parts)["row"]) == list(range(126))
    about = json.loads((workspace / "build/split/split.json").read_text())
    assert about["data_digest"] == packed.digest
    assert json.loads((workspace / "reports/split.json").read_text())["overlap"]["train_and_test"] == 0
    kept_dropped = pd.read_csv("reports/crop/kept_dropped.csv")
    assert kept_dropped.groupby("outcome")["faces"].sum().to_dict() == {"kept": 126, **reasons}


def test_a_class_that_no_row_has_is_said_to_be_absent(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_stage("ingest", ["data=expw"])
    assert "No face is labelled" not in capsys.readouterr().out
    labels = workspace / "data/expw/label.lst"
    labels.write_text("".join(r for r in labels.read_text().splitlines(keepends=True) if r.split()[-1] not in "12"))
    run_stage("ingest", ["data=expw"])
    assert "No face is labelled disgust, fear: a model cannot learn that." in capsys.readouterr().out


def test_an_unknown_slice_is_refused_before_photos_are_read(workspace: Path) -> None:
    with pytest.raises(UserError, match=r"no column 'confidnce' \(did you mean confidence\?\); there are image, top"):
        run_stage("ingest", ["data=expw", "data.slices=[confidnce]"])
    assert not (workspace / "build/ingest/faces.parquet").exists()


def test_a_stage_that_fails_leaves_no_outs(workspace: Path) -> None:
    run_stage("ingest", ["data=expw"])
    with pytest.raises(UserError, match="min_confidence 500"):
        run_stage("crop", ["data=expw", "crop=rgb64", "crop.min_confidence=500"])
    assert not (workspace / "build/crop").exists() and not (workspace / "reports/crop.json").exists()
