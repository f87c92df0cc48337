"""A checkout with a store, and the files of a small training in it."""

import json
from pathlib import Path

import pytest

LINEAGE = {
    "digest": "d1",
    "run": "tiny · resnet4 · 24 px grey",
    "data": "tiny",
    "model": "resnet4",
    "choices": {"data": "tiny", "optim": "adam"},
    "config": {"data": {"name": "tiny"}, "optim": {"lr": 0.01, "name": "adam"}},
    "search": {"trials": 2, "overruled": {"optim.lr": {"config": 0.01, "search": 0.003}}},
    "data_digest": "a" * 64,
    "split_digest": "b" * 64,
    "precision": "bf16",
    "parameters": 1375,
}
METRICS = {
    "data": "tiny",
    "n": 90,
    "photos": 70,
    "majority_share": 0.2,
    "accuracy": {"value": 0.6, "low": 0.5, "high": 0.7},
    "macro_f1": {"value": 0.58, "low": None, "high": None},
    "uncalibrated": {"ece": 0.2},
    "per_class": {"angry": {"recall": 0.5, "support": 12}, "fear": {"recall": None, "support": 0}},
    "leak_free": {"n": 80, "accuracy": {"value": 0.55, "low": 0.4, "high": 0.7}},
}
TUNE = {
    "digest": "d1",
    "data": "tiny",
    "model": "resnet4",
    "run": "tiny · resnet4 · 24 px grey",
    "objective": "val_loss",
    "trials": [
        {"number": 0, "state": "COMPLETE", "params": {"optim.lr": 0.01}, "value": 1.2, "history": [1.5, 1.2]},
        {"number": 1, "state": "PRUNED", "params": {"optim.lr": 0.1}, "value": 2.0, "history": [2.0]},
    ],
}


@pytest.fixture
def trained(checkout: Path) -> Path:
    """The checkout after tune, train and evaluate."""
    for folder in ("build/train", "build/evaluate", "reports/figures/evaluate"):
        (checkout / folder).mkdir(parents=True)
    (checkout / "build/train/lineage.json").write_text(json.dumps(LINEAGE))
    (checkout / "build/train/history.csv").write_text("epoch,val_loss,val_accuracy\n0,1.5,0.4\n1,1.25,\n")
    (checkout / "reports/train.json").write_text(json.dumps({"best_epoch": 1, "val_accuracy": 0.45, "val_loss": 1.25}))
    (checkout / "reports/metrics.json").write_text(json.dumps(METRICS))
    (checkout / "reports/tune.json").write_text(json.dumps(TUNE))
    (checkout / "reports/index.html").write_text("<p>report</p>")
    (checkout / "reports/figures/evaluate/confusion.png").write_bytes(b"png")
    (checkout / "dvc.lock").write_text("stages: {}\n")
    return checkout
