"""Labels, logits and indexes as a model and a split would give them."""

import numpy as np
import pandas as pd

from mien.base.classes import EXPRESSIONS, N_EXPRESSIONS
from mien.evaluation.measures import fit_temperature
from mien.evaluation.scoring import EvaluateConfig, Evaluation, measure_logits
from mien.runtime.session import softmax


def drawn(n: int, seed: int = 0, skill: float = 1.5) -> tuple[np.ndarray, np.ndarray]:
    """Labels (n,) and logits (n, 7) of a model that is right more often the higher its skill."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, N_EXPRESSIONS, n)
    logits = generator.normal(size=(n, N_EXPRESSIONS))
    logits[np.arange(n), labels] += skill
    return labels, logits


def calibrated(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Labels drawn from the very probabilities that the logits give."""
    generator = np.random.default_rng(seed)
    logits = 2 * generator.normal(size=(n, 7))
    labels = (softmax(logits).cumsum(axis=1) > generator.uniform(size=(n, 1))).argmax(axis=1)
    return labels, logits


def evaluate_logits(
    val_logits: np.ndarray, val_labels: np.ndarray, logits: np.ndarray, index: pd.DataFrame, config: EvaluateConfig
) -> Evaluation:
    """What the stage does once the model has answered."""
    return measure_logits(fit_temperature(val_logits, val_labels), logits, index, EXPRESSIONS, config)


def index_of(labels: np.ndarray, seed: int = 0, per_photo: int = 2) -> pd.DataFrame:
    """An index as `split` writes it, with so many faces a photo."""
    generator = np.random.default_rng(seed)
    n = len(labels)
    photo = np.arange(n) // per_photo
    return pd.DataFrame(
        {
            "row": np.arange(n),
            "face_id": [f"f{i}" for i in range(n)],
            "image": [f"p{i}.jpg" for i in photo],
            "label": labels.astype("int8"),
            "person": "",
            "confidence": generator.uniform(30, 130, n).astype("float32"),
            "face_size": generator.integers(20, 120, n),
            "photo_digest": [f"d{i}" for i in photo],
            "face_digest": [f"p{i}" for i in range(n)],
            "group": photo,
            "leaked": False,
        }
    )


LINEAGE = {
    "digest": "ab" * 32,
    "run": "faces · residual · 48 px grey",
    "data": "faces",
    "title": "Faces",
    "drawn": False,
    "model": "residual",
    "data_digest": "cd" * 32,
    "split_digest": "ef" * 32,
    "choices": {"data": "faces", "model": "residual"},
    "config": {"optim": {"name": "adamw", "lr": 0.001}, "tune": {"space": {"optim.lr": {"low": 0.0001}}}},
    "search": {"trials": 12, "overruled": {"optim.lr": {"config": 0.001, "search": 0.0031}}},
    "device": "cpu",
    "precision": "32",
    "parameters": 2_760_000,
}
