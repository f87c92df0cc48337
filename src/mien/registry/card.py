"""Model card in Markdown (Mitchell et al., 2019).

It is a function of the training's files and reports: no times, machines or version numbers, so that the same model has
the same card wherever it is registered. The words are in `card.md.j2`.
"""

from pathlib import Path
from typing import Any

from mien.base.records import read_record, rerun
from mien.evaluation.scoring import Evaluation
from mien.evaluation.slices import Slices
from mien.evaluation.tables import read_evaluation
from mien.models.description import hardware_words
from mien.registry.version import Candidate
from mien.reporting.pages import note


def write_card(candidate: Candidate, predictions: Path) -> str:
    """The card of a candidate; the audit of its split lies beside its `predictions`. A UserError for a damaged file."""
    file = predictions.with_name("split.json")
    audit = read_record(file, {"parts": dict}, rerun("split")) if file.exists() else None
    return render_card(candidate, read_evaluation(candidate.evaluated, predictions), audit)


def render_card(candidate: Candidate, evaluation: Evaluation, audit: dict[str, Any] | None) -> str:
    """The card as Markdown; `audit` is what `reports/split.json` holds."""
    failed, trained_on = failures(evaluation.slices), hardware_words(candidate.lineage)
    return note(Path(__file__).with_name("card.md.j2"), "card", candidate, evaluation, failed, audit, trained_on) + "\n"


def failures(slices: Slices) -> list[str]:
    """The worst class, face size and detector confidence, each as a sentence, and what the faces are too few for."""
    sentences = []
    for group in dict.fromkeys(part.group for part in slices.slices):
        parts = [part for part in slices.slices if part.group == group and not part.too_few]
        if len(parts) > 1:  # one alone is the worst of nothing
            worst = min(parts, key=lambda part: part.accuracy.value)
            right = f"{worst.accuracy.percent()} right of {worst.faces:,} faces"
            sentences.append(f"Worst {group}: {worst.name}, {right}.")
    if few := [f"{part.group} {part.name}" for part in slices.slices if part.too_few]:
        sentences.append(f"Under 20 test faces, too few for a result: {'; '.join(few)}.")
    return [*sentences, *(f"No results by {group}: {why}." for group, why in slices.skipped.items())]
