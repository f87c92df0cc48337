"""Loss of a training: class weights and soft labels for cross entropy."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def class_weights(labels: np.ndarray, classes: int) -> Tensor:
    """Weights `(classes,)` float32, the inverse of each class's share of `labels`; 1 on average over the faces."""
    counts = np.bincount(labels, minlength=classes)
    present = np.count_nonzero(counts)
    return torch.tensor(len(labels) / (present * np.maximum(counts, 1)), dtype=torch.float32)


def soft_labels(votes: Sequence[Sequence[float] | None], labels: np.ndarray, classes: int) -> np.ndarray | None:
    """Annotators' votes as shares, `(n, classes)` float32 with rows of sum 1; None where no face has votes.

    A face without votes gets its whole share at its label.
    """
    if all(given is None for given in votes):
        return None
    shares = np.zeros((len(labels), classes), np.float32)
    for row, given in enumerate(votes):
        if given is None:
            shares[row, labels[row]] = 1
        else:
            shares[row] = given
    shares /= shares.sum(axis=1, keepdims=True)
    return shares
