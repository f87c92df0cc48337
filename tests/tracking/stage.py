"""The stage `train` on a few faces, and what the store must hold after it."""

import csv
import logging
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from mlflow.entities import Run

from mien.crop.cropping import CropConfig
from mien.tracking.publish import read_lineage, training_params
from mien.tracking.runs import find_run, of_epoch
from mien.tracking.store import connect
from pipelines.__main__ import run_stage
from tests.registry.workspace import prepare

TINY = ["model.width=4", "train.epochs=4", "train.patience=0", "train.batch_size=64"]
TINY += ["trainer.precision='32'", "trainer.accelerator=cpu"]
CHOICES = ["data=sample", "model=resnet16", "augment=none", "optim=adamw", "train=short", "trainer=single"]


def prepared(root: Path) -> Path:
    """A checkout after crop and split."""
    prepare(root, CropConfig(size=24, colour="grey", workers=1))
    return root


@dataclass(frozen=True)
class Trained:
    """What a run of tune and train came to."""

    root: Path
    history: bytes
    weights: bytes
    warnings: list[str]

    @property
    def run(self) -> Run:
        lineage = read_lineage(self.root / "build/train")
        run = find_run(connect(), lineage["data"], lineage["digest"])
        assert run is not None
        return run

    def missing(self) -> list[str]:
        """What the store lacks of the files, or has twice, or otherwise; empty where it is level."""
        run, client = self.run, connect()
        with (self.root / "build/train/history.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        wrong = []
        for key in rows[0].keys() - {"epoch"}:
            csv_values = sorted((int(row["epoch"]), float(row[key])) for row in rows if row[key])
            stored = sorted(
                (m.step, m.value) for m in client.get_metric_history(run.info.run_id, *of_epoch({key: 0.0}))
            )
            if stored != csv_values:
                wrong.append(f"{key}: {stored} instead of {csv_values}")
        params = {key: str(value) for key, value in training_params(read_lineage(self.root / "build/train")).items()}
        wrong += [f"parameter {key}" for key, value in params.items() if run.data.params.get(key) != value]
        files = {file.path for file in client.list_artifacts(run.info.run_id, "training")}
        names = ("history.csv", "lineage.json", "train.json")
        wrong += [f"file {name}" for name in names if f"training/{name}" not in files]
        wrong += [f"tag {tag}" for tag in ("mien.data_digest", "mien.dvc_lock") if tag not in run.data.tags]
        if run.info.status != "FINISHED":
            wrong.append(f"status {run.info.status}")
        return wrong


class Heard(logging.Handler):
    """What tracking warned of."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.warnings: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.warnings.append(record.getMessage())

    def __enter__(self) -> Self:
        logging.getLogger("mien.tracking").addHandler(self)
        return self

    def __exit__(self, *error: object) -> None:
        logging.getLogger("mien.tracking").removeHandler(self)


def run_train(root: Path, data: str) -> Trained:
    """Tune (no search) and train, as `dvc repro` starts them, with the data set's name as the experiment's."""
    (root / "dvc.lock").write_text("stages: {}\n")
    overrides = [*CHOICES, *TINY, f"data.name={data}"]
    with Heard() as heard, chdir(root):
        run_stage("tune", [*overrides, "tune=none"])
        run_stage("train", overrides)
    build = root / "build/train"
    return Trained(
        root, (build / "history.csv").read_bytes(), (build / "model.safetensors").read_bytes(), heard.warnings
    )
