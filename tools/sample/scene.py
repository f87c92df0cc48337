"""Backgrounds: rooms, streets, landscapes, studios."""

from collections.abc import Callable
from typing import Final

import cv2
import numpy as np

from tools.sample.pen import Colour, Image, mix, pixels, shade

PALETTE: Final[list[Colour]] = [
    (206, 190, 164), (168, 186, 190), (190, 170, 178), (176, 190, 158), (120, 132, 150),
    (226, 214, 196), (142, 112, 90), (90, 104, 98), (70, 76, 100), (214, 176, 150),
]  # fmt: skip


def draw_scene(height: int, width: int, rng: np.random.Generator) -> Image:
    """A (height, width, 3) uint8 RGB background."""
    kind = int(rng.integers(0, len(_KINDS)))
    image = _KINDS[kind](height, width, rng)
    blur = int(rng.integers(0, 5))
    if blur:
        cv2.GaussianBlur(image, (4 * blur + 1, 4 * blur + 1), 0, dst=image)
    return image


def _colour(rng: np.random.Generator) -> Colour:
    return shade(PALETTE[int(rng.integers(0, len(PALETTE)))], rng.uniform(0.7, 1.15))


def _gradient(height: int, width: int, top: Colour, bottom: Colour) -> Image:
    t = np.arange(height)[:, None] / max(1, height - 1)
    column = np.rint(np.array(top) + (np.array(bottom) - np.array(top)) * t).clip(0, 255).astype(np.uint8)
    return np.repeat(column[:, None], width, axis=1)


def _box(image: Image, x: float, y: float, w: float, h: float, colour: Colour) -> None:
    cv2.rectangle(image, (round(x), round(y)), (round(x + w), round(y + h)), colour, -1)


