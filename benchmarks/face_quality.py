"""Benchmark of face quality: how often answers are right on both sides of the thresholds of size, sharpness and turn.

    python -m benchmarks.face_quality FOLDER

FOLDER has data/fer2013 and data/expw, as in docs/howto/own-data.md. The model is the one in the package.
ExpW's faces are YuNet's, where that finds the labelled face. Half of its photos (by the digest of their names) and
FER2013's PublicTest choose thresholds, the other half and PrivateTest report. Faces are split by each measure as
they are, and as copies of every third face of FER2013, blurred (by a Gaussian) or shrunk and enlarged again. A
threshold separates where the 95 % intervals (Wilson) of the two accuracies do not overlap. The numbers go to
benchmarks/results/face_quality.json and to standard output.
"""

import hashlib
import json
import sys
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import pandas as pd

from benchmarks.packaged import data_config, place_of
from benchmarks.peers import part_of
from mien.crop.cropping import CropConfig
from mien.evaluation.intervals import proportion
from mien.inference.address import PACKAGED, load_model_of
from mien.inference.classifier import LoadedModel
from mien.inference.predictor import BLURRED, SMALL, TURNED, Predictor, sharpness_of
from mien.runtime.cut import Box
from mien.runtime.decode import decode_photo
from mien.sources.detect import PredictConfig, build_detector
from mien.sources.source import get_source

RESULTS: Final = Path(__file__).parent / "results" / "face_quality.json"
PARTS: Final = {"val": "PublicTest", "test": "PrivateTest"}
EVERY: Final = 3  # of the faces whose copies are measured
BLURS: Final = (0.5, 0.75, 1.0, 1.5)  # sigma, in pixels of the face at 48
SIDES: Final = (32, 24, 20, 16)  # pixels
MOST_FLAGGED: Final = 1 / 3  # of the faces that choose
FEWEST: Final = 50  # faces on a side
GRIDS: Final = {
    "turn": np.arange(0.05, 1, 0.05),
    "size": np.arange(44, 160, 4),
    "sharpness": np.arange(0.05, 1, 0.05),
}


def accuracy(right: np.ndarray) -> dict[str, float]:
    """Share of right answers with its Wilson interval."""
    if not len(right):
        return {"n": 0}
    share = proportion(right.astype(float), np.ones(len(right)))
    ends = {"accuracy": share.value, "low": share.low, "high": share.high}
    return {"n": len(right), **{name: round(value, 3) for name, value in ends.items()}}


def sides(faces: pd.DataFrame, measure: str, threshold: float) -> dict[str, Any]:
    """The accuracy of the faces that the threshold speaks against, and of the others."""
    bad = faces[measure] > threshold if measure == "turn" else faces[measure] < threshold
    against, other = (accuracy(faces.loc[rows, "right"].to_numpy()) for rows in (bad, ~bad))
    separates = bool(against["n"] and other["n"] and against["high"] < other["low"])
    return {"threshold": round(float(threshold), 2), "against": against, "other": other, "separates": separates}


def chosen(faces: pd.DataFrame, measure: str) -> float | None:
    """The threshold of the grid whose sides lie the most standard errors apart; None where none separates."""
    best, farthest = None, 0.0
    for threshold in GRIDS[measure]:
        both = sides(faces, measure, float(threshold))
        against, other = both["against"], both["other"]
        if not both["separates"] or against["n"] < FEWEST or against["n"] > MOST_FLAGGED * len(faces):
            continue
        error = np.sqrt(sum(side["accuracy"] * (1 - side["accuracy"]) / side["n"] for side in (against, other)))
        if (apart := (other["accuracy"] - against["accuracy"]) / error) > farthest:
            best, farthest = round(float(threshold), 2), apart
    return best


