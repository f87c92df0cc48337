"""Files of an evaluation: metrics for people and programs, and all numbers that the report draws."""

import json
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from mien.base.classes import EXPRESSIONS
from mien.base.errors import UserError
from mien.base.records import read_out, read_record
from mien.evaluation.calibration import Reliability, Temperature
from mien.evaluation.intervals import Interval, Intervals, rounded
from mien.evaluation.measures import ConfusedPair
from mien.evaluation.scoring import Evaluation, Part, Predictions
from mien.evaluation.slices import Slice, Slices

IDENTITY: Final = ("data", "model", "data_digest", "split_digest")
NUMBERS: Final = "evaluation.json"
# At least; a model of eight classes has one more.
COLUMNS: Final = ("face_id", "image", "label", "predicted", "leaked", "group", *(f"p_{name}" for name in EXPRESSIONS))
REMEDY: Final = "`dvc repro evaluate` writes it again"


def metrics(evaluation: Evaluation, lineage: dict[str, Any]) -> dict[str, Any]:
    """The content of `reports/metrics.json`: every number with its interval, and what it was measured on.

    Measures of probabilities are those after temperature scaling, with the ones before under
    "uncalibrated". A number that does not exist (recall of a class without a face, the interval of one
    photo) is null. "leak_free" is null where no test face has a copy in training.
    """
    return {**{key: lineage[key] for key in IDENTITY}, **measured(evaluation)}


def measured(evaluation: Evaluation) -> dict[str, Any]:
    """The numbers of `metrics` alone, without what they were measured on."""
    leak_free = evaluation.leak_free
    return {
        **_summary(evaluation.whole),
        "uncalibrated": {name: rounded(value) for name, value in evaluation.before.items()},
        "temperature": rounded(evaluation.temperature.value),
        "leak_free": None if leak_free is None else _summary(leak_free),
    }


def _summary(part: Part) -> dict[str, Any]:
    return {
        "n": part.faces,
        "photos": part.photos,
        "majority_share": rounded(part.majority_share),
        **{name: interval.json() for name, interval in part.intervals.overall.items()},
        "per_class": {
            name: {**{key: rounded(i.value) for key, i in scores.items()}, "support": part.support[name]}
            for name, scores in part.intervals.per_class.items()
        },
    }


def temperature(evaluation: Evaluation) -> dict[str, Any]:
    """The content of `build/evaluate/temperature.json`: divide logits by "temperature" before the softmax."""
    fitted = evaluation.temperature
    return {
        "temperature": fitted.value,
        "fitted_on": fitted.faces,
        "nll_before": rounded(fitted.nll_before),
        "nll_after": rounded(fitted.nll_after),
        "note": fitted.note,
    }


def confusion(evaluation: Evaluation) -> pd.DataFrame:
    """One row per test face with `actual` and `predicted`, as the confusion templates of `dvc plots` read it."""
    return evaluation.predictions.table[["label", "predicted"]].rename(columns={"label": "actual"})


def write_numbers(evaluation: Evaluation, folder: Path) -> None:
    """Write `evaluation.json`: all that the report shows but the predictions."""
    content = {key: value for key, value in vars(evaluation).items() if key != "predictions"}
    write_json(plain(content), folder / NUMBERS)


def write_json(content: Any, file: Path) -> None:
    """Write indented JSON; NaN is an error."""
    file.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def plain(value: Any) -> Any:
    """Dataclasses, arrays and NaN as JSON can hold them, numbers rounded to six digits."""
    if isinstance(value, Interval):
        return value.json()
    if isinstance(value, float | np.floating):
        return rounded(float(value))
    if isinstance(value, np.ndarray):
        return [plain(one) for one in value.tolist()]
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, tuple):
        return [plain(one) for one in value]
    return plain(vars(value)) if hasattr(value, "__dict__") else value


def read_evaluation(folder: Path, predictions: Path) -> Evaluation:
    """The evaluation that `write_numbers` and the table of predictions hold.

    Raises:
        UserError: a file is missing or damaged, or of another version of mien.
    """
    keys = {"resamples": int, "temperature": dict, "whole": dict, "before": dict, "reliability": dict, "slices": dict}
    content = read_record(folder / NUMBERS, {**keys, "confused": list, "leak_free": object}, REMEDY)
    slices = content["slices"]
    return Evaluation(
        predictions=read_predictions(predictions),
        resamples=content["resamples"],
        temperature=Temperature(**{key: _number(value) for key, value in content["temperature"].items()}),
        whole=_part(content["whole"]),
        leak_free=None if content["leak_free"] is None else _part(content["leak_free"]),
        before={key: _number(value) for key, value in content["before"].items()},
        reliability={when: _reliability(bins) for when, bins in content["reliability"].items()},
        slices=Slices(tuple(_slice(one) for one in slices["slices"]), slices["skipped"]),
        confused=tuple(_pair(one) for one in content["confused"]),
    )


def read_predictions(file: Path, name: str = "") -> Predictions:
    """The table of a `predictions.csv`; `name` is what messages call it.

    Raises:
        UserError: it is missing or damaged, lacks a column, or holds no face.
    """
    shown = name or str(file)
    table: pd.DataFrame = read_out(file, lambda path: pd.read_csv(path, dtype={"face_id": str, "image": str}), REMEDY)
    if missing := [column for column in COLUMNS if column not in table]:
        raise UserError(f"{shown} lacks the column {missing[0]}; {REMEDY}.")
    if table.empty:
        raise UserError(f"{shown} holds no face; {REMEDY}.")
    return Predictions(table)


def _part(content: dict[str, Any]) -> Part:
    intervals = content["intervals"]
    overall = {name: Interval.from_json(one) for name, one in intervals["overall"].items()}
    per_class = {
        name: {key: Interval.from_json(one) for key, one in scores.items()}
        for name, scores in intervals["per_class"].items()
    }
    share = _number(content["majority_share"])
    return Part(**{**content, "majority_share": share, "intervals": Intervals(overall, per_class)})


def _reliability(content: dict[str, Any]) -> Reliability:
    return Reliability(**{name: np.array(bins, int if name == "faces" else float) for name, bins in content.items()})


def _slice(content: dict[str, Any]) -> Slice:
    return Slice(**{**content, "accuracy": Interval.from_json(content["accuracy"])})


def _pair(content: dict[str, Any]) -> ConfusedPair:
    rows, probabilities = np.array(content["rows"], int), np.array(content["probabilities"], float)
    return ConfusedPair(**{**content, "rows": rows, "probabilities": probabilities})


def _number(value: Any) -> Any:
    return float("nan") if value is None else value
