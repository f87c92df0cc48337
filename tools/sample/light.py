"""Light on a head: direction, relief of the face, and creases."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

import cv2
import numpy as np

from tools.sample.action_units import Units
from tools.sample.features import EYE_Y, SIDES, eye, mouth
from tools.sample.pen import Image, Pen, ellipse, mirrored, pixels
from tools.sample.person import Person
from tools.sample.pose import Pose

Crease: TypeAlias = tuple[list[tuple[float, float]], float, float]  # path, depth from 0 to 1, width in units

NEUTRAL: Final = 128  # of a light map: the colour stays as it is


@dataclass(frozen=True)
class Light:
    """A direction (x to the right, y down, z to the viewer), and how much brighter it is than the surroundings."""

    x: float
    y: float
    z: float
    strength: float
    ambient: float
    warmth: float  # above 0 reddish, below 0 bluish


def light_map(shape: tuple[int, int], pose: Pose, person: Person, u: Units, light: Light) -> Image:
    """How bright each pixel of a (H, W) picture of the head is, (H, W) uint8, 128 being neutral."""
    broad = _sphere(shape, pose, light)
    relief = np.full((shape[0] // 2 + 1, shape[1] // 2 + 1), NEUTRAL, np.uint8)
    half = replace(pose, x=pose.x / 2, y=pose.y / 2, unit=pose.unit / 2)
    _paint_relief(Pen(relief, half, 1.0), person, u, light)
    relief = _larger(_blurred(relief, 0.07 * half.unit), 2, shape)
    creases = np.full(shape, NEUTRAL, np.uint8)
    _paint_creases(Pen(creases, pose, 1.0), person, u)
    creases = _blurred(creases, 0.018 * pose.unit)
    total = broad.astype(np.int16) + relief + creases - 2 * NEUTRAL
    return pixels(total.clip(20, 235))


def shine(picture: Image, brightness: Image, light: Light) -> Image:
    """The (H, W, 4) picture, premultiplied by its alpha, in this light; shadows lean to blue or red."""
    levels = np.arange(256)
    tints = [levels + round(k * light.warmth) * (1 - np.abs(levels - NEUTRAL) / NEUTRAL) for k in (8, 1, -8)]
    channels = [cv2.LUT(brightness, np.rint(t).clip(0, 255).astype(np.uint8)) for t in tints]
    alpha = np.full_like(brightness, NEUTRAL)
    lit = cv2.multiply(picture, cv2.merge([*channels, alpha]), scale=1 / NEUTRAL)
    return pixels(lit)


def _sphere(shape: tuple[int, int], pose: Pose, light: Light) -> Image:
    h, w = shape[0] // 4 + 1, shape[1] // 4 + 1
    u = (4 * np.arange(w)[None, :] + 1.5 - pose.x) / (1.25 * pose.unit)
    v = (4 * np.arange(h)[:, None] + 1.5 - pose.y) / (1.7 * pose.unit)
    length = np.maximum(1.0, np.sqrt(u * u + v * v) / 0.92)
    u, v = u / length, v / length
    facing = u * light.x + v * light.y + np.sqrt(1 - u * u - v * v) * light.z
    level = NEUTRAL * (light.ambient + light.strength * np.maximum(0, facing))
    small = np.rint(level.clip(30, 146)).astype(np.uint8)
    return _larger(small, 4, shape)


def _larger(image: Image, times: int, shape: tuple[int, int]) -> Image:
    size = (times * image.shape[1], times * image.shape[0])
    return pixels(cv2.resize(image, size, interpolation=cv2.INTER_LINEAR_EXACT)[: shape[0], : shape[1]])


def _blurred(image: Image, sigma: float) -> Image:
    size = 2 * max(1, round(2 * sigma)) + 1
    return pixels(cv2.GaussianBlur(image, (size, size), 0))


def _paint_relief(pen: Pen, person: Person, u: Units, light: Light) -> None:
    """Soft light and shadow where a face stands out and where it recedes."""
    w, x, nose = person.width, person.eye_x, person.nose_length
    pen.fill(ellipse(0, -0.75, 0.6 * w, 0.26), NEUTRAL + 10)
    for side in SIDES:
        pen.fill(ellipse(side * x, EYE_Y - 0.1, 0.3, 0.22), NEUTRAL - 26)
        pen.fill(ellipse(side * 0.15, EYE_Y, 0.08, 0.16), NEUTRAL - 24)
        lift = 0.1 * u[6] + 0.05 * u[12]
        pen.fill(ellipse(side * 0.52 * w, 0.34 - lift, 0.27, 0.19), NEUTRAL + 12 + round(10 * u[6]))
        pen.fill(ellipse(side * 0.8 * w, 0.85, 0.22, 0.35), NEUTRAL - 16)
    away = -0.12 if light.x > 0 else 0.12
    pen.fill([(away, -0.2), (2 * away, nose), (0.6 * away, nose), (0.5 * away, -0.2)], NEUTRAL - 18)
    pen.fill(mirrored([(0.0, -0.3), (0.05, -0.3), (0.09, nose - 0.05), (0.0, nose)]), NEUTRAL + 20)
    pen.fill(ellipse(0, nose + 0.12, person.nose_width, 0.07), NEUTRAL - 20)
    m = mouth(person, u)
    below = m.lower + m.lower_lip
    pen.fill(ellipse(0, below + 0.07, 0.2, 0.05), NEUTRAL - 26)
    pen.fill(ellipse(0, below + 0.24, 0.18, 0.1), NEUTRAL + 9)
    chin = person.chin + 0.16 * u[26]
    pen.fill(mirrored([(0.0, chin + 0.1), (0.6, chin + 0.02), (0.5, chin + 0.4), (0.0, chin + 0.4)]), NEUTRAL - 40, 0.1)


def _paint_creases(pen: Pen, person: Person, u: Units) -> None:
    """Wrinkles: what the action units fold, on top of what age has left."""
    for points, depth, width in _creases(person, u):
        if depth > 0.08:
            pen.line(points, NEUTRAL - round(60 * min(1.0, depth)), width)


def _creases(person: Person, u: Units) -> Iterator[Crease]:
    old = 0.35 * person.age * person.age
    reach = 0.5 if u[2] >= 0.5 * u[1] else 0.25
    for i, y in enumerate((-0.62, -0.74, -0.86)):
        yield [(-reach, y + 0.03), (0.0, y - 0.02 * i), (reach, y + 0.03)], 0.7 * max(u[1], u[2]) - 0.17 + old, 0.04
    yield [(-0.12, person.chin - 0.2), (0.0, person.chin - 0.24), (0.12, person.chin - 0.2)], 0.8 * u[17], 0.07
    for side in SIDES:
        for path, depth, width in (*_eye_creases(person, u, old), *_mouth_creases(person, u, old)):
            yield [(side * x, y) for x, y in path], depth, width


def _eye_creases(person: Person, u: Units, old: float) -> Iterator[Crease]:
    """Those around the right eye and between the brows."""
    x, y, brow = person.eye_x, EYE_Y, person.brow_y
    yield [(0.07, brow - 0.1), (0.06, brow + 0.12)], 0.9 * u[4] - 0.1 + 0.5 * old, 0.04
    for dy in (0.0, 0.09):
        yield [(0.02, y - 0.06 + dy), (0.12, y - 0.1 + dy), (0.16, y + dy)], 1.1 * u[9] - 0.1, 0.035
    for dy in (-0.08, 0.0, 0.08):
        yield [(x + 0.25, y + 0.4 * dy), (x + 0.4, y + 1.4 * dy)], 0.9 * u[6] - 0.2 + 0.7 * old, 0.03
    lid = eye(person, u, 1.0)[1:4]
    yield [(float(a), float(b) - 0.055) for a, b in lid], 0.5 - 0.3 * u[5], 0.025
    yield [(x - 0.16, y + 0.1), (x, y + 0.15), (x + 0.15, y + 0.1)], 0.25 + 0.4 * max(u[6], u[7]) + old, 0.04


def _mouth_creases(person: Person, u: Units, old: float) -> Iterator[Crease]:
    """The right fold from nose to mouth, and the one below the mouth's corner."""
    m, nose = mouth(person, u), person.nose_length
    fold = [
        (person.nose_width * 1.15, nose - 0.12),
        (0.5 * m.corner_x + 0.22, nose + 0.1),
        (m.corner_x + 0.1, m.corner_y - 0.02),
    ]
    yield fold, 0.12 + 0.7 * max(u[9], u[12], 0.5 * u[20], 0.5 * u[15]) + old, 0.045
    corner = [(m.corner_x + 0.02, m.corner_y + 0.02), (m.corner_x + 0.06, m.corner_y + 0.14)]
    yield corner, 0.8 * u[15] + 0.4 * old, 0.04
