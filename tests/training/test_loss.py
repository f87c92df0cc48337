"""Annotators' votes reach the loss of the training, and stay out of validation."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from mien.models.description import ModelSpec
from mien.models.weights import predict_logits
from mien.training.dataset import LabelledFaces, validation_loader
from mien.training.fit import fit
from mien.training.loss import soft_labels
from mien.training.recipe import Recipe


def one_hot(labels: np.ndarray, share: float) -> np.ndarray:
    """`share` at the label, the rest at the class after it."""
    votes = np.zeros((len(labels), 7), np.float32)
    votes[np.arange(len(labels)), labels] = share
    votes[np.arange(len(labels)), (labels + 1) % 7] += 1 - share
    return votes


def probabilities(model: torch.nn.Module, faces: LabelledFaces) -> np.ndarray:
    logits = predict_logits(model, faces.pixels)
    return functional.softmax(torch.from_numpy(np.asarray(logits, np.float32)), dim=1).numpy()


def test_votes_teach_the_network_their_shares(
    spec: ModelSpec, recipe: Recipe, train: LabelledFaces, val: LabelledFaces, tmp_path: Path
) -> None:
    longer = recipe.with_values({"train.epochs": 12})
    second = []
    for share in (1.0, 0.6):
        voted = dataclasses.replace(train, votes=one_hot(train.labels, share))
        found = probabilities(fit(spec, longer, voted, val, tmp_path / str(share)).model, val)
        assert (found.argmax(1) == val.labels).mean() > 0.8
        second.append(found[np.arange(len(val)), (val.labels + 1) % 7].mean())
    assert second[0] < 0.1
    assert second[1] == pytest.approx(0.4, abs=0.12)


def test_validation_goes_by_the_hard_label(
    spec: ModelSpec, recipe: Recipe, train: LabelledFaces, val: LabelledFaces, tmp_path: Path
) -> None:
    voted = dataclasses.replace(val, votes=one_hot(val.labels, 0.1))
    _, labels = next(iter(validation_loader(voted, batch_size=len(val))))
    assert labels.tolist() == val.labels.tolist()
    short = recipe.with_values({"train.epochs": 1})
    histories = [fit(spec, short, train, part, tmp_path / n).history for n, part in (("a", val), ("b", voted))]
    assert histories[0] == histories[1]


def test_faces_without_votes_keep_their_label() -> None:
    labels = np.array([2, 0])
    assert soft_labels([None, None], labels, 7) is None
    mixed = soft_labels([None, [0.5, 0.25, 0.25, 0, 0, 0, 0]], labels, 7)
    assert mixed is not None and mixed.dtype == np.float32
    assert mixed.tolist() == [[0, 0, 1, 0, 0, 0, 0], [0.5, 0.25, 0.25, 0, 0, 0, 0]]


def test_votes_of_another_number_of_faces_are_refused(train: LabelledFaces) -> None:
    with pytest.raises(ValueError, match="160 rows and 3 rows of votes"):
        dataclasses.replace(train, votes=np.ones((3, 7), np.float32))