def expw(folder: Path, model: LoadedModel) -> pd.DataFrame:
    """Half, measures and whether the answer is right, of the labelled faces that YuNet finds."""
    config = data_config("expw")
    source = get_source(config)
    faces = source.ingest(folder / config.path).faces
    photos = source.photos(folder / config.path, folder / ".mien" / "unpacked")
    predictor = Predictor(model, build_detector(PredictConfig(min_face=20)))
    rows, pixels = [], []
    for image, labelled in faces[faces["confidence"] > CropConfig().min_confidence].groupby("image", sort=False):
        found = predictor.find_faces(decode_photo(photos.read(str(image)), max_megapixels=100))
        half = hashlib.sha256(str(image).encode()).digest()[-1] % 2
        for row in labelled.itertuples():
            box = Box(**{edge: getattr(row, edge) for edge in Box._fields})
            if (place := place_of(box, [face.box for face in found.detections])) is not None:
                face = found.detections[place]
                rows.append((half, row.label, face.box.shorter_side, face.sharpness, face.turn))
                pixels.append(found.pixels[place])
    table = pd.DataFrame(rows, columns=["half", "label", "size", "sharpness", "turn"])
    return table.assign(right=model.logits(np.stack(pixels)).argmax(axis=1) == table["label"])


def answered(model: LoadedModel, pixels: np.ndarray, labels: np.ndarray) -> pd.DataFrame:
    """Sharpness, and whether the answer is right, of cut faces."""
    right = model.logits(pixels).argmax(axis=1) == labels
    return pd.DataFrame({"sharpness": [sharpness_of(face) for face in pixels], "right": right})


def blurred(pixels: np.ndarray, sigma: float) -> np.ndarray:
    """Copies out of focus."""
    return np.stack([cv2.GaussianBlur(face, (0, 0), sigma) for face in pixels])[..., None]


def shrunk(pixels: np.ndarray, side: int) -> np.ndarray:
    """Copies of faces that are `side` pixels in their photo, cut to 48."""
    small = [cv2.resize(face, (side, side), interpolation=cv2.INTER_AREA) for face in pixels]
    return np.stack([cv2.resize(face, (48, 48), interpolation=cv2.INTER_LINEAR) for face in small])[..., None]


def copies(model: LoadedModel, pixels: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """Faces as they are, and made worse: accuracy by blur, by side, and of blurred faces by their sharpness."""
    own = answered(model, pixels, labels)
    pixels, labels = pixels[::EVERY], labels[::EVERY]
    by_blur = {sigma: answered(model, blurred(pixels, sigma), labels) for sigma in BLURS}
    by_side = {side: accuracy(answered(model, shrunk(pixels, side), labels)["right"].to_numpy()) for side in SIDES}
    together = pd.concat(by_blur.values())
    edges = GRIDS["sharpness"][:8]
    bands = {
        f"{top - 0.05:.2f} to {top:.2f}": accuracy(
            together.loc[together["sharpness"].between(top - 0.05, top, inclusive="left"), "right"].to_numpy()
        )
        for top in edges
    }
    return {
        "as they are": accuracy(own["right"].to_numpy()),
        "every third": accuracy(own["right"].to_numpy()[::EVERY]),
        "blurred by": {str(sigma): accuracy(rows["right"].to_numpy()) for sigma, rows in by_blur.items()},
        "shrunk to": {str(side): measured for side, measured in by_side.items()},
        "blurred, by sharpness": bands,
        "sharpness of all copies": sides(pd.concat([own[::EVERY], together]), "sharpness", BLURRED),
        "sharpness as they are": sides(own, "sharpness", BLURRED),
        "chosen as they are": chosen(own, "sharpness"),
    }


def main(folder: Path) -> None:
    """Measure, write the numbers, and print them."""
    model = load_model_of(PACKAGED[0])
    answers: dict[str, Any] = {"thresholds": {"size": SMALL + 1, "sharpness": BLURRED, "turn": TURNED}}
    for part, name in PARTS.items():
        faces = part_of(folder, "fer2013", part, 1)
        answers[name] = copies(model, faces.faces[..., None], faces.labels)
        print(name, json.dumps(answers[name], indent=1), flush=True)
    found = expw(folder, model)
    choosing, reporting = (found[found["half"] == half] for half in (0, 1))
    for measure in GRIDS:
        best = chosen(choosing, measure)
        answers[f"ExpW, {measure}"] = {
            "chosen": best,
            "choosing half": best and sides(choosing, measure, best),
            "reporting half": best and sides(reporting, measure, best),
            "all, at the threshold of mien": sides(found, measure, answers["thresholds"][measure]),
            "reporting half, at the threshold of mien": sides(reporting, measure, answers["thresholds"][measure]),
        }
        print(measure, json.dumps(answers[f"ExpW, {measure}"], indent=1), flush=True)
    RESULTS.write_text(json.dumps(answers, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
