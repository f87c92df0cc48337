"""Which labels are likely wrong, by confident learning.

C. Northcutt, L. Jiang, I. Chuang: Confident Learning: Estimating Uncertainty in Dataset Labels. JAIR 2021. A face is
suspected where a network that never saw it is surer of another class than it usually is where that class is right; how
many are suspected of each pair of classes follows from the estimated joint distribution of given and true labels.
"""

from importlib.util import find_spec
from typing import Final

import numpy as np
import pandas as pd

from mien.errors import UserError
from mien.evaluation.checks import checked_labels, checked_probabilities

COLUMNS: Final = ("face_id", "image", "part", "label", "suggested", "p_label", "p_suggested", "quality", "suspect")
_DIGITS: Final = 6


def require_cleanlab() -> None:
    """Raise a UserError where cleanlab is not installed, before hours of training."""
    if find_spec("cleanlab") is None:
        raise UserError(
            "`mien labels` needs cleanlab, which is not installed: "
            "`pip install -c constraints.txt '.[noise]'` brings it."
        )


def rank_labels(table: pd.DataFrame, probabilities: np.ndarray, classes: tuple[str, ...]) -> pd.DataFrame:
    """Every face with what speaks against its label, the most suspicious first.

    Args:
        table: face_id, image, part and label of N faces.
        probabilities: (N, classes), out of fold.
        classes: their names.

    Returns:
        COLUMNS and `place`, the face's position in `table`. `suggested` is the most probable other class, `quality` the
        normalized margin of the given label from 0 (surely wrong) to 1, `suspect` whether confident learning
        holds the label for wrong. Suspects stand first.

    Raises:
        UserError: all faces have one class.
    """
    labels = checked_labels(table["label"], len(classes))
    given = checked_probabilities(probabilities, len(labels))
    suspect, quality = _confident_learning(labels, given)
    rows = np.arange(len(labels))
    others = given.copy()
    others[rows, labels] = -1
    suggested = others.argmax(axis=1)
    names = np.array(classes)
    ranked = pd.DataFrame(
        {
            **{name: table[name].to_numpy() for name in ("face_id", "image", "part")},
            "label": names[labels],
            "suggested": names[suggested],
            "p_label": given[rows, labels].round(_DIGITS),
            "p_suggested": given[rows, suggested].round(_DIGITS),
            "quality": quality.round(_DIGITS),
            "suspect": suspect,
            "place": rows,
        }
    )
    return ranked.sort_values(["suspect", "quality"], ascending=[False, True], kind="stable").reset_index(drop=True)


def _confident_learning(labels: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which labels are suspected, (N,) bool, and their quality, (N,) float64; classes without a face take no part."""
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores

    present, numbers = np.unique(labels, return_inverse=True)
    if len(present) < 2:
        raise UserError("all faces have one and the same label: there is nothing to take it for.")
    among = probabilities[:, present]
    among = among / among.sum(axis=1, keepdims=True)
    suspect = find_label_issues(numbers, among, filter_by="prune_by_noise_rate", n_jobs=1)
    quality = get_label_quality_scores(numbers, among, method="normalized_margin")
    return np.asarray(suspect, dtype=bool), np.asarray(quality, dtype=np.float64)
