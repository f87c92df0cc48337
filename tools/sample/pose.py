"""Head pose: position in the photo and viewing direction.

A face's own coordinates: x to the viewer's right, y down, the unit is half the width of an average
face. The eyes are near y = -0.1, the mouth near y = 0.8, the chin near y = 1.4.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Points: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True)
class Pose:
    """A head's place (pixels of the photo), size (pixels per unit) and angles (degrees)."""

    x: float
    y: float
    unit: float
    yaw: float = 0.0  # to the viewer's right
    tilt: float = 0.0  # downwards
    roll: float = 0.0  # clockwise

    def project(self, points: Points, depth: float | None = None) -> Points:
        """(N, 2) points of the face to (N, 2) pixels of the photo.

        Without a depth the points lie on the front of an ellipsoid, so that they move with the head's
        angles; a depth in units puts them all into one plane.
        """
        x, y = points.T
        if depth is None:
            u, v = x / 1.12, (y - 0.1) / 1.9
            z = 0.9 * np.sqrt(np.maximum(0.05, 1 - u * u - v * v))
        else:
            z = depth
        (sin_yaw, cos_yaw), (sin_tilt, cos_tilt), (sin_roll, cos_roll) = self._angles
        x, z = x * cos_yaw + z * sin_yaw, z * cos_yaw - x * sin_yaw
        y = y * cos_tilt + z * sin_tilt
        placed = np.empty_like(points)
        placed[:, 0] = self.x + self.unit * (x * cos_roll - y * sin_roll)
        placed[:, 1] = self.y + self.unit * (x * sin_roll + y * cos_roll)
        return placed

    @cached_property
    def _angles(self) -> list[tuple[float, float]]:
        return [_angle(degrees) for degrees in (self.yaw, self.tilt, self.roll)]


def _angle(degrees: float) -> tuple[float, float]:
    """Sine and cosine, rounded so that a mathematics library's last bit decides no pixel."""
    return round(math.sin(math.radians(degrees)), 6), round(math.cos(math.radians(degrees)), 6)
