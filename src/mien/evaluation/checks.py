"""What goes into every measure, checked once: labels, probabilities and logits of the same faces."""

from typing import Any

import numpy as np
import numpy.typing as npt

from mien.errors import UserError
from mien.expressions import N_EXPRESSIONS

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Array = npt.NDArray[Any]


def checked_labels(labels: npt.ArrayLike) -> Ints:
    """Labels as (N,) int64, positions in EXPRESSIONS.

    Raises ValueError where there is none, or one that is no whole number from 0 to 6.
    """
    given = np.asarray(labels)
    if given.ndim != 1 or given.size == 0:
        raise ValueError(f"labels must be one row of at least one face, not of shape {given.shape}")
    whole = given.astype(np.int64)
    if (whole != given).any() or whole.min() < 0 or whole.max() >= N_EXPRESSIONS:
        raise ValueError(f"labels must be whole numbers from 0 to {N_EXPRESSIONS - 1}")
    return whole


def checked_probabilities(probabilities: npt.ArrayLike, n: int) -> Floats:
    """Probabilities as (n, 7) float64 whose rows sum to 1 exactly enough for float64.

    Raises ValueError for another shape, for NaN, and for rows that are no probabilities.
    """
    given = np.asarray(probabilities, dtype=np.float64)
    if given.shape != (n, N_EXPRESSIONS):
        raise ValueError(f"probabilities must have shape {(n, N_EXPRESSIONS)}, not {given.shape}")
    total = given.sum(axis=1, keepdims=True)
    if not np.isfinite(given).all() or given.min() < 0 or np.abs(total - 1).max() > 1e-3:
        raise ValueError("every row of probabilities must be 0 or above and sum to 1")
    normed: Floats = given / total
    return normed


def checked_logits(logits: npt.ArrayLike, n: int) -> Floats:
    """Logits as (n, 7) float64.

    Raises ValueError for another shape, and UserError for NaN or infinity, which a diverged training leaves.
    """
    given = np.asarray(logits, dtype=np.float64)
    if given.shape != (n, N_EXPRESSIONS):
        raise ValueError(f"logits must have shape {(n, N_EXPRESSIONS)}, not {given.shape}")
    bad = int((~np.isfinite(given).all(axis=1)).sum())
    if bad:
        raise UserError(
            f"the model gives no finite logits for {bad} of {n} faces: its training has diverged; "
            "train again with a lower learning rate"
        )
    return given
