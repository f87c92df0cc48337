"""An evaluation as the numbers and tables that are kept: metrics, predictions, confusion, temperature."""

import math
from typing import Any, Final

import numpy as np
import pandas as pd

from mien.evaluation.intervals import Interval
from mien.evaluation.scoring import Evaluation, Part

IDENTITY: Final = ("data", "model", "data_digest", "split_digest")
_DIGITS: Final = 6


def _number(value: float) -> float | None:
    """Rounded, so that the last bit of another machine is no change; null where there is no value."""
    return round(value, _DIGITS) if math.isfinite(value) else None


def _interval(interval: Interval) -> dict[str, float | None]:
    return {key: _number(getattr(interval, key)) for key in ("value", "low", "high")}


def _part(part: Part) -> dict[str, Any]:
    return {
        "n": part.faces,
        "photos": part.photos,
        "majority_share": _number(part.majority_share),
        **{name: _interval(one) for name, one in part.intervals.overall.items()},
        "per_class": {
            name: {
                "precision": _number(s.precision),
                "recall": _number(s.recall),
                "f1": _number(s.f1),
                "support": s.support,
            }
            for name, s in part.scores.items()
        },
    }


def metrics(evaluation: Evaluation, lineage: dict[str, Any]) -> dict[str, Any]:
    """What `reports/metrics.json` holds: every number with its interval, and what it was measured on.

    Measures of probabilities are those after temperature scaling, with the ones before under
    "uncalibrated". A number that does not exist (recall of a class without a face, the interval of one
    photo) is null. "leak_free" is null where no test face has a copy in training.
    """
    return {**{key: lineage[key] for key in IDENTITY}, **measured(evaluation)}


def measured(evaluation: Evaluation) -> dict[str, Any]:
    """The numbers of `metrics` alone, without what they were measured on."""
    leak_free = evaluation.leak_free
    return {
        **_part(evaluation.whole),
        "uncalibrated": {name: _number(value) for name, value in evaluation.before.items()},
        "temperature": _number(evaluation.temperature.value),
        "leak_free": None if leak_free is None else _part(leak_free),
    }


def temperature(evaluation: Evaluation) -> dict[str, Any]:
    """What `build/evaluate/temperature.json` holds: divide logits by "temperature" before the softmax."""
    fitted = evaluation.temperature
    return {
        "temperature": fitted.value,
        "fitted_on": fitted.faces,
        "nll_before": _number(fitted.nll_before),
        "nll_after": _number(fitted.nll_after),
        "note": fitted.note,
    }


def predictions(evaluation: Evaluation) -> pd.DataFrame:
    """One row per test face: what it is, what was predicted, and the calibrated probabilities."""
    index = evaluation.index
    names = np.array(evaluation.classes)
    table = pd.DataFrame(
        {
            "face_id": index["face_id"],
            "image": index["image"],
            "label": names[evaluation.labels],
            "predicted": names[evaluation.predicted],
            "correct": evaluation.labels == evaluation.predicted,
            **{name: index[name] for name in ("leaked", "group", "face_size", "confidence")},
        }
    )
    for k, name in enumerate(evaluation.classes):
        table[f"p_{name}"] = evaluation.probabilities[:, k].round(_DIGITS)
    return table


def confusion(evaluation: Evaluation) -> pd.DataFrame:
    """One row per test face with `actual` and `predicted`, as the confusion templates of `dvc plots` read it."""
    return predictions(evaluation)[["label", "predicted"]].rename(columns={"label": "actual"})
