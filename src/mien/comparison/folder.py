"""A side of a comparison from the files of a checkout: what the last `dvc repro` left there."""

from pathlib import Path
from typing import Final

from mien.comparison.subject import Subject, plain_params, read_predictions
from mien.errors import UserError
from mien.models.account import read_lineage
from mien.records import read_record
from mien.tracking.files import evaluation_metrics, read_history, training_params

NEEDED: Final = (
    "reports/metrics.json",
    "reports/predictions.csv",
    "build/train/lineage.json",
    "build/train/history.csv",
)
DIGESTS: Final = ("data_digest", "split_digest", "precision")


def read_folder(folder: Path) -> Subject:
    """The run whose files lie in a checkout, named by the checkout or by its reports/.

    Raises:
        UserError: a file is missing, or build/ and reports/ are of two trainings.
    """
    root = folder.resolve().parent if folder.resolve().name == "reports" else folder.resolve()
    if missing := [name for name in NEEDED if not (root / name).is_file()]:
        raise UserError(f"{folder} holds no evaluated model: {missing[0]} is missing; `dvc repro evaluate` makes it.")
    lineage = read_lineage(root / "build/train")
    report = read_record(
        root / "reports/metrics.json", {"split_digest": str, "model": str}, "`dvc repro evaluate` writes it anew"
    )
    if report["split_digest"] != lineage["split_digest"] or report["model"] != lineage["model"]:
        raise UserError(f"{folder}: build/train and reports/ are of two trainings; `dvc repro evaluate` mends it.")
    return Subject(
        key=str(root),
        name=lineage["run"],
        source=str(root),
        data=lineage["data"],
        facts={f"mien.{key}": str(lineage[key]) for key in DIGESTS},
        params=plain_params(training_params(lineage)),
        metrics=evaluation_metrics(report),
        epochs=read_history(root / "build/train/history.csv"),
        predictions=read_predictions(root / "reports/predictions.csv", str(folder)),
    )
