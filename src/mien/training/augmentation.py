"""Augmentation of training faces, with albumentations."""

import os
import random
from typing import Any

import numpy as np

from mien.training.recipe import AugmentConfig


class Augmentation:
    """`(H, W, C)` uint8 faces to changed ones of the same shape; the same seed gives the same changes.

    With `strength` 0 it changes nothing and albumentations is not even imported.
    """

    def __init__(self, config: AugmentConfig) -> None:
        self._pipeline = _pipeline(config) if config.strength else None

    def seed(self, *parts: int) -> None:
        """Seed the random numbers again, from a run's seed, the epoch and the loader's worker."""
        if self._pipeline is not None:
            generator = np.random.default_rng(parts)
            self._pipeline.set_random_state(generator, random.Random(int(generator.integers(2**63))))

    def __call__(self, face: np.ndarray) -> np.ndarray:
        """One changed face."""
        if self._pipeline is None:
            return face
        changed: np.ndarray = self._pipeline(image=face)["image"]
        return changed.reshape(face.shape)


def _pipeline(config: AugmentConfig) -> Any:
    os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # or importing it asks a server for its newest version
    import albumentations
    import cv2

    s = config.strength
    return albumentations.Compose(
        [
            albumentations.HorizontalFlip(p=config.flip),
            albumentations.Affine(
                rotate=(-config.rotate * s, config.rotate * s),
                translate_percent=(-config.shift * s, config.shift * s),
                scale=(max(1 - config.zoom * s, 0.1), 1 + config.zoom * s),
                border_mode=cv2.BORDER_REPLICATE,  # a black rim would tell the amount of the change
                p=1.0,
            ),
            albumentations.RandomBrightnessContrast(
                brightness_limit=min(config.brightness * s, 1.0), contrast_limit=min(config.contrast * s, 1.0), p=1.0
            ),
            albumentations.Erasing(p=min(config.erase * s, 1.0)),
        ]
    )
