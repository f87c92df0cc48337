"""Batches: orders and augmentations are a function of seed and epoch."""

import numpy as np
import pytest
import torch

from mien.base.errors import UserError
from mien.training.augmentation import Augmentation
from mien.training.dataset import LabelledFaces, training_loader, validation_loader
from mien.training.recipe import AugmentConfig

NOTHING = Augmentation(AugmentConfig(strength=0.0))


def epoch_pixels(faces: LabelledFaces, epoch: int, *, strength: float = 1.0, workers: int = 0) -> torch.Tensor:
    loader = training_loader(
        faces, Augmentation(AugmentConfig(strength=strength)), batch_size=16, seed=3, workers=workers
    )
    loader.sampler.set_epoch(epoch)
    return torch.cat([pixels for pixels, _ in loader])


@pytest.mark.parametrize("workers", [0, 2])
def test_an_epoch_repeats_and_the_next_differs(train: LabelledFaces, workers: int) -> None:
    first = epoch_pixels(train, 0, workers=workers)
    assert torch.equal(first, epoch_pixels(train, 0, workers=workers))
    assert not torch.equal(first, epoch_pixels(train, 1, workers=workers))


def test_no_augmentation_leaves_every_pixel(train: LabelledFaces) -> None:
    seen = epoch_pixels(train, 0, strength=0.0)
    original = torch.from_numpy(train.pixels).permute(0, 3, 1, 2)
    assert {p.numpy().tobytes() for p in seen} <= {p.contiguous().numpy().tobytes() for p in original}


def test_augmentation_keeps_shape_and_type_and_changes_pixels() -> None:
    face = np.random.default_rng(0).integers(0, 255, (48, 48, 3), dtype=np.uint8)
    changed = Augmentation(AugmentConfig(erase=1.0))(face)
    assert changed.shape == face.shape
    assert changed.dtype == np.uint8
    assert not np.array_equal(changed, face)


def test_a_batch_carries_the_labels_of_its_faces(train: LabelledFaces) -> None:
    pixels, labels = next(iter(validation_loader(train)))
    assert pixels.dtype == torch.uint8
    bright = pixels[:, 0].float().mean(dim=2).unflatten(1, (8, 3)).mean(dim=2).argmax(dim=1)
    assert torch.equal(bright, labels)


def test_a_batch_of_more_faces_than_there_are_is_refused(train: LabelledFaces) -> None:
    few = LabelledFaces(train.pixels, train.rows[:20], train.labels[:20])
    assert len(training_loader(few, NOTHING, batch_size=20, seed=3, workers=0)) == 1
    with pytest.raises(UserError, match=r"train.batch_size: 21 is more than the 20 faces .* say at most 20\."):
        training_loader(few, NOTHING, batch_size=21, seed=3, workers=0)


def test_rows_outside_the_array_are_refused(train: LabelledFaces) -> None:
    with pytest.raises(ValueError, match="row 160 is asked for"):
        LabelledFaces(train.pixels, np.array([160]), np.array([0]))
