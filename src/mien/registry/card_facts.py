"""What a model card is written from: the training's account, the reports of the DAG, and where the model fails."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from mien.records import opened, read_record
from mien.registry.candidate import Candidate

if TYPE_CHECKING:
    from mien.evaluation.slices import Slices

RESAMPLES: Final = 1000
EVALUATE_ANEW: Final = "`dvc repro evaluate` writes it anew"
MEASURED: Final[dict[str, type]] = {
    "n": int,
    "majority_share": float,
    "accuracy": dict,
    "unweighted_average_recall": dict,
    "macro_f1": dict,
    "ece": dict,
    "nll": dict,
    "brier": dict,
    "uncalibrated": dict,
    "per_class": dict,
}


@dataclass(frozen=True)
class CardFacts:
    """All that a card says is a function of these, so that the same files give the same card."""

    name: str  # of the registered model
    identity: str
    lineage: dict[str, Any]
    spec: dict[str, Any]
    temperature: float
    measured: dict[str, Any]  # reports/metrics.json
    audit: dict[str, Any] | None  # reports/split.json
    slices: "Slices"
    multiply_adds: int


def card_facts(candidate: Candidate, predictions: Path) -> CardFacts:
    """The facts of a candidate; `metrics.json` and `split.json` lie beside its `predictions`.

    Raises:
        UserError: a file is missing or damaged.
    """
    reports = predictions.parent
    audit = reports / "split.json"
    return CardFacts(
        name=candidate.name,
        identity=candidate.identity,
        lineage=candidate.lineage,
        spec=candidate.spec,
        temperature=candidate.temperature,
        measured=read_record(reports / "metrics.json", MEASURED, EVALUATE_ANEW),
        audit=read_record(audit, {"parts": dict}, "`dvc repro split` writes it anew") if audit.exists() else None,
        slices=_slices(candidate, predictions),
        multiply_adds=multiply_adds(candidate.spec),
    )


def multiply_adds(spec: dict[str, Any]) -> int:
    """How many multiplications, each with its addition, the network of a spec takes for a face."""
    from mien.models import cost
    from mien.models.spec import ModelSpec

    known = ModelSpec(**{**spec, "classes": tuple(spec["classes"])})
    return cost.multiply_adds(known.build(), known.size, known.channels)


def _slices(candidate: Candidate, predictions: Path) -> "Slices":
    """Accuracy within classes, face sizes and detector confidences, on the whole test set."""
    import pandas as pd

    from mien.evaluation.slices import slice_accuracy

    index = opened(candidate.split / "test.parquet", pd.read_parquet, "`dvc repro split` writes it anew")
    answers = opened(predictions, lambda file: pd.read_csv(file, dtype={"face_id": str}), EVALUATE_ANEW)
    predicted = answers.set_index("face_id")["predicted"].reindex(index["face_id"].astype(str))
    classes = {name: number for number, name in enumerate(candidate.spec["classes"])}
    return slice_accuracy(index, predicted.map(classes).to_numpy(dtype=np.float64), n=RESAMPLES)
