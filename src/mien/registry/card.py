"""Model card: what a stranger must know before using a model, in Markdown (Mitchell et al., 2019).

It is a function of the training's files and reports: no times, machines or version numbers, so that the same model has
the same card wherever it is registered. The words are in `card.md.j2`.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from mien.base.records import read_out, read_record
from mien.evaluation.intervals import Interval
from mien.evaluation.slices import Slice, Slices, slice_accuracy
from mien.models.description import hardware_words
from mien.registry.version import Candidate
from mien.sources.source import DataConfig

RESAMPLES: Final = 1000
RERUN_EVALUATE: Final = "`dvc repro evaluate` writes it again"
# What a card needs of reports/metrics.json.
MEASURES: Final = ("accuracy", "unweighted_average_recall", "macro_f1", "ece", "nll", "brier")
MEASURED: Final[dict[str, type]] = {
    "n": int,
    "majority_share": float,
    "uncalibrated": dict,
    "per_class": dict,
    **dict.fromkeys(MEASURES, dict),
}
TEMPLATE: Final = "card.md.j2"


@dataclass(frozen=True)
class CardFacts:
    """All that a card says is a function of these, so that the same files give the same card."""

    candidate: Candidate
    measured: dict[str, Any]  # reports/metrics.json
    audit: dict[str, Any] | None  # reports/split.json
    slices: Slices
    multiply_adds: int


def card_facts(candidate: Candidate, predictions: Path) -> CardFacts:
    """The facts of a candidate; `metrics.json` and `split.json` lie beside its `predictions`.

    Raises:
        UserError: a file is missing or damaged.
    """
    from mien.models.networks import multiply_adds  # PyTorch, which only the first registration of a model waits for

    reports = predictions.parent
    audit = reports / "split.json"
    return CardFacts(
        candidate,
        measured=read_record(reports / "metrics.json", MEASURED, RERUN_EVALUATE),
        audit=read_record(audit, {"parts": dict}, "`dvc repro split` writes it again") if audit.exists() else None,
        slices=_slices(candidate, predictions),
        multiply_adds=multiply_adds(candidate.network.build(), candidate.spec.cut),
    )


def _slices(candidate: Candidate, predictions: Path) -> Slices:
    """Accuracy within classes, face sizes and detector confidences, on the whole test set."""
    index = read_out(candidate.split / "test.parquet", pd.read_parquet, "`dvc repro split` writes it again")
    answers = read_out(predictions, lambda file: pd.read_csv(file, dtype={"face_id": str}), RERUN_EVALUATE)
    predicted = answers.set_index("face_id")["predicted"].reindex(index["face_id"].astype(str))
    classes = {name: number for number, name in enumerate(candidate.spec.classes)}
    return slice_accuracy(index, predicted.map(classes).to_numpy(dtype=np.float64), n=RESAMPLES)


def write_card(facts: CardFacts) -> str:
    """The card of a model, as Markdown."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # where a card is written, and only there

    templates = Environment(  # nothing is escaped: Markdown is filled in with mien's own words and names
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,
    )
    candidate = facts.candidate
    return templates.get_template(TEMPLATE).render(
        name=candidate.name,
        title=candidate.lineage["title"],
        identity=candidate.identity,
        lineage=candidate.lineage,
        cut=candidate.spec.cut,
        temperature=candidate.spec.temperature,
        measured={"leak_free": None, **facts.measured},
        audit=facts.audit,
        classes=candidate.spec.classes,
        source=_source(candidate.data),
        multiply_adds=facts.multiply_adds,
        trained_on=hardware_words(candidate.lineage),
        overruled=candidate.lineage["search"].get("overruled", {}),
        slices=facts.slices.slices,
        failures=failures(facts),
        accuracy=_accuracy,
        percent=lambda measure: Interval.from_json(measure).percent(),
        text=lambda measure: Interval.from_json(measure).text(),
    )


def failures(facts: CardFacts) -> list[str]:
    """The worst class, face size and detector confidence, each as a sentence, and what the faces are too few for."""
    slices, sentences = facts.slices.slices, []
    for group in dict.fromkeys(part.group for part in slices):
        if parts := [part for part in slices if part.group == group and not part.too_few]:
            worst = min(parts, key=lambda part: part.accuracy.value)
            sentences.append(f"Worst {group}: {worst.name}, {_accuracy(worst)} right of {worst.faces:,} faces.")
    if few := [part.name for part in slices if part.too_few]:
        sentences.append(f"Under 20 test faces, too few to say: {', '.join(few)}.")
    return [*sentences, *(f"By {group} nothing is said: {why}." for group, why in facts.slices.skipped.items())]


def _source(data: DataConfig) -> str:
    """How the labels were read, as the end of a sentence."""
    options = ", ".join(f"`{key}: {value}`" for key, value in data.options.items())
    return f", read by the source `{data.source}`{f' with {options}' if options else ''}"


def _accuracy(part: Slice) -> str:
    return (Interval(part.accuracy.value) if part.too_few else part.accuracy).percent()
