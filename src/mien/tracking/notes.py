"""Descriptions that MLflow shows as Markdown: each stage keeps its own section, and leaves what a person wrote."""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from mien.models.machine import trained_on

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

NOTE: Final = "mlflow.note.content"
REGISTERED: Final = "Registered"
TEST: Final = "Test set"
TRAINING: Final = "Training"
SEARCH: Final = "Search"
# A reader asks for the verdict first; stages write in another order.
ORDER: Final = (REGISTERED, TEST, TRAINING, SEARCH)


def with_section(note: str, title: str, text: str) -> str:
    """The note with one section `### title` set; other sections and a person's words stay."""
    parts = re.split(r"(?m)^### (.+)\n", note)
    sections = dict(zip(parts[1::2], (part.strip() for part in parts[2::2]), strict=True))
    sections[title] = text
    known = [one for one in ORDER if one in sections]
    ordered = [*known, *(one for one in sections if one not in ORDER)]
    blocks = [f"### {one}\n{sections[one]}" for one in ordered]
    return "\n\n".join([*filter(None, [parts[0].strip()]), *blocks])


def set_note(client: "MlflowClient", run_id: str, title: str, text: str) -> None:
    """Set a section of a run's description, where it says anything else so far."""
    before = client.get_run(run_id).data.tags.get(NOTE, "")
    after = with_section(before, title, text)
    if after != before:
        client.set_tag(run_id, NOTE, after)


def interval_words(measure: Mapping[str, Any]) -> str:
    """A share with its interval as percentages: `80.7 % (75.0 to 86.3)`."""
    value = f"{100 * measure['value']:.1f} %"
    if measure.get("low") is None or measure.get("high") is None:
        return value
    return f"{value} ({100 * measure['low']:.1f} to {100 * measure['high']:.1f})"


def evaluation_note(report: Mapping[str, Any], unlike: str = "") -> str:
    """What `reports/metrics.json` says, in a few lines; `unlike` where this machine would train otherwise."""
    photos = f" in {report['photos']} photos" if "photos" in report else ""
    lines = [
        f"**Accuracy {interval_words(report['accuracy'])}**, 95 % interval, on {report['n']} faces{photos}; "
        f"the largest class alone gives {100 * report['majority_share']:.1f} %."
    ]
    if "macro_f1" in report:
        lines.append(f"Macro F1 {interval_words(report['macro_f1'])}.")
    if leak_free := report.get("leak_free"):
        accuracy = interval_words(leak_free["accuracy"])
        lines.append(f"Without faces that have a copy in training ({leak_free['n']} faces): accuracy {accuracy}.")
    if unlike:
        lines.append(f"Published from a machine unlike the training's. {unlike}")
    return "\n".join([*lines, "The whole story is in the artifact `evaluation/report.html`."])


def training_note(lineage: Mapping[str, Any]) -> str:
    """What `build/train/lineage.json` says, in a few lines."""
    lines = [
        f"`{lineage['model']}` ({lineage['parameters']:,} parameters, {trained_on(lineage)}), "
        f"learnt from {lineage.get('title', lineage['data'])}.",
    ]
    if lineage.get("drawn"):
        lines.append("Its faces are drawn: the numbers show that the machinery works, and say nothing of people.")
    for key, value in lineage["search"].get("overruled", {}).items():
        lines.append(f"- `{key}`: {_short(value['search'])} from the search, in place of {_short(value['config'])}")
    return "\n".join(lines)


def search_note(report: Mapping[str, Any]) -> str:
    """What `reports/tune.json` says, in a few lines."""
    trials = report["trials"]
    pruned = sum(trial["state"] == "PRUNED" for trial in trials)
    line = f"{len(trials)} trials (the child runs), {pruned} of them stopped early."
    if best := report.get("best"):
        line += f" The best is trial {best['trial']}: `{report['objective']}` {best['value']:.4f}."
    return line


def _short(value: Any) -> str:
    """A searched value, which need not be a number."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
