"""Comparison of two or more runs: configuration, curves, paired scores."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from mien.base.errors import UserError
from mien.crop.packed import PackedFaces, open_faces
from mien.evaluation.checks import Floats
from mien.evaluation.intervals import Interval, paired_bootstrap, paired_recalls
from mien.reporting.evaluation_page import data_uri, face_png
from mien.reporting.runs import Subject
from mien.reporting.style import LIGHT, Theme, drawing, headline, png

# Facts of a run that its numbers may depend on, as people call them.
FACTS: Final = {
    "mien.data_digest": "faces (digest)",
    "mien.split_digest": "split (digest)",
    "mien.precision": "precision",
    "mlflow.source.git.commit": "commit",
    "mien.git_dirty": "uncommitted edits",
    "mien.cpu": "processor",
    "mien.gpu": "GPU",
    "mien.versions": "versions",
    "mien.torch": "torch",  # of older runs, which have a tag a package
    "mien.numpy": "numpy",
    "mien.opencv-python-headless": "opencv",
}
ABSENT: Final = "–"
LONG: Final = re.compile(r"\d+\.\d{5,}(e-?\d+)?")
DIGITS: Final = 12  # of a digest that tell it apart

Difference = tuple[str, str, str]  # what, in A, in B


def config_differences(a: Subject, b: Subject) -> list[Difference]:
    """The parameters that differ, by name; a dash where a run has none of it."""
    found = _differences(a.params, b.params, {key: key for key in sorted({*a.params, *b.params})})
    return [(key, *_rounded(ours, theirs)) for key, ours, theirs in found]


def fact_differences(a: Subject, b: Subject) -> list[Difference]:
    """Digests, code and machine where both runs say something else; a folder says less than the store."""
    known = {key: name for key, name in FACTS.items() if key in a.facts and key in b.facts}
    return [(name, _short(ours), _short(theirs)) for name, ours, theirs in _differences(a.facts, b.facts, known)]


def _differences(a: Mapping[str, str], b: Mapping[str, str], names: Mapping[str, str]) -> list[Difference]:
    pairs = ((name, a.get(key, ABSENT), b.get(key, ABSENT)) for key, name in names.items())
    return [(name, ours, theirs) for name, ours, theirs in pairs if ours != theirs]


def _short(value: str) -> str:
    """A digest by its beginning; anything else whole."""
    is_digest = len(value) >= 32 and all(letter in "0123456789abcdef" for letter in value)
    return value[:DIGITS] if is_digest else value


def _rounded(ours: str, theirs: str) -> tuple[str, str]:
    """Searched numbers with four digits, where that leaves them apart."""
    a, b = (f"{float(value):.4g}" if LONG.fullmatch(value) else value for value in (ours, theirs))
    return (a, b) if a != b else (ours, theirs)


PANELS: Final = (
    ("Loss", "solid: validation, dashed: training", (("val_loss", "-"), ("train_loss", "--"))),
    ("Validation accuracy", "", (("val_accuracy", "-"),)),
)


def curves_figure(a: Subject, b: Subject, theme: Theme = LIGHT) -> bytes | None:
    """PNG: losses and validation accuracy by epoch, A and B in one colour each; None where neither kept any."""
    if not a.epochs and not b.epochs:
        return None
    with drawing(theme, 11, 4.8) as figure:
        for axes, (title, subtitle, lines) in zip(figure.subplots(1, 2), PANELS, strict=True):
            for one, name, colour in ((a, "A", theme.first), (b, "B", theme.second)):
                for key, style in lines:
                    _line(axes, one.epochs, key, style, colour, name if style == "-" else "")
            axes.set_xlabel("epoch")
            axes.grid(visible=True)
            if axes.get_legend_handles_labels()[1]:
                axes.legend()
            headline(axes, title, subtitle or "of the weights after each epoch")
        return png(figure)


def _line(
    axes: Axes, epochs: Sequence[tuple[int, Mapping[str, float]]], key: str, style: str, colour: str, label: str
) -> None:
    points = [(epoch + 1, values[key]) for epoch, values in epochs if key in values]
    if points:
        marker = "o" if len(points) == 1 else ""
        axes.plot(*zip(*points, strict=True), style, color=colour, marker=marker, linewidth=2, label=label or None)


def face_pictures(root: Path, subjects: Iterable[Subject], face_ids: Iterable[str]) -> dict[str, str]:
    """The faces as data addresses by face_id, from the crop of one of the subjects' data; empty where none is here.

    Looked at are `build/crop` of the checkout `root` and of the folders that subjects were read from.
    """
    given = list(subjects)
    digests = {one.facts.get("mien.data_digest") for one in given}
    folders = [root, *(Path(one.source) for one in given if Path(one.source).is_absolute())]
    for folder in dict.fromkeys(folders):
        packed = _open(folder / "build/crop")
        if packed is not None and packed.digest in digests:
            rows = {str(face): row for row, face in enumerate(packed.index["face_id"])}
            known = [face for face in face_ids if face in rows]
            return {face: data_uri(face_png(packed.pixels[rows[face]])) for face in known}
    return {}


def _open(folder: Path) -> PackedFaces | None:
    """The packed faces, or None where they are not whole: a comparison is worth having without pictures."""
    try:
        return open_faces(folder)
    except (UserError, OSError, ValueError, KeyError):
        return None


MEASURES: Final = ("accuracy", "macro_f1", "unweighted_average_recall", "ece", "nll", "brier")
LOWER_IS_BETTER: Final = ("ece", "nll", "brier")
RESAMPLES: Final = 2000


@dataclass(frozen=True)
class McNemar:
    """Faces by who is right, and the exact two-sided p-value of McNemar's test (1947).

    It takes the faces as independent, which those of one photo are not: the bootstrap does not.
    """

    both: int
    only_a: int
    only_b: int
    neither: int
    p: float


@dataclass(frozen=True)
class Paired:
    """Differences b - a on the `faces` faces of `groups` groups of photos that leaked into neither training.

    `disagreements` has a row per face with another answer: face_id, image, label, a, b (what they said), p_a, p_b
    (how sure they were), right ("a", "b" or "none"), the surest first.
    """

    faces: int
    groups: int
    left_out: int
    differences: dict[str, Interval]
    recalls: dict[str, Interval]
    mcnemar: McNemar
    disagreements: pd.DataFrame


def why_not_paired(a: Subject, b: Subject) -> str:
    """Why the two were not tested on the same faces, as a sentence; empty where they were."""
    if a.data != b.data:
        return f"A was tested on the data set {a.data} and B on {b.data}."
    if a.classes != b.classes:
        return f"A tells {len(a.classes)} expressions apart and B {len(b.classes)}."
    ids_a, ids_b = (set(one.predictions["face_id"]) for one in (a, b))
    if ids_a != ids_b:
        common = len(ids_a & ids_b)
        return f"A was tested on {len(ids_a):,} faces and B on {len(ids_b):,}, of which {common:,} are the same."
    ours, theirs = (one.predictions.set_index("face_id")[["image", "label"]].sort_index() for one in (a, b))
    other = int((ours != theirs).any(axis=1).sum())
    return f"{other:,} of the {len(ours):,} test faces have another label or photo in B than in A." if other else ""


def compare_paired(a: Subject, b: Subject, *, n: int = RESAMPLES, seed: int = 42) -> Paired | None:
    """The paired comparison of two runs; None where every test face leaked into a training.

    Resampled are groups of photos (a photo with its copies), as A's split has them. Requires the same test faces.
    """
    order = pd.Index(b.predictions["face_id"]).get_indexer(pd.Index(a.predictions["face_id"]))
    leaked = a.predictions["leaked"].to_numpy(bool) | b.predictions["leaked"].to_numpy(bool)[order]
    clean = ~leaked
    if not clean.any():
        return None
    labels, clusters = a.labels[clean], a.predictions["group"].to_numpy()[clean]
    ours, theirs = a.probabilities[clean], b.probabilities[order][clean]
    return Paired(
        faces=int(clean.sum()),
        groups=len(np.unique(clusters)),
        left_out=int(leaked.sum()),
        differences=paired_bootstrap(labels, ours, theirs, clusters, n=n, seed=seed, names=MEASURES),
        recalls=paired_recalls(labels, ours, theirs, clusters, n=n, seed=seed),
        mcnemar=mcnemar(ours.argmax(axis=1) == labels, theirs.argmax(axis=1) == labels),
        disagreements=_disagreements(a.predictions[clean], a.classes, ours, theirs),
    )


def mcnemar(right_a: np.ndarray, right_b: np.ndarray) -> McNemar:
    """The table of who is right, each (N,) bool, with the exact binomial p-value; 1 where they are so together."""
    from scipy.stats import binomtest

    only_a, only_b = int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())
    p = float(binomtest(only_a, only_a + only_b).pvalue) if only_a + only_b else 1.0
    return McNemar(int((right_a & right_b).sum()), only_a, only_b, int((~right_a & ~right_b).sum()), p)


def _disagreements(faces: pd.DataFrame, classes: tuple[str, ...], a: Floats, b: Floats) -> pd.DataFrame:
    said_a, said_b, names = a.argmax(axis=1), b.argmax(axis=1), np.array(classes)
    table = faces[["face_id", "image", "label"]].reset_index(drop=True)
    table = table.assign(a=names[said_a], b=names[said_b], p_a=a.max(axis=1), p_b=b.max(axis=1))
    table["right"] = np.select([table["a"] == table["label"], table["b"] == table["label"]], ["a", "b"], "none")
    table = table[said_a != said_b]
    surest = np.argsort(-table[["p_a", "p_b"]].to_numpy().max(axis=1), kind="stable")
    ordered: pd.DataFrame = table.iloc[surest].reset_index(drop=True)
    return ordered


NO_FACE_LEFT = "Every test face has a copy among the faces that A or B learnt from."


@dataclass(frozen=True)
class Comparison:
    """Two runs and what tells them apart; `paired` is None where `unpaired` says why it cannot be."""

    a: Subject
    b: Subject
    paired: Paired | None
    unpaired: str
    config: list[Difference]
    facts: list[Difference]

    def verdict(self, name: str) -> str:
        """What the paired difference of a measure shows: "A", "B", or "" where it may be luck."""
        if self.paired is None or not (difference := self.paired.differences[name]).known:
            return ""
        if difference.low <= 0 <= difference.high:
            return ""
        return "B" if (difference.value > 0) != (name in LOWER_IS_BETTER) else "A"

    @property
    def sentence(self) -> str:
        """The one thing to know, about accuracy."""
        if self.paired is None:
            return f"There is no paired test of the two. {self.unpaired}"
        difference = self.paired.differences["accuracy"]
        if not difference.known:
            return "One photo does not show which of the two is more accurate."
        ends = f"{_points(difference.low)} to {_points(difference.high)}"
        span = f"{_points(difference.value)} points, 95\N{NO-BREAK SPACE}% interval {ends}"
        better = self.verdict("accuracy")
        if better:
            return f"{better} is more accurate beyond the luck of the draw: B differs from A by {span}."
        return f"Neither is shown to be more accurate: B differs from A by {span}, which includes no difference."


def compare(a: Subject, b: Subject) -> Comparison:
    """Two runs; the paired test only where both were tested on the same faces.

    Raises:
        UserError: the two are one.
    """
    if a.key == b.key:
        raise UserError(f"A and B are both {a.source} ({a.name}); name two runs.")
    reason = why_not_paired(a, b)
    paired = None if reason else compare_paired(a, b)
    unpaired = reason or ("" if paired else NO_FACE_LEFT)
    return Comparison(a, b, paired, unpaired, config_differences(a, b), fact_differences(a, b))


def as_json(comparison: Comparison) -> dict[str, Any]:
    """The comparison without its pictures and curves; a number that does not exist is null."""
    paired = comparison.paired
    return {
        **{side: _side(getattr(comparison, side)) for side in ("a", "b")},
        "verdict": comparison.sentence,
        "unpaired": comparison.unpaired or None,
        "paired": paired
        and {
            "faces": paired.faces,
            "groups": paired.groups,
            "left_out": paired.left_out,
            "differences": {name: _interval(one) for name, one in paired.differences.items()},
            "recall_differences": {name: _interval(one) for name, one in paired.recalls.items()},
            "mcnemar": asdict(paired.mcnemar),
            "disagreements": paired.disagreements.to_dict("records"),
        },
        "config": [{"key": key, "a": a, "b": b} for key, a, b in comparison.config],
        "facts": [{"what": what, "a": a, "b": b} for what, a, b in comparison.facts],
    }


def _side(one: Subject) -> dict[str, Any]:
    measures = {name: _interval(one.measure(name)) for name in MEASURES}
    return {"name": one.name, "source": one.source, "data": one.data, "faces": len(one.predictions), **measures}


def _interval(interval: Interval) -> dict[str, float | None]:
    return {key: value if math.isfinite(value) else None for key, value in asdict(interval).items()}


def _points(value: float) -> str:
    return f"{100 * value:+.1f}"
