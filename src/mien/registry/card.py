"""Model card: what a stranger must know before using a model, in Markdown (Mitchell et al., 2019).

It is a function of the training's files and reports: no times, machines or version numbers, so that the same model has
the same card wherever it is registered. The words are in `card.md.j2`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from mien.base.records import read_out, read_record
from mien.evaluation.intervals import Interval
from mien.evaluation.slices import Slice, Slices, slice_accuracy
from mien.models.spec import hardware_words
from mien.registry.version import Candidate
from mien.sources.source import DataConfig

RESAMPLES: Final = 1000
EVALUATE_ANEW: Final = "`dvc repro evaluate` writes it anew"
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
SHARES: Final = {"accuracy": "accuracy", "unweighted_average_recall": "mean recall", "macro_f1": "macro F1"}
ERRORS: Final = {"ece": "calibration error (ECE)", "nll": "negative log-likelihood", "brier": "Brier score"}


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
        measured=read_record(reports / "metrics.json", MEASURED, EVALUATE_ANEW),
        audit=read_record(audit, {"parts": dict}, "`dvc repro split` writes it anew") if audit.exists() else None,
        slices=_slices(candidate, predictions),
        multiply_adds=multiply_adds(candidate.network.build(), candidate.spec.cut),
    )


def _slices(candidate: Candidate, predictions: Path) -> Slices:
    """Accuracy within classes, face sizes and detector confidences, on the whole test set."""
    index = read_out(candidate.split / "test.parquet", pd.read_parquet, "`dvc repro split` writes it anew")
    answers = read_out(predictions, lambda file: pd.read_csv(file, dtype={"face_id": str}), EVALUATE_ANEW)
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
    audit, candidate = facts.audit, facts.candidate
    return templates.get_template(TEMPLATE).render(
        name=candidate.name,
        title=candidate.lineage["title"],
        identity=candidate.identity,
        lineage=candidate.lineage,
        cut=candidate.spec.cut,
        temperature=candidate.spec.temperature,
        measured={"leak_free": None, **facts.measured},
        audit=audit,
        parts=_parts(audit["parts"], candidate.spec.classes) if audit else "",
        source=_source(candidate.data),
        multiply_adds=facts.multiply_adds,
        trained_on=hardware_words(candidate.lineage),
        overruled=candidate.lineage["search"].get("overruled", {}),
        numbers=_numbers(facts.measured),
        classes=_classes(facts),
        failures=failures(facts),
        share=lambda measure: Interval.from_json(measure).percent(),
    )


def failures(facts: CardFacts) -> list[str]:
    """The worst class, face size and detector confidence, each as a sentence, and what the faces are too few for."""
    found, sentences = facts.slices.slices, []
    for group in dict.fromkeys(one.group for one in found):
        told = [one for one in found if one.group == group and not one.too_few]
        if told:
            worst = min(told, key=lambda one: one.accuracy.value)
            sentences.append(f"Worst {group}: {worst.name}, {_accuracy(worst)} right of {worst.faces:,} faces.")
    if few := [one.name for one in found if one.too_few]:
        sentences.append(f"Under 20 test faces, too few to say: {', '.join(few)}.")
    return [*sentences, *(f"By {group} nothing is said: {why}." for group, why in facts.slices.skipped.items())]


def _source(data: DataConfig) -> str:
    """How the labels were read, as the end of a sentence."""
    options = ", ".join(f"`{key}: {value}`" for key, value in data.options.items())
    return f", read by the source `{data.source}`{f' with {options}' if options else ''}"


def _parts(parts: Mapping[str, Any], classes: Sequence[str]) -> str:
    rows = [
        [name, f"{part['faces']:,}", f"{part['photos']:,}", *(f"{part['classes'].get(one, 0):,}" for one in classes)]
        for name, part in parts.items()
    ]
    return _table(["part", "faces", "photos", *classes], rows)


def _numbers(measured: Mapping[str, Any]) -> str:
    """The official test set, and its leak-free part where that is another."""
    columns = {f"test set, {measured['n']:,} faces": measured}
    if leak_free := measured.get("leak_free"):
        columns[f"without copies in training, {leak_free['n']:,} faces"] = leak_free
    rows = [[words, *(_interval(one[key], share=True) for one in columns.values())] for key, words in SHARES.items()]
    rows += [[words, *(_interval(one[key]) for one in columns.values())] for key, words in ERRORS.items()]
    return _table(["", *columns], rows)


def _classes(facts: CardFacts) -> str:
    per_class = facts.measured["per_class"]
    rows = []
    for one in facts.slices.slices:
        if one.group == "class":
            precision = per_class[one.name]["precision"]
            said = "never said" if precision is None else f"{100 * precision:.1f} %"
            rows.append([one.name, f"{one.faces:,}", _accuracy(one), said])
    return _table(["expression", "test faces", "found of them (recall)", "right where said (precision)"], rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows))


def _accuracy(one: Slice) -> str:
    return one.accuracy.percent()


def _interval(measure: Mapping[str, Any], *, share: bool = False) -> str:
    interval = Interval.from_json(measure)
    return interval.percent() if share else interval.text()
