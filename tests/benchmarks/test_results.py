"""docs/evidence/results.md's tables, from runs of a real store."""

import dataclasses
import json
import os
from contextlib import chdir
from pathlib import Path
from typing import Any

import pytest

from benchmarks.results import BEGIN, END, ROOT, SYSTEMS, main, with_earlier_rows, with_tables
from benchmarks.tracked_runs import newest_run
from mien.base.errors import UserError
from mien.base.settings import read_settings, read_yaml
from mien.tracking.live import LiveTracking
from mien.tracking.publish import publish_evaluation, publish_training
from mien.tracking.store import connect

CONF = ROOT / "conf"
CHOICES = read_yaml(CONF / "preset/folder-cnn.yaml", "folder-cnn.yaml")
METRICS: dict[str, Any] = {
    "data": "fer2013-folders",
    "n": 3589,
    "photos": 3589,
    "majority_share": 0.2,
    **{
        name: {"value": 0.5, "low": 0.4, "high": 0.6}
        for name in ("accuracy", "macro_f1", "unweighted_average_recall", "calibration_error")
    },
    "leak_free": {"n": 2998, "accuracy": {"value": 0.45, "low": 0.35, "high": 0.55}},
}
SPLIT: dict[str, Any] = {"official_split": True, "parts": {"train": {"faces": 28709}}, "clean_training": None}


def write(root: Path, digest: str, *, train: dict[str, Any], run: str, split: dict[str, Any]) -> dict[str, Any]:
    """The files of a training of folder-cnn and of its evaluation; returns the lineage."""
    config = {group: dataclasses.asdict(read_settings(CONF, group, CHOICES[group])) for group in CHOICES}
    config["train"] |= train
    lineage = {
        "digest": digest,
        "run": run,
        "data": "fer2013-folders",
        "model": CHOICES["model"],
        "choices": {group: CHOICES[group] for group in ("data", "model", "augment", "optim", "train", "trainer")},
        "config": {group: config[group] for group in ("data", "model", "augment", "optim", "train", "trainer")},
        "search": {"trials": 0, "overruled": {}},
        "data_digest": "a" * 64,
        "split_digest": "b" * 64,
        "precision": "bf16",
        "device": "cpu",
        "parameters": 168971,
    }
    files = {
        "build/train/lineage.json": lineage,
        "reports/train.json": {"epochs": 2, "best_epoch": 1},
        "reports/ingest.json": {"faces": 35887},
        "reports/crop.json": {},
        "reports/split.json": split,
        "reports/metrics.json": METRICS,
    }
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(json.dumps(content))
    (root / "build/train/history.csv").write_text("epoch,val_loss\n0,1.5\n1,1.25\n")
    return lineage


def track(
    root: Path,
    digest: str = "d1",
    *,
    train: dict[str, Any] | None = None,
    run: str = "fer2013-folders · lenet48 · 48 px grey",
    split: dict[str, Any] = SPLIT,
    live: bool = True,
    evaluated: bool = True,
) -> None:
    """A training as the stages track it, while it runs or only afterwards."""
    lineage = write(root, digest, train=train or {}, run=run, split=split)
    if live:
        listener = LiveTracking(root)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("mien.tracking.live.CLOSE_WITHIN", 60.0)  # on a busy machine
            listener.started(lineage)
            for epoch, loss in enumerate((1.5, 1.25)):
                listener.epoch({"epoch": epoch, "val_loss": loss})
            listener.ended("finished")
    else:
        publish_training(connect(), root)
    if evaluated:
        publish_evaluation(connect(), root)


