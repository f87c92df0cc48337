"""Augmentation of training faces, with albumentations."""

import os
import random
from typing import Any

import numpy as np

from mien.training.recipe import AugmentConfig
from mien.training.seeds import AUGMENT, stream


class Augmentation:
    """Random changes to `(H, W, C)` uint8 faces, of the same shape.

    A face's changes depend on seed, epoch and row alone, whichever process computes them in whatever order.
    With `strength` 0 nothing changes, and albumentations is not even imported.
    """

    def __init__(self, config: AugmentConfig, seed: int) -> None:
        self._pipeline = _pipeline(config) if config.strength else None
        self._seed = seed

    def __call__(self, face: np.ndarray, epoch: int, row: int) -> np.ndarray:
        """The face in `row` of the packed array, as an epoch shows it."""
        if self._pipeline is None:
            return face
        generator = np.random.default_rng(stream(self._seed, AUGMENT, epoch, row))
        self._pipeline.set_random_state(generator, random.Random(int(generator.integers(2**63))))
        changed: np.ndarray = self._pipeline(image=face)["image"]
        return changed.reshape(face.shape)


def _pipeline(config: AugmentConfig) -> Any:
    os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # or importing it asks a server for its newest version
    import albumentations
    import cv2

    s = config.strength
    return albumentations.Compose(
        [
            albumentations.HorizontalFlip(p=config.flip * min(s, 1.0)),
            albumentations.Affine(
                rotate=(-config.rotate * s, config.rotate * s),
                translate_percent=(-config.shift * s, config.shift * s),
                scale=(max(1 - config.zoom * s, 0.1), 1 + config.zoom * s),
                keep_ratio=True,  # one factor for width and height: stretching would change the expression
                border_mode=cv2.BORDER_REPLICATE,  # a black rim would tell the amount of the change
                p=1.0,
            ),
            albumentations.RandomBrightnessContrast(
                brightness_limit=min(config.brightness * s, 1.0), contrast_limit=min(config.contrast * s, 1.0), p=1.0
            ),
            albumentations.Erasing(p=min(config.erase * s, 1.0)),
        ]
    )
