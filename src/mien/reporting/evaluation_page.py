"""The evaluation report as one HTML page, and its folder."""

import base64
import json
import math
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from mien.base.classes import N_EXPRESSIONS, class_names
from mien.evaluation import tables
from mien.evaluation.intervals import Interval
from mien.evaluation.other_data import CrossEvaluation, metrics, sentences
from mien.evaluation.scoring import Evaluation
from mien.reporting.contact_sheets import draw_confused, draw_figures
from mien.reporting.style import DARK
from mien.training.hardware import hardware_words

Pictures = Mapping[str, bytes]


@dataclass(frozen=True)
class Elsewhere:
    """What a report says of a model that is measured on another data set than its own.

    `model` names it, `title` is the data set's, `part` the part of it ("test", or "all"), `drawn` whether its faces
    are drawings, `digest` that of the measured faces, `sentences` how the two were brought together.
    """

    model: str
    title: str
    part: str
    drawn: bool
    digest: str
    sentences: tuple[str, ...]


@dataclass(frozen=True)
class Background:
    """What the report says besides the measures.

    `lineage` is the training's own account (`lineage.json`), `splits` has faces per class of each part, and
    `quarantine` one row for each face that could not be used, with `reason` and `label`.
    `elsewhere` is None where the model is measured on its own data set.
    """

    lineage: dict[str, Any]
    splits: dict[str, pd.Series]
    quarantine: pd.DataFrame
    elsewhere: Elsewhere | None = None


def render_report(
    evaluation: Evaluation,
    background: Background,
    light: Pictures,
    dark: Pictures,
    pixels: npt.NDArray[Any],
) -> str:
    """The HTML of the report.

    `light` and `dark` are the figures (PNG) by name for either colour scheme, `pixels` the test faces,
    (N, H, W, C) uint8, in the order of the evaluation's index.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": percent, "number": number, "between": between, "plain": _plain}
    return environment.get_template("report.html").render(
        e=evaluation,
        lineage=background.lineage,
        elsewhere=background.elsewhere,
        trained_on=hardware_words(background.lineage),
        accuracy=evaluation.whole.intervals.overall["accuracy"],
        verdict=verdict(evaluation),
        parts=[part for part in (evaluation.whole, evaluation.leak_free) if part is not None],
        expressions=evaluation.classes,
        slice_groups=[(g, list(s)) for g, s in groupby(evaluation.slices.slices, key=lambda s: s.group)],
        picture=lambda name, alt: picture(light[name], dark[name], alt),
        face=lambda row: data_uri(face_png(pixels[row])),
        splits=background.splits,
        quarantine=quarantine_counts(background.quarantine, evaluation.classes),
    )


def percent(value: float, digits: int = 1) -> str:
    """0.5803 as "58.0 %"; a dash where there is no value."""
    return f"{100 * value:.{digits}f}\N{NO-BREAK SPACE}%" if math.isfinite(value) else "–"


def number(value: float, digits: int = 3) -> str:
    """Rounded to some digits; a dash where there is no value."""
    return f"{value:.{digits}f}" if math.isfinite(value) else "–"


def between(interval: Interval, style: str = "number") -> str:
    """The ends of an interval, or that there is none."""
    if not interval.known:
        return "no interval"
    if style == "percent":
        return f"{100 * interval.low:.1f} to {percent(interval.high)}"
    return f"{number(interval.low)} to {number(interval.high)}"


def verdict(evaluation: Evaluation) -> str:
    """One sentence: is the model better than always giving the most frequent answer?"""
    whole = evaluation.whole
    accuracy = whole.intervals.overall["accuracy"]
    guess = f"Always answering “{whole.majority}” would score {percent(whole.majority_share)}"
    if not accuracy.known:
        return f"{guess}; one photo does not show whether the model is better."
    if accuracy.low > whole.majority_share:
        return f"{guess}: the model is better than that beyond the luck of the draw."
    if accuracy.high < whole.majority_share:
        return f"{guess}: the model is worse than that."
    return f"{guess}, which lies inside the interval: the model is not shown to be better than that."


def class_counts(labels: pd.Series, classes: int = N_EXPRESSIONS) -> pd.Series:
    """How many of the labels (N,) are each expression, by its name, in the order of the classes."""
    return pd.Series(np.bincount(labels, minlength=classes), index=class_names(classes))


def quarantine_counts(quarantine: pd.DataFrame, classes: tuple[str, ...]) -> pd.DataFrame:
    """Faces by reason (rows, most frequent first) and class (columns, "unknown" last), and in all."""
    if quarantine.empty:
        return pd.DataFrame(columns=[*classes, "unknown", "all"], dtype=np.int64)
    known = quarantine["label"].where(quarantine["label"].isin(classes), "unknown")
    counts = pd.crosstab(quarantine["reason"], known).reindex(columns=[*classes, "unknown"], fill_value=0)
    counts["all"] = counts.sum(axis=1)
    return counts.sort_values("all", ascending=False, kind="stable")


def face_png(face: npt.NDArray[Any]) -> bytes:
    """A face (H, W, 1 or 3) uint8, grey or RGB, as PNG."""
    stored = face if face.shape[2] == 1 else cv2.cvtColor(face, cv2.COLOR_RGB2BGR)
    return cv2.imencode(".png", stored)[1].tobytes()


def data_uri(png: bytes) -> str:
    """A PNG as the address of itself."""
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


def picture(light: bytes, dark: bytes, alt: str) -> Markup:
    """A figure that follows the page's colour scheme; printed it is the light one."""
    return Markup(
        '<picture><source media="screen and (prefers-color-scheme: dark)" srcset="{}"><img src="{}" alt="{}"></picture>'
    ).format(data_uri(dark), data_uri(light), alt)


def _plain(value: object) -> str:
    """A configuration's value as its YAML file would say it."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def write_cross(cross: CrossEvaluation, folder: Path) -> None:
    """Write report.html, metrics.json, predictions.csv, confusion.csv and figures/*.png into a folder.

    Files of these names are replaced; others that lie there stay.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "figures").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".partial-") as waiting:
        _write(cross, Path(waiting))
        for file in sorted(f for f in Path(waiting).rglob("*") if f.is_file()):
            file.replace(folder / file.relative_to(waiting))


def _write(cross: CrossEvaluation, folder: Path) -> None:
    evaluation = cross.evaluation
    light = draw_figures(evaluation)
    (folder / "figures").mkdir()
    for name, png in {**light, **draw_confused(evaluation, cross.pixels)}.items():
        (folder / "figures" / f"{name}.png").write_bytes(png)
    html = render_report(evaluation, _background(cross), light, draw_figures(evaluation, DARK), cross.pixels)
    (folder / "report.html").write_text(html, encoding="utf-8")
    tables.predictions(evaluation).to_csv(folder / "predictions.csv", index=False)
    tables.confusion(evaluation).to_csv(folder / "confusion.csv", index=False)
    numbers = json.dumps(metrics(cross), indent=2, allow_nan=False)
    (folder / "metrics.json").write_text(numbers + "\n", encoding="utf-8")


def _background(cross: CrossEvaluation) -> Background:
    evaluation, part = cross.evaluation, cross.faces.part
    elsewhere = Elsewhere(
        model=cross.model.name,
        title=cross.data.title or cross.data.name,
        part=part,
        drawn=cross.data.drawn,
        digest=cross.digest,
        sentences=sentences(cross),
    )
    counts = {"measured": class_counts(evaluation.index["label"], len(evaluation.classes))}
    return Background(cross.model.lineage, counts, cross.faces.quarantine, elsewhere)
