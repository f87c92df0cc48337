"""Reports of studies beside the DAG: a model on another data set, and labels that are likely wrong."""

import base64
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pandas as pd

from mien.base.files import replacing
from mien.evaluation import tables
from mien.evaluation.other_data import ALL, CrossEvaluation, metrics
from mien.reporting.evaluation_report import Background, OtherData, write_report
from mien.reporting.images import Pixels, face_jpeg
from mien.reporting.pages import page

if TYPE_CHECKING:
    from mien.evaluation.label_noise import LabelNoise  # imports PyTorch

LABELS_PAGE: Final = "labels.html"
LABELS_TABLE: Final = "labels.csv"
MOST: Final = 5000  # faces on the page; labels.csv has all
QUALITY: Final = 88  # of the JPEGs: a page of 5,000 faces stays at some 10 to 20 MB


def write_cross_evaluation(cross: CrossEvaluation, folder: Path) -> None:
    """Write report.html, metrics.json, predictions.csv, confusion.csv and figures/*.png into a folder.

    Files of these names are replaced, each as a whole; others that lie there stay.
    """
    (folder / "figures").mkdir(parents=True, exist_ok=True)
    evaluation = cross.evaluation
    with tempfile.TemporaryDirectory(dir=folder, prefix=".partial-") as scratch:
        waiting = Path(scratch)
        (waiting / "figures").mkdir()
        write_report(evaluation, _background(cross), cross.pixels, waiting / "report.html", waiting / "figures")
        evaluation.predictions.table.to_csv(waiting / "predictions.csv", index=False)
        tables.confusion(evaluation).to_csv(waiting / "confusion.csv", index=False)
        tables.write_json(metrics(cross), waiting / "metrics.json")
        for file in sorted(f for f in waiting.rglob("*") if f.is_file()):
            file.replace(folder / file.relative_to(waiting))


def _background(cross: CrossEvaluation) -> Background:
    model = cross.model
    other = OtherData(model.name, model.title, model.drawn, cross.part, cross.digest, sentences(cross))
    parts = {"measured": cross.evaluation.whole.support}
    title = cross.data.title or cross.data.name
    return Background(title, cross.data.drawn, model.lineage, parts, cross.quarantine, other)


def sentences(cross: CrossEvaluation) -> tuple[str, ...]:
    """The same for people: which faces, which were left out, which classes, which temperature."""
    return tuple(s for s in (_faces(cross), _cut(cross), _seen(cross), *_classes(cross), _temperature(cross)) if s)


def _faces(cross: CrossEvaluation) -> str:
    part, data = cross.part, cross.data.name
    which = f"All usable faces of {data}" if part == ALL else f"The {part} part that {data} itself gives"
    filtered = cross.quarantine["reason"].value_counts()
    left = ", ".join(f"{n:,} {str(why).replace('_', ' ')}" for why, n in filtered.items())
    unread = cross.problems
    rows = f" {unread:,} rows of the raw data set could not be read." if unread else ""
    return f"{which}; left out: {left or 'none'}.{rows}"


def _cut(cross: CrossEvaluation) -> str:
    cut = cross.model.spec.cut
    shape = f"margin {cut.margin:g}" + (", made square" if cut.square else "")
    return f"Faces were cut from the data set's boxes as the model's own were: {cut.size} px, {cut.colour}, {shape}."


def _seen(cross: CrossEvaluation) -> str:
    if cross.learnt_from is None:
        return "Which faces the model learnt from is not written beside it: copies of them may be among these."
    if not cross.learnt_from:
        return "The model learnt from none of these faces: no photo and no pixels are the same."
    faces = "face was" if cross.learnt_from == 1 else "faces were"
    return f"{cross.learnt_from:,} {faces} left out because the model learnt from the same photo or the same pixels."


def _classes(cross: CrossEvaluation) -> list[str]:
    words = []
    for name, n in cross.unknown.items():
        faces = "face" if n == 1 else "faces"
        words.append(f"{n:,} {faces} of {name} were left out: the model cannot name that class.")
    if dropped := cross.dropped:
        names = ", ".join(dropped["classes"])
        words.append(
            f"The data set cannot name {names}, so it was taken out of the model's choice and the rest scaled up to 1. "
            f"It had been the first answer on {dropped['first_answers']:,} faces; with these counted as wrong the "
            f"accuracy is {dropped['accuracy_if_wrong']:.3f}."
        )
    if missing := [name for name, faces in cross.evaluation.whole.support.items() if not faces]:
        words.append(
            f"No face here is labelled {', '.join(missing)}: the averages over classes leave that out, and an answer "
            "of it counts as wrong."
        )
    return words


def _temperature(cross: CrossEvaluation) -> str:
    if cross.model.temperature is None:
        return "The model has no temperature, so its probabilities are not calibrated."
    return (
        f"Its probabilities are calibrated as it is used, by the temperature fitted on its own validation set "
        f"({cross.model.temperature:.3f}), which was not fitted again on these faces."
    )


def write_label_noise(found: "LabelNoise", about: dict[str, Any], folder: Path) -> None:
    """Write labels.html, a page of the suspected labels with filters, and labels.csv, which has every face.

    `about` has `title` (of the data set), `model`, `folds` and `epochs`, for the head of the page.
    """
    texts = {LABELS_PAGE: labels_page(found, about), LABELS_TABLE: found.ranked.drop(columns="row").to_csv(index=False)}
    for name, text in texts.items():
        with replacing(folder / name) as partial:
            partial.write_text(text, encoding="utf-8")


def labels_page(found: "LabelNoise", about: dict[str, Any]) -> str:
    """The page of the suspected labels."""
    classes, suspects = found.packed.classes, found.suspects
    shown = suspects.head(MOST)
    return page(
        "labels.html",
        about={**about, "accuracy": found.accuracy, "faces": len(found.ranked)},
        suspects=len(suspects),
        shown=len(shown),
        classes=classes,
        pairs=suspected_pairs(suspects, classes),
        faces=[_face(row, found.packed.pixels[row["row"]]) for row in shown.to_dict("records")],
    )


def suspected_pairs(suspects: pd.DataFrame, classes: tuple[str, ...]) -> pd.DataFrame:
    """How many suspects of each given class (rows) are suggested to be each other class (columns)."""
    counts = pd.crosstab(suspects["label"], suspects["suggested"])
    return counts.reindex(index=list(classes), columns=list(classes), fill_value=0)


def _face(row: dict[Any, Any], pixels: Pixels) -> list[Any]:
    """A face for the page's script; a list, as names in thousands of objects would double the page."""
    words = [row[name] for name in ("face_id", "image", "part", "label", "suggested")]
    shares = [round(float(row[name]), 3) for name in ("p_label", "p_suggested")]
    return [*words, *shares, base64.b64encode(face_jpeg(pixels, QUALITY)).decode("ascii")]
