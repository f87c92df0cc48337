"""What goes into every measure, checked once: labels, probabilities and logits of the same faces."""

from typing import Any

import numpy as np
import numpy.typing as npt

from mien.base.classes import CLASS_SETS, N_EXPRESSIONS
from mien.base.errors import UserError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Array = npt.NDArray[Any]


def checked_labels(labels: npt.ArrayLike, classes: int = N_EXPRESSIONS) -> Ints:
    """Labels as (N,) int64, positions in `class_names(classes)`.

    Raises ValueError where there is none, or one that is no whole number from 0 to classes - 1.
    """
    given = np.asarray(labels)
    if given.ndim != 1 or given.size == 0:
        raise ValueError(f"labels must be one row of at least one face, not of shape {given.shape}")
    whole = given.astype(np.int64)
    if (whole != given).any() or whole.min() < 0 or whole.max() >= classes:
        raise ValueError(f"labels must be whole numbers from 0 to {classes - 1}")
    return whole


def classes_of(answers: npt.ArrayLike) -> int:
    """How many classes probabilities or logits (N, classes) speak of; 7 where their shape is none, which is refused."""
    shape = np.shape(answers)
    return shape[1] if len(shape) == 2 and shape[1] in CLASS_SETS else N_EXPRESSIONS


def checked_probabilities(probabilities: npt.ArrayLike, n: int) -> Floats:
    """Probabilities as (n, classes) float64 whose rows sum to 1 exactly enough for float64.

    Raises ValueError for another shape, for NaN, and for rows that are no probabilities.
    """
    given = np.asarray(probabilities, dtype=np.float64)
    _refuse_shape("probabilities", given, n)
    total = given.sum(axis=1, keepdims=True)
    if not np.isfinite(given).all() or given.min() < 0 or np.abs(total - 1).max() > 1e-3:
        raise ValueError("every row of probabilities must be 0 or above and sum to 1")
    normed: Floats = given / total
    return normed


def checked_logits(logits: npt.ArrayLike, n: int) -> Floats:
    """Logits as (n, classes) float64.

    Raises ValueError for another shape, and UserError for NaN or infinity, which a diverged training leaves.
    """
    given = np.asarray(logits, dtype=np.float64)
    _refuse_shape("logits", given, n)
    bad = int((~np.isfinite(given).all(axis=1)).sum())
    if bad:
        raise UserError(
            f"the model gives no finite logits for {bad} of {n} faces: its training has diverged; "
            "train again with a lower learning rate"
        )
    return given


def _refuse_shape(what: str, given: Array, n: int) -> None:
    if given.ndim != 2 or len(given) != n or given.shape[1] not in CLASS_SETS:
        columns = " or ".join(map(str, CLASS_SETS))
        raise ValueError(f"{what} must have {n} rows of {columns} classes, not shape {given.shape}")
