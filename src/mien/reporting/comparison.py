"""Comparison of two runs: configuration, curves, paired scores, and one self-contained HTML page."""

import re
from collections.abc import Hashable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from mien.base.errors import UserError
from mien.crop.packed import open_faces
from mien.evaluation.intervals import NAN, Interval, Intervals, bootstrap
from mien.evaluation.measures import Floats
from mien.evaluation.scoring import Predictions
from mien.reporting.curves import Epochs, comparison_figure
from mien.reporting.images import data_uri, face_png
from mien.reporting.pages import page, picture
from mien.reporting.style import DARK, LIGHT

MEASURES: Final = {
    "accuracy": "accuracy",
    "macro_f1": "macro F1",
    "unweighted_average_recall": "mean recall (UAR)",
    "calibration_error": "calibration error",
    "ece": "ECE, biased upwards",
    "nll": "log loss (NLL), nats",
    "brier": "Brier score, 0 to 2",
}
# Of the epoch that was kept; experiments are sorted by these, as the test set is for the last word alone.
VALIDATION: Final = {
    "accuracy": "validation accuracy",
    "macro_f1": "validation macro F1",
    "loss": "validation loss",
}
LOWER_IS_BETTER: Final = ("calibration_error", "ece", "nll", "brier")
SHOWN: Final = 24  # faces of each kind of disagreement
KINDS: Final = {"b": "Only B is right", "a": "Only A is right", "none": "Both are wrong, each in its own way"}
# Facts of a run that its numbers may depend on, as people call them.
FACTS: Final = {
    "mien.data_digest": "faces (digest)",
    "mien.split_digest": "split (digest)",
    "mien.trained_on": "trained on",
    "mlflow.source.git.commit": "commit",
    "mien.git_dirty": "uncommitted edits",
    "mien.cpu": "processor",
    "mien.versions": "versions",
}
ABSENT: Final = "–"
LONG_NUMBER: Final = re.compile(r"\d+\.\d{5,}(e-?\d+)?")
DIGEST: Final = re.compile("[0-9a-f]{32,}")

Difference = tuple[str, str, str]  # what, in A, in B


@dataclass(frozen=True)
class ComparedRun:
    """An evaluated run, from the tracking store or from a checkout's files."""

    key: str  # the run's id, or the folder
    name: str
    source: str  # where it was read from: a run's id, a version, a folder
    data: str
    facts: Mapping[str, str]  # digests, commit, precision, versions
    params: Mapping[str, str]  # as MLflow names them: optim.lr
    metrics: Mapping[str, float]  # val/accuracy, test/accuracy
    epochs: Epochs
    predictions: Predictions

    @property
    def faces(self) -> pd.DataFrame:
        """The rows of the predictions, one a test face."""
        return self.predictions.table

    def validated(self, name: str) -> float:
        """A score on the validation faces; NaN for what was not tracked."""
        return self.metrics.get(f"val/{name}", NAN)

    def measure(self, name: str) -> Interval:
        """A measure of the test set as it was tracked, with its interval; NaN for what was not."""
        ends = (self.metrics.get(f"test/interval/{name}_{end}", NAN) for end in ("low", "high"))
        return Interval(self.metrics.get(f"test/{name}", NAN), *ends)


@dataclass(frozen=True)
class Paired:
    """Differences B - A on the faces that leaked into neither training."""

    faces: int
    groups: int  # of photos
    left_out: int
    differences: Intervals
    mcnemar: dict[str, float]  # what `mcnemar` gives
    # A row per face with two answers, the surest first: face_id, image, label, a, b (the answers), p_a, p_b (their
    # probabilities), right ("a", "b" or "none").
    disagreements: pd.DataFrame


