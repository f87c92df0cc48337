"""Photo composition: background, lit people, and camera imperfections."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

import cv2
import numpy as np

from mien.base.classes import EXPRESSIONS
from tools.sample.action_units import draw_units
from tools.sample.head import paint_person
from tools.sample.light import Light, light_map, shine
from tools.sample.pen import Image, Pen, blend, pixels
from tools.sample.person import draw_person
from tools.sample.pose import Pose
from tools.sample.scene import draw_scene

Box: TypeAlias = tuple[int, int, int, int]

BOX_SIDE: Final = 2.32  # units; from the middle of the forehead to the chin
BOX_DOWN: Final = 0.21  # units from the head's origin down to the middle of the box
FINER: Final = 2  # people are drawn so many times larger than the photo


@dataclass(frozen=True)
class DrawnFace:
    """One face of a drawn photo: its box (top, left, right, bottom), and how clearly a detector would see it."""

    box: Box
    label: int
    confidence: float


def draw_photo(
    rng: np.random.Generator, labels: Sequence[int], over_edge: bool = False
) -> tuple[Image, list[DrawnFace]]:
    """A photo with one face per label (a position in EXPRESSIONS): (H, W, 3) uint8 RGB, and its faces.

    Boxes are square pixels of the photo, right and bottom exclusive. With `over_edge` the first face's
    box leaves the photo by a few pixels. Raises ValueError without labels or with an unknown one.
    """
    if not labels or not all(0 <= label < len(EXPRESSIONS) for label in labels):
        raise ValueError(f"labels must be one or more positions in EXPRESSIONS, not {list(labels)}")
    height, width, poses = _layout(rng, len(labels), over_edge)
    image = draw_scene(height, width, rng)
    light = _draw_light(rng)
    blur = rng.uniform(0, 1) ** 2
    faces: dict[int, DrawnFace] = {}
    for i in sorted(range(len(labels)), key=lambda k: poses[k].unit):
        _add_person(image, poses[i], labels[i], light, rng)
        faces[i] = DrawnFace(_box(poses[i], rng), labels[i], _confidence(poses[i], light, blur, rng))
    return _camera(image, blur, rng), [faces[i] for i in range(len(labels))]


def _layout(rng: np.random.Generator, n: int, over_edge: bool) -> tuple[int, int, list[Pose]]:
    """Height and width of the photo and a pose for each of n heads."""
    unit = rng.uniform(30, 62) if n == 1 else rng.uniform(27, 38)
    slot = unit * (rng.uniform(2.8, 5.2) if n == 1 else rng.uniform(2.7, 3.6))
    width = min(420, max(160, round(n * slot)))
    height = max(160, round(unit * rng.uniform(3.4, 5.0)))
    poses = []
    for i in range(n):
        own = unit * rng.uniform(0.9, 1.08)
        x = width * (i + 0.5) / n + rng.uniform(-0.2, 0.2) * unit
        y = max(1.45 * own, height * rng.uniform(0.36, 0.5))
        if over_edge and i == 0:
            x = BOX_SIDE / 2 * own - rng.uniform(4, 11)
        turned = 26.0 if rng.random() < 0.2 else 12.0
        poses.append(
            Pose(x, y, own, yaw=rng.uniform(-turned, turned), tilt=rng.uniform(-6, 8), roll=rng.uniform(-11, 11))
        )
    return height, width, poses


def _draw_light(rng: np.random.Generator) -> Light:
    x, y = rng.uniform(-0.75, 0.75), rng.uniform(-0.6, 0.05)
    strength = rng.uniform(0.25, 0.75)
    ambient = rng.uniform(0.92, 1.06) - 0.7 * strength
    z = round(float(np.sqrt(max(0.1, 1 - x * x - y * y))), 4)
    return Light(x, y, z, strength, ambient, rng.uniform(-1, 1.4))


def _add_person(image: Image, pose: Pose, label: int, light: Light, rng: np.random.Generator) -> None:
    """Paint one person into the photo, in place."""
    person, units = draw_person(rng), draw_units(label, rng)
    h, w = image.shape[:2]
    x0, x1 = max(0, round(pose.x - 2.4 * pose.unit)), min(w, round(pose.x + 2.4 * pose.unit))
    y0 = max(0, round(pose.y - 2.5 * pose.unit))
    place = replace(pose, x=pose.x - x0, y=pose.y - y0)
    large = np.zeros((FINER * (h - y0), FINER * (x1 - x0), 4), np.uint8)
    paint_person(Pen(large, place, FINER), person, units, gaze=rng.uniform(-0.035, 0.035), light_x=light.x)
    picture = pixels(cv2.resize(large, (x1 - x0, h - y0), interpolation=cv2.INTER_AREA))
    lit = shine(picture, light_map((h - y0, x1 - x0), place, person, units, light), light)
    region = image[y0:, x0:x1]
    behind = blend(np.zeros_like(region), region, 255 - lit[..., 3])
    region[:] = cv2.add(behind, lit[..., :3])


def _box(pose: Pose, rng: np.random.Generator) -> Box:
    """The square that a face detector would put around the head: never in quite the right place."""
    (x, y), *_ = pose.project(np.array([[0.0, BOX_DOWN]]), 0.4)
    side = round(BOX_SIDE * pose.unit * rng.uniform(0.94, 1.06))
    left = round(x + rng.uniform(-0.06, 0.06) * pose.unit - side / 2)
    top = round(y + rng.uniform(-0.06, 0.06) * pose.unit - side / 2)
    return top, left, left + side, top + side


def _confidence(pose: Pose, light: Light, blur: float, rng: np.random.Generator) -> float:
    """A detector's score as ExpW has it: up to about 130, lower for turned, small, dark or blurred faces."""
    score = 118 - 1.3 * abs(pose.yaw) - 1.2 * abs(pose.roll) - 22 * blur - 18 * abs(light.x) + 0.3 * (pose.unit - 45)
    return round(max(14.0, score + rng.uniform(-38, 24)), 4)


def _camera(image: Image, blur: float, rng: np.random.Generator) -> Image:
    """Focus, exposure, white balance and noise; one photo in sixteen is grey."""
    if blur > 0.25:
        cv2.GaussianBlur(image, (5, 5), 0.4 + 0.9 * blur, dst=image)
    exposure, contrast = rng.uniform(-10, 12), rng.uniform(0.88, 1.1)
    balance = rng.uniform(0.95, 1.05, 3)
    levels = np.arange(256)
    curves = [np.rint((levels - 128) * contrast * b + 128 + exposure).clip(0, 255) for b in balance]
    image = pixels(cv2.LUT(image, np.stack(curves, axis=1).astype(np.uint8)[None]))
    grain = int(rng.integers(0, 6))
    if grain:
        noise = rng.integers(-grain, grain + 1, image.shape[:2], dtype=np.int16)
        image = (image + noise[..., None]).clip(0, 255).astype(np.uint8)
    if rng.random() < 1 / 16:
        image = pixels(cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB))
    return image