def written(root: Path, *, rows: str = "folder-cnn") -> list[str]:
    """The page's lines about a system after the command has run."""
    page = root / "RESULTS.md"
    page.write_text(f"by hand, above\n{BEGIN}\nold\n{END}\nby hand, below\n")
    with chdir(root):
        main(["--page", str(page)])
    text = page.read_text()
    assert text.startswith("by hand, above\n")
    assert text.endswith("\nby hand, below\n")
    assert "\nold\n" not in text
    assert str(root) not in text
    assert "sqlite" not in text
    with chdir(root):
        main(["--page", str(page)])
    assert page.read_text() == text
    return [line for line in text.splitlines() if line.startswith(f"| {rows} |")]


def found(digest: str) -> bool:
    """Whether the run of folder-cnn's choices is the one with this digest."""
    run = newest_run(connect(), CHOICES, CONF)
    return run is not None and run.lineage["digest"] == digest


def test_a_row_says_what_was_measured_how_and_what_was_claimed(checkout: Path) -> None:
    track(checkout)
    run = newest_run(connect(), CHOICES, CONF)
    assert run is not None
    measured, trained, claimed = written(checkout)
    for part in ("all 35,887 faces; its own test part", "**0.500 (0.400 to 0.600)**", "0.450 (0.350 to 0.550), 2,998"):
        assert part in measured
    assert f"`{run.run_id[:8]}`, `aaaaaaaa`" in measured
    for part in ("`lenet48` (168,971)", "28,709", f"{os.cpu_count()} cores; bf16", "lenet48 · 48 px grey · d1"):
        assert part in trained
    assert " min | " in trained
    assert "2 of at most 50, stopped early, number 2 kept |" in trained and "shortened" not in trained + claimed
    assert "validation accuracy 0.604 | 0.500 (0.400 to 0.600)" in claimed


def test_a_shortened_run_and_other_settings_are_said(checkout: Path) -> None:
    track(checkout, train={"epochs": 2, "batch_size": 32})
    _, trained, claimed = written(checkout)
    assert "shortened: 2 of 50 epochs, number 2 kept; `train.batch_size` 32, not 64" in trained
    assert "The run here was shortened: 2 of 50 epochs" in claimed


def test_the_newest_evaluated_run_counts(checkout: Path) -> None:
    track(checkout, "d1")
    track(checkout, "d2")
    track(checkout, "d3", evaluated=False)
    assert found("d2")


@pytest.mark.parametrize(
    "other", [{"run": "fer2013-folders · lenet48 · 64 px grey"}, {"split": {**SPLIT, "clean_training": {"n": 1}}}]
)
def test_a_run_on_other_faces_is_not_the_presets(checkout: Path, other: dict[str, Any]) -> None:
    track(checkout, **other)
    assert all("not measured yet" in line for line in written(checkout))
    track(checkout, "d2")
    assert found("d2")


def test_a_time_that_nobody_took_is_not_made_up(checkout: Path) -> None:
    track(checkout, live=False)
    _, trained, _ = written(checkout)
    assert "| not tracked |" in trained


def test_without_a_run_a_row_says_what_it_waits_for(checkout: Path) -> None:
    lines = written(checkout, rows="fer2013-mobilenetv2, with ImageNet's weights")
    assert len(lines) == 3
    assert all("not run without the ImageNet weights" in line for line in lines)


def test_a_system_without_a_run_keeps_its_row() -> None:
    page = "## Results\n| system | n |\n| a | 1 |\n| b | 2 |\n## Training\n| a | 3 |"
    written = page.replace("1", "wait").replace("2", "new").replace("3", "wait")
    assert with_earlier_rows(written, page, {"a"}) == page.replace("2", "new")


def test_a_page_without_its_markers_is_refused() -> None:
    with pytest.raises(UserError, match=r"RESULTS.md must hold the line .* once, and holds it 0 times"):
        with_tables(f"{BEGIN}\n", "new", "RESULTS.md")


def test_every_preset_of_a_published_data_set_has_a_row() -> None:
    rows = read_yaml(SYSTEMS, SYSTEMS.name).values()
    assert {row["preset"] for row in rows} == {file.stem for file in CONF.glob("preset/*.yaml")} - {"sample", "small"}
