"""Augmentation of training faces: a face at a time with albumentations, or whole batches with PyTorch.

Both draw the same kinds of changes from the same ranges. A face's changes depend on seed, epoch and place alone (its
row, or its place in the batch), whichever process computes them.
"""

import inspect
import math
import os
import random
import warnings
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from mien.base.errors import UserError
from mien.base.settings import near_name
from mien.training.recipe import AUGMENT, AugmentConfig, Recipe, stream

DRAWS: Final = 16  # random numbers of a face of a batch; few are used, but another count would change every picture


class Augmentation:
    """Random changes to `(H, W, C)` uint8 faces, of the same shape, with albumentations.

    With `strength` 0, or where whole batches are augmented, nothing changes, and albumentations is not even imported.
    A UserError where `augment.transforms` lists what albumentations cannot build.
    """

    def __init__(self, config: AugmentConfig, seed: int) -> None:
        self._pipeline = _pipeline(config) if config.face_by_face else None
        self._seed = seed

    def __call__(self, face: np.ndarray, epoch: int, row: int) -> np.ndarray:
        """The face in `row` of the packed array, as an epoch shows it."""
        if self._pipeline is None:
            return face
        generator = np.random.default_rng(stream(self._seed, AUGMENT, epoch, row))
        self._pipeline.set_random_state(generator, random.Random(int(generator.integers(2**63))))
        changed: np.ndarray = self._pipeline(image=face)["image"]
        if changed.size != face.size:
            raise UserError(f"augment.transforms: a face of {face.shape} becomes {changed.shape}; add a Resize.")
        return changed.reshape(face.shape)


def _pipeline(config: AugmentConfig) -> Any:
    os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # or importing it asks a server for its newest version
    import albumentations
    import cv2

    s = config.strength
    steps = [
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
    ]
    return albumentations.Compose([*steps, *(_transform(albumentations, asked) for asked in config.transforms)])


def _transform(library: Any, asked: dict[str, Any]) -> Any:
    """A transform of albumentations by its `name` and its arguments."""
    name, arguments = str(asked.get("name", "")), {key: value for key, value in asked.items() if key != "name"}
    kind = getattr(library, name, None)
    known = [one for one, it in vars(library).items() if inspect.isclass(it) and issubclass(it, library.BasicTransform)]
    if name not in known or kind is None:
        raise UserError(f"augment.transforms: albumentations has no transform {name!r}{near_name(name, known)}.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # albumentations only warns of an argument that it does not know
            return kind(**arguments)
    except Exception as error:  # whatever a transform's own check raises
        reason = " ".join(str(error).split())
        raise UserError(f"augment.transforms: {name}: {reason}") from error


def augmented_examples(faces: np.ndarray, recipe: Recipe, epochs: int = 7) -> np.ndarray:
    """Faces `(n, H, W, C)` uint8, each with its changes in the first epochs after it, `(n, 1 + epochs, H, W, C)`."""
    n, config, seed = len(faces), recipe.augment, recipe.train.seed
    if config.batched:
        batches, pixels = BatchAugmentation(config, seed), torch.from_numpy(faces).permute(0, 3, 1, 2)
        seen = [batches(pixels, epoch, 0, slice(n), n) for epoch in range(epochs)]
        shown = [batch.permute(0, 2, 3, 1).round().to(torch.uint8).numpy() for batch in seen]
    else:
        singly = Augmentation(config, seed)
        shown = [np.stack([singly(face, epoch, i) for i, face in enumerate(faces)]) for epoch in range(epochs)]
    return np.stack([faces, *shown], axis=1)


class BatchAugmentation:
    """Random changes to whole batches of faces, on the device that they are on.

    Numbers are drawn for the whole batch of a step: processes that share a batch see the pictures that one would see.
    """

    def __init__(self, config: AugmentConfig, seed: int) -> None:
        self._config = config
        self._seed = seed

    def __call__(self, faces: Tensor, epoch: int, step: int, places: slice, batch: int) -> Tensor:
        """Faces `(n, C, S, S)` uint8, changed to float32 from 0 to 255; they have these `places` in a batch of `batch`.

        `epoch`, and `step` of the epoch, count from 0.
        """
        generator = np.random.default_rng(stream(self._seed, AUGMENT, epoch, step))
        draws = torch.from_numpy(generator.random((batch, DRAWS), np.float32)[places]).to(faces.device)
        return _change(faces.float(), draws, self._config)


def _change(faces: Tensor, draws: Tensor, config: AugmentConfig) -> Tensor:
    """Flip, affine and light of `(n, C, S, S)` float faces, by uniform `draws` `(n, DRAWS)`."""
    s, u, signed = config.strength, draws.unbind(1), (2 * draws - 1).unbind(1)
    if s * (config.flip + config.rotate + config.shift + config.zoom):
        lowest = max(1 - config.zoom * s, 0.1)
        zoom = lowest + (1 + config.zoom * s - lowest) * u[1]
        angle = math.radians(config.rotate * s) * signed[3]
        mirror = 1 - 2 * (u[0] < config.flip * min(s, 1.0)).float()
        shrink = 1 / zoom
        cos, sin = shrink * angle.cos(), shrink * angle.sin()
        right, down = (2 * config.shift * s * signed[i] for i in (4, 5))
        # the pixel at `x, y`, of -1 to 1, is at `xx x + xy y + right, yx x + yy y + down`
        (xx, xy), (yx, yy) = (mirror * cos, -sin), (mirror * sin, cos)
        n, _, size, _ = faces.shape
        line = (torch.arange(size, device=faces.device) + 0.5) * (2 / size) - 1
        grid = faces.new_empty(n, size, size, 2)
        for axis, (along, across, offset) in enumerate(((xx, xy, right), (yx, yy, down))):
            columns, rows = along[:, None] * line + offset[:, None], across[:, None] * line
            torch.add(columns[:, None, :], rows[:, :, None], out=grid[..., axis])
        faces = functional.grid_sample(faces, grid, padding_mode="border", align_corners=False)
    if s * (config.brightness + config.contrast):
        contrast, brightness = (min(amount * s, 1.0) for amount in (config.contrast, config.brightness))
        light = (255 * brightness * signed[9])[:, None, None, None]
        faces = torch.addcmul(light, faces, (1 + contrast * signed[8])[:, None, None, None]).clamp_(0, 255)
    return faces