@dataclass(frozen=True)
class Comparison:
    """Two runs and their differences; `paired` is None where `unpaired` says why."""

    a: ComparedRun
    b: ComparedRun
    paired: Paired | None
    unpaired: str
    config: list[Difference]  # parameters
    facts: list[Difference]  # digests, code and machine

    def verdict(self, name: str) -> str:
        """The better run by a measure's paired difference: "A", "B", or "" where it may be luck."""
        if self.paired is None or not (difference := self.paired.differences.overall[name]).known:
            return ""
        if difference.low <= 0 <= difference.high:
            return ""
        return "B" if (difference.value > 0) != (name in LOWER_IS_BETTER) else "A"

    @property
    def sentence(self) -> str:
        """The most important result, about accuracy."""
        if self.paired is None:
            return f"There is no paired test of the two. {self.unpaired}"
        difference = self.paired.differences.overall["accuracy"]
        if not difference.known:
            return "One photo does not show which of the two is more accurate."
        interval, points = "95\N{NO-BREAK SPACE}% interval", abs(100 * difference.value)
        if not (better := self.verdict("accuracy")):
            span = f"{100 * difference.value:+.1f} points, {interval} {difference.ends('+.1f', 100)}"
            return f"There is no clear difference in accuracy: B - A is {span}."
        low, high = sorted(abs(100 * end) for end in (difference.low, difference.high))
        than = {"A": "B", "B": "A"}[better]
        return f"{better} is more accurate than {than} by {points:.1f} points, {interval} {low:.1f} to {high:.1f}."

    @property
    def disagreements(self) -> list[tuple[str, list[dict[Hashable, Any]], int]]:
        """Each kind of disagreement: its title, the surest of its faces, and how many there are."""
        if self.paired is None:
            return []
        by_kind = dict(list(self.paired.disagreements.groupby("right")))
        found = [(title, by_kind[kind]) for kind, title in KINDS.items() if kind in by_kind]
        return [(title, rows.head(SHOWN).to_dict("records"), len(rows)) for title, rows in found]

    @property
    def recalls(self) -> dict[str, tuple[float, float, int]]:
        """Recall of A and of B on its own test set, and A's faces, of each class that both tracked."""
        table = {}
        for name in self.a.predictions.classes:
            a, b = (run.metrics.get(f"test/per_class/{name}/recall") for run in (self.a, self.b))
            support = self.a.metrics.get(f"test/per_class/{name}/support", 0.0)
            if a is not None and b is not None:
                table[name] = (a, b, int(support))
        return table

    def json(self) -> dict[str, Any]:
        """The comparison without pictures and curves; a number that does not exist is null."""
        paired = self.paired
        return {
            "a": _side(self.a),
            "b": _side(self.b),
            "verdict": self.sentence,
            "unpaired": self.unpaired or None,
            "paired": paired
            and {
                "faces": paired.faces,
                "groups": paired.groups,
                "left_out": paired.left_out,
                "differences": {name: paired.differences.overall[name].json() for name in MEASURES},
                "recall_differences": {k: s["recall"].json() for k, s in paired.differences.per_class.items()},
                "mcnemar": paired.mcnemar,
                "disagreements": paired.disagreements.to_dict("records"),
            },
            "config": [{"key": key, "a": a, "b": b} for key, a, b in self.config],
            "facts": [{"what": what, "a": a, "b": b} for what, a, b in self.facts],
        }


def _side(run: ComparedRun) -> dict[str, Any]:
    measures = {name: run.measure(name).json() for name in MEASURES}
    validation = {name: run.metrics.get(f"val/{name}") for name in VALIDATION}
    about = {"name": run.name, "source": run.source, "data": run.data}
    return {**about, "validation": validation, "faces": len(run.faces), **measures}


def compare(a: ComparedRun, b: ComparedRun) -> Comparison:
    """Compare two runs, which one run twice are not; only on the same test faces is there a paired test."""
    if a.key == b.key:
        raise UserError(f"A and B are both {a.source} ({a.name}); name two runs.")
    unpaired = _why_not_paired(a, b)
    paired = None if unpaired else compare_paired(a, b)
    keys = {key: key for key in sorted({*a.params, *b.params})}
    facts = {key: name for key, name in FACTS.items() if key in a.facts and key in b.facts}  # a folder knows fewer
    config = _differences(a.params, b.params, keys)
    return Comparison(a, b, paired, unpaired, config, _differences(a.facts, b.facts, facts))


def _why_not_paired(a: ComparedRun, b: ComparedRun) -> str:
    """Why the two were not tested on the same faces, as a sentence; empty where they were."""
    if a.data != b.data:
        return f"A was tested on the data set {a.data} and B on {b.data}."
    classes = [", ".join(run.predictions.classes) for run in (a, b)]
    if classes[0] != classes[1]:
        return f"A distinguishes the classes {classes[0]}, and B {classes[1]}."
    ids_a, ids_b = (set(run.faces["face_id"]) for run in (a, b))
    if ids_a != ids_b:
        common = len(ids_a & ids_b)
        return f"A was tested on {len(ids_a):,} faces and B on {len(ids_b):,}, of which {common:,} are the same."
    ours, theirs = (run.faces.set_index("face_id").sort_index() for run in (a, b))
    if other := int((ours[["image", "label"]] != theirs[["image", "label"]]).any(axis=1).sum()):
        return f"{other:,} of the {len(ours):,} test faces have another label or photo in B than in A."
    everywhere = (ours["leaked"] | theirs["leaked"]).all()
    return "Every test face has a copy among the faces that A or B learnt from." if everywhere else ""


