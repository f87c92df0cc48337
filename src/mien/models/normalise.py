"""The first layer of every network: stored pixels to what a network likes, so that no caller can do it otherwise."""

import numpy as np
import torch
from torch import Tensor, nn


class Normalise(nn.Module):
    """`(B, C, H, W)` uint8 or float pixels from 0 to 255 to float32 of zero mean and unit variance.

    Mean and variance are those of the training faces, one number for all channels: colour casts stay visible.
    They are buffers, so they travel with the weights.
    """

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(127.5))
        self.register_buffer("std", torch.tensor(64.0))

    def measure(self, faces: np.ndarray) -> None:
        """Take mean and standard deviation from faces, `(N, H, W, C)` uint8."""
        histogram = np.zeros(256, dtype=np.int64)
        for start in range(0, len(faces), 4096):  # a memory map larger than the memory is read in parts
            histogram += np.bincount(np.asarray(faces[start : start + 4096]).ravel(), minlength=256)
        values = np.arange(256)
        mean = float(np.average(values, weights=histogram))
        std = float(np.sqrt(np.average((values - mean) ** 2, weights=histogram)))
        self.mean.fill_(mean)
        self.std.fill_(max(std, 1.0))

    def forward(self, pixels: Tensor) -> Tensor:
        """Normalised pixels, same shape, float32."""
        return (pixels.float() - self.mean) / self.std
