"""Anti-aliased drawing of smooth shapes, byte-identical on every machine.

Coordinates are rounded to sixteenths of a pixel before OpenCV sees them, curves are sums in a fixed
order (no matrix product, whose last bit depends on the processor), and colours are whole numbers.
"""

from functools import cache
from typing import Final, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from tools.sample.pose import Points, Pose

Image: TypeAlias = NDArray[np.uint8]
Colour: TypeAlias = tuple[int, int, int]

SHIFT: Final = 4  # bits of the fraction of a coordinate that cv2 is given
STEPS: Final = 6  # points of a curve between two of its control points


def pixels(array: object) -> Image:
    """What OpenCV returns, as the uint8 array that it is."""
    return np.asarray(array, dtype=np.uint8)


def fixed(points: Points) -> NDArray[np.int32]:
    """(N, 2) pixels to sixteenths of a pixel, as cv2 takes them with `shift`."""
    return np.rint(points * (1 << SHIFT)).astype(np.int32)


def _weights() -> NDArray[np.float64]:
    """How much each of four neighbouring control points counts, (1, STEPS, 4, 1)."""
    t = np.arange(STEPS) / STEPS
    t2, t3 = t * t, t * t * t
    return np.stack([2 * t2 - t - t3, 2 - 5 * t2 + 3 * t3, t + 4 * t2 - 3 * t3, t3 - t2], axis=1)[None, :, :, None] / 2


_WEIGHTS: Final = _weights()


_D: Final = 0.7071
_CIRCLE: Final = np.array([(1, 0), (_D, _D), (0, 1), (-_D, _D), (-1, 0), (-_D, -_D), (0, -1), (_D, -_D)])


@cache
def _neighbours(n: int) -> NDArray[np.intp]:
    """Of each of n points the one before, itself, and the two after, (n, 1, 4), around the end."""
    return (np.arange(n)[:, None, None] + np.arange(-1, 3)) % n


def curve(points: object, closed: bool = True) -> Points:
    """A Catmull-Rom spline through (N, 2) control points: (STEPS * N, 2), open ones end in the last point."""
    p = np.asarray(points, dtype=np.float64)
    if not closed:  # mirrored at both ends, which gives the ends a direction
        p = np.concatenate([2 * p[:1] - p[1:2], p, 2 * p[-1:] - p[-2:-1]])
    path: Points = (_WEIGHTS * p[_neighbours(len(p))]).sum(axis=2).reshape(-1, 2)
    return path if closed else path[STEPS : 1 - 2 * STEPS]


def ellipse(x: float, y: float, rx: float, ry: float) -> Points:
    """Eight control points of an ellipse around (x, y), for `curve`."""
    points: Points = _CIRCLE * (rx, ry) + (x, y)
    return points


def mirrored(half: list[tuple[float, float]]) -> Points:
    """The right half of a closed outline, from top to bottom, and its mirror image."""
    return np.array(half + [(-x, y) for x, y in reversed(half) if x != 0])


def shade(colour: Colour, amount: float) -> Colour:
    """The colour darker (amount below 1) or lighter (above 1)."""
    r, g, b = (min(255, max(0, round(c * amount))) for c in colour)
    return r, g, b


def mix(a: Colour, b: Colour, share: float) -> Colour:
    """The colour `share` of the way from a to b."""
    r, g, b_ = (round(x + (y - x) * share) for x, y in zip(a, b, strict=True))
    return r, g, b_


class Pen:
    """Draws on one image what is given in a face's own coordinates; `scale` is that image's pixels per photo pixel."""

    def __init__(self, image: Image, pose: Pose, scale: float) -> None:
        self.image = image
        self.pose = pose
        self.scale = scale

    def place(self, points: object, depth: float | None = None) -> NDArray[np.int32]:
        """Points of the face to fixed-point pixels of the image."""
        p = self.pose.project(np.asarray(points, dtype=np.float64), depth)
        return fixed((p + 0.5) * self.scale - 0.5)

    def fill(self, outline: object, colour: Colour | int, depth: float | None = None) -> None:
        """A filled shape with an outline through these points."""
        cv2.fillPoly(self.image, [self.place(curve(outline), depth)], _scalar(colour), cv2.LINE_AA, SHIFT)

    def line(self, points: object, colour: Colour | int, width: float, depth: float | None = None) -> None:
        """An open curve; width is a share of the face's unit."""
        thick = max(1, round(width * self.pose.unit * self.scale))
        path = [self.place(curve(points, closed=False), depth)]
        cv2.polylines(self.image, path, False, _scalar(colour), thick, cv2.LINE_AA, SHIFT)

    def stroke(self, points: object, widths: object, colour: Colour, depth: float | None = None) -> None:
        """An open curve whose width changes along it, as a brow's does."""
        centre = np.asarray(points, dtype=np.float64)
        half = np.stack([np.zeros(len(centre)), np.asarray(widths, dtype=np.float64) / 2], axis=1)
        upper, lower = curve(centre - half, closed=False), curve(centre + half, closed=False)
        outline = self.place(np.concatenate([upper, lower[::-1]]), depth)
        cv2.fillPoly(self.image, [outline], _scalar(colour), cv2.LINE_AA, SHIFT)

    def inside(self, outline: object, shapes: list[tuple[Points, Colour]]) -> None:
        """Shapes of (outline, colour), drawn only where they lie inside the outline, with a smooth edge."""
        edge = self.place(curve(outline))
        x0, y0 = np.maximum(edge.min(0) // 16 - 2, 0)
        x1, y1 = edge.max(0) // 16 + 3
        region = self.image[y0:y1, x0:x1]
        if not region.size:
            return
        content, mask = region.copy(), np.zeros(region.shape[:2], np.uint8)
        corner = np.array([x0, y0], np.int32) * 16
        cv2.fillPoly(mask, [edge - corner], 255, cv2.LINE_AA, SHIFT)
        for shape, colour in shapes:
            cv2.fillPoly(content, [self.place(curve(shape)) - corner], _scalar(colour), cv2.LINE_AA, SHIFT)
        region[:] = blend(region, content, mask)


def blend(below: Image, above: Image, mask: Image) -> Image:
    """`above` over `below` where the (H, W) mask is 255, mixed in between."""
    m = mask[..., None].astype(np.uint16)
    return ((below * (255 - m) + above * m + 127) // 255).astype(np.uint8)


def _scalar(colour: Colour | int) -> tuple[float, ...]:
    return (float(colour),) if isinstance(colour, int) else (*map(float, colour), 255.0)