def compare_paired(a: ComparedRun, b: ComparedRun, *, n: int = 2000) -> Paired:
    """The paired comparison of two runs on the same test faces, by `n` resamples of A's groups."""
    order = pd.Index(b.faces["face_id"]).get_indexer(a.faces["face_id"])
    clean = ~(a.faces["leaked"].to_numpy(bool) | b.faces["leaked"].to_numpy(bool)[order])
    labels, clusters = a.predictions.labels[clean], a.faces["group"].to_numpy()[clean]
    ours, theirs = a.predictions.probabilities[clean], b.predictions.probabilities[order][clean]
    return Paired(
        faces=int(clean.sum()),
        groups=len(np.unique(clusters)),
        left_out=int((~clean).sum()),
        differences=bootstrap(labels, theirs, clusters, classes=a.predictions.classes, baseline=ours, n=n),
        mcnemar=mcnemar(ours.argmax(axis=1) == labels, theirs.argmax(axis=1) == labels),
        disagreements=_disagreements(a.faces[clean], a.predictions.classes, ours, theirs),
    )


def mcnemar(right_a: np.ndarray, right_b: np.ndarray) -> dict[str, float]:
    """Faces by who is right, each (N,) bool: `both`, `only_a`, `only_b`, `neither`, and McNemar's exact `p` (1947).

    The test takes the faces as independent, which those of one photo are not: the bootstrap does not. Where no answer
    differs, `p` is 1.
    """
    only_a, only_b = int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())
    p = float(binomtest(only_a, only_a + only_b).pvalue) if only_a + only_b else 1.0
    both, neither = int((right_a & right_b).sum()), int((~right_a & ~right_b).sum())
    return {"both": both, "only_a": only_a, "only_b": only_b, "neither": neither, "p": p}


def _disagreements(faces: pd.DataFrame, classes: tuple[str, ...], a: Floats, b: Floats) -> pd.DataFrame:
    names = np.array(classes)
    table = faces[["face_id", "image", "label"]].assign(a=names[a.argmax(axis=1)], b=names[b.argmax(axis=1)])
    table = table.assign(p_a=a.max(axis=1), p_b=b.max(axis=1))
    table["right"] = np.select([table["a"] == table["label"], table["b"] == table["label"]], ["a", "b"], "none")
    table = table[table["a"] != table["b"]]
    surest = np.argsort(-table[["p_a", "p_b"]].to_numpy().max(axis=1), kind="stable")
    return table.iloc[surest].reset_index(drop=True)


def _differences(a: Mapping[str, str], b: Mapping[str, str], names: Mapping[str, str]) -> list[Difference]:
    """What differs; a dash where a run has none of it. Values are shortened unless that makes them equal."""
    found = []
    for key, name in names.items():
        ours, theirs = a.get(key, ABSENT), b.get(key, ABSENT)
        if ours != theirs:
            short = _short(ours), _short(theirs)
            found.append((name, *(short if short[0] != short[1] else (ours, theirs))))
    return found


def _short(value: str) -> str:
    """A searched number with four digits, a digest by its beginning, anything else whole."""
    if LONG_NUMBER.fullmatch(value):
        return f"{float(value):.4g}"
    return value[:12] if DIGEST.fullmatch(value) else value


def comparison_page(comparison: Comparison, root: Path) -> str:
    """The HTML; faces are shown where `build/crop` of the checkout `root` or of a compared folder holds them."""
    a, b = comparison.a, comparison.b
    kinds = comparison.disagreements
    light, dark = (comparison_figure(a.epochs, b.epochs, theme) for theme in (LIGHT, DARK))
    alt = "Loss and validation accuracy of both runs by epoch"
    return page(
        "comparison.html",
        c=comparison,
        sides=(("A", a), ("B", b)),
        validation=VALIDATION,
        titles=MEASURES,
        lower=LOWER_IS_BETTER,
        kinds=kinds,
        pictures=face_pictures(root, (a, b), [face["face_id"] for _, faces, _ in kinds for face in faces]),
        shown=SHOWN,
        curves=picture(light, dark, alt) if light and dark else None,
    )


def face_pictures(root: Path, runs: Sequence[ComparedRun], face_ids: Iterable[str]) -> dict[str, str]:
    """Faces as data URIs by face_id, from the crop of one of the runs' data; empty where none is here."""
    digests = {run.facts.get("mien.data_digest") for run in runs}
    for folder in (root, *(Path(run.source) for run in runs if Path(run.source).is_absolute())):
        with suppress(UserError, OSError):  # a comparison is worth having without pictures
            packed = open_faces(folder / "build/crop")
            if packed.digest in digests:
                rows = dict(zip(packed.index["face_id"], packed.index["row"], strict=True))
                return {face: data_uri(face_png(packed.pixels[rows[face]])) for face in face_ids if face in rows}
    return {}