def _studio(height: int, width: int, rng: np.random.Generator) -> Image:
    colour = _colour(rng)
    image = _gradient(height, width, shade(colour, 1.1), shade(colour, 0.7))
    dark = np.zeros((height // 8, width // 8), np.uint8)
    centre = (int(rng.integers(0, width // 8)), int(rng.integers(0, height // 16)))
    cv2.circle(dark, centre, min(height, width) // 24, 60, -1)
    glow = cv2.resize(cv2.blur(dark, (9, 9)), (width, height), interpolation=cv2.INTER_LINEAR_EXACT)
    return pixels(cv2.add(image, cv2.merge([glow] * 3)))


def _room(height: int, width: int, rng: np.random.Generator) -> Image:
    wall = _colour(rng)
    image = _gradient(height, width, shade(wall, 1.08), shade(wall, 0.85))
    if rng.random() < 0.4:  # wallpaper
        step = int(rng.integers(14, 30))
        for x in range(0, width, step):
            _box(image, x, 0, step // 3, height, shade(wall, 0.94))
    for _ in range(int(rng.integers(1, 4))):  # pictures and windows
        left, y, w, h = (
            rng.uniform(-20, width),
            rng.uniform(-20, height * 0.5),
            rng.uniform(30, 90),
            rng.uniform(30, 90),
        )
        frame = _colour(rng)
        _box(image, left - 5, y - 5, w + 10, h + 10, shade(frame, 0.5))
        _box(image, left, y, w, h, (214, 232, 246) if rng.random() < 0.5 else frame)
        _box(image, left + w / 2 - 1, y, 2, h, shade(frame, 0.6))
    floor = height * rng.uniform(0.75, 1.1)
    _box(image, 0, floor, width, height, shade(_colour(rng), 0.6))
    return image


def _shelves(height: int, width: int, rng: np.random.Generator) -> Image:
    wood = shade((140, 100, 66), rng.uniform(0.6, 1.2))
    image = _gradient(height, width, shade(wood, 0.6), shade(wood, 0.5))
    step = int(rng.integers(50, 80))
    for y in range(step, height + step, step):
        x = int(rng.integers(0, 8))
        while x < width:
            w, h = int(rng.integers(5, 14)), int(rng.integers(step // 2, step - 8))
            _box(image, x, y - h, w, h, shade(_colour(rng), 0.85))
            x += w + int(rng.integers(1, 5))
        _box(image, 0, y, width, 5, wood)
    return image


def _landscape(height: int, width: int, rng: np.random.Generator) -> Image:
    sky: Colour = ((132, 180, 226), (196, 208, 220), (246, 190, 130))[int(rng.integers(0, 3))]
    image = _gradient(height, width, sky, mix(sky, (255, 250, 240), 0.6))
    for _ in range(int(rng.integers(0, 4))):
        centre = (int(rng.integers(0, width)), int(rng.integers(0, height // 2)))
        cv2.ellipse(
            image, centre, (int(rng.integers(20, 60)), int(rng.integers(8, 18))), 0, 0, 360, (250, 250, 250), -1
        )
    green = shade((96, 140, 76), rng.uniform(0.6, 1.2))
    for i in range(3):
        level = height * (0.5 + 0.15 * i)
        xs = np.linspace(-10, width + 10, 7)
        ys = level + rng.uniform(-25, 25, 7)
        hill = np.rint(np.stack([xs, ys], 1)).astype(np.int32)
        ground = np.array([[width + 10, height + 10], [-10, height + 10]], np.int32)
        cv2.fillPoly(image, [np.concatenate([hill, ground])], mix(sky, green, 0.5 + 0.25 * i), cv2.LINE_AA)
    for _ in range(int(rng.integers(0, 5))):
        x, y, r = int(rng.integers(0, width)), int(height * rng.uniform(0.35, 0.7)), int(rng.integers(12, 32))
        _box(image, x - 3, y, 6, r * 2, (84, 62, 44))
        cv2.circle(image, (x, y), r, shade(green, rng.uniform(0.6, 0.9)), -1, cv2.LINE_AA)
    return image


def _street(height: int, width: int, rng: np.random.Generator) -> Image:
    image = _gradient(height, width, (176, 196, 216), (226, 226, 222))
    x = -10
    while x < width:
        w, top = int(rng.integers(40, 90)), int(height * rng.uniform(-0.1, 0.4))
        wall = _colour(rng)
        _box(image, x, top, w, height, wall)
        pane = shade(wall, 0.55) if rng.random() < 0.7 else (250, 226, 150)
        for wy in range(top + 8, height, 22):
            for wx in range(x + 6, x + w - 10, 16):
                _box(image, wx, wy, 8, 12, pane)
        x += w
    _box(image, 0, height * 0.85, width, height, (104, 104, 108))
    return image


def _bricks(height: int, width: int, rng: np.random.Generator) -> Image:
    brick = shade(PALETTE[int(rng.choice([0, 6, 9, 4]))], rng.uniform(0.6, 1.0))
    image = _gradient(height, width, shade(brick, 1.2), shade(brick, 1.0))
    h, w = int(rng.integers(10, 18)), int(rng.integers(24, 40))
    for row, y in enumerate(range(0, height, h)):
        for x in range(-(row % 2) * w // 2, width, w):
            _box(image, x, y, w - 3, h - 3, shade(brick, rng.uniform(0.75, 0.95)))
    return image


def _lights(height: int, width: int, rng: np.random.Generator) -> Image:
    image = _gradient(height, width, (34, 34, 56), shade(_colour(rng), 0.45))
    for _ in range(int(rng.integers(12, 30))):
        centre = (int(rng.integers(0, width)), int(rng.integers(0, height)))
        colour = mix(_colour(rng), (255, 214, 150), rng.uniform(0, 1))
        cv2.circle(image, centre, int(rng.integers(5, 18)), shade(colour, rng.uniform(0.4, 1.0)), -1, cv2.LINE_AA)
    return image


_KINDS: Final[list[Callable[[int, int, np.random.Generator], Image]]] = [
    _studio, _room, _shelves, _landscape, _street, _bricks, _lights, _room, _landscape,
]  # fmt: skip
