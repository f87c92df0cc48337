"""Brows, eyes, nose and mouth, moved by the action units."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from tools.sample.action_units import Units
from tools.sample.pen import Colour, Pen, ellipse, mix, shade
from tools.sample.person import Person
from tools.sample.pose import Points

EYE_Y: Final = -0.1
SIDES: Final = (-1.0, 1.0)
TEETH: Final[Colour] = (246, 242, 232)
SCLERA: Final[Colour] = (247, 244, 240)


def brow(person: Person, u: Units, side: float) -> Points:
    """Four points of a brow's centre line, from the nose outwards."""
    x, y, slope = person.eye_x, person.brow_y, person.brow_slope
    return np.array(
        [
            (side * (x - 0.21 - 0.05 * u[4]), y + slope + 0.03 - 0.17 * u[1] + 0.16 * u[4] + 0.05 * u[9]),
            (side * (x - 0.06 - 0.03 * u[4]), y - 0.04 - 0.12 * u[1] - 0.10 * u[2] + 0.11 * u[4] + 0.04 * u[9]),
            (side * (x + 0.10), y - 0.06 - 0.03 * u[1] - 0.17 * u[2] + 0.05 * u[4]),
            (side * (x + 0.27), y + 0.03 - slope - 0.13 * u[2] - 0.02 * u[4] + 0.03 * u[1] * (1 - u[2])),
        ]
    )


def eye(person: Person, u: Units, side: float) -> Points:
    """Eight points around an eye's opening; the first five are the upper lid, from the nose outwards."""
    x, half = person.eye_x, 0.185 * person.eye_size
    upper = (0.088 + 0.075 * u[5] - 0.035 * u[7] - 0.022 * u[6] - 0.05 * u[43] - 0.02 * u[9]) * person.eye_size
    lower = (0.054 + 0.012 * u[5] - 0.030 * u[7] - 0.055 * u[6] - 0.02 * u[9]) * person.eye_size
    droop = 0.04 * u[1] * (1 - u[2])
    along = [
        (-half, 0.02), (-0.5 * half, -0.8 * upper), (0.0, -upper), (0.55 * half, -0.72 * upper + droop),
        (half, -0.01 - person.eye_slant + droop), (0.5 * half, 0.75 * lower), (0.0, lower), (-0.5 * half, 0.8 * lower),
    ]  # fmt: skip
    return np.array([(side * (x + dx), EYE_Y + dy) for dx, dy in along])


@dataclass(frozen=True)
class Mouth:
    """Corners, the upper and the lower edge of the opening in the middle, and the lips' thickness."""

    corner_x: float
    corner_y: float
    upper: float
    lower: float
    upper_lip: float
    lower_lip: float
    roundness: float

    def edge(self, middle: float, thickness: float, shares: tuple[float, ...]) -> list[tuple[float, float]]:
        """Points of a lip's edge at these shares of the way from the middle to the right corner."""
        bent = [f * f * (1.3 - 0.3 * f + self.roundness * (f * f - 1.3 + 0.3 * f)) for f in shares]
        y = [middle + thickness * (1 - b) + (self.corner_y - middle) * b for b in bent]
        return [(f * self.corner_x, v) for f, v in zip(shares, y, strict=True)]


def mouth(person: Person, u: Units) -> Mouth:
    """The mouth as the action units shape it."""
    y = person.nose_length + 0.37
    gap = 0.11 * u[25] + 0.06 * u[25] * u[12] + 0.30 * u[26]
    upper = y - 0.06 * u[9] * (1 - u[12]) - 0.25 * gap - 0.03 * u[17] + 0.03 * u[12]
    tight = (1 - 0.6 * u[23]) * (1 - 0.25 * u[20])
    return Mouth(
        corner_x=person.mouth_width * (1 + 0.30 * u[12] + 0.34 * u[20] - 0.12 * u[23] - 0.36 * u[26] + 0.05 * u[15]),
        corner_y=y - person.mouth_slope - 0.19 * u[12] + 0.12 * u[15] + 0.10 * u[20] + 0.10 * u[26] - 0.02 * u[17],
        upper=upper,
        lower=upper + gap + 0.05 * u[16] * (0.4 + u[25]),
        upper_lip=person.lips * 0.85 * tight * (1 - 0.2 * u[12]),
        lower_lip=person.lips * tight * (1 + 0.3 * u[16] + 0.25 * u[17]),
        roundness=u[26] * (1 - u[12]),
    )


def paint_eyes(pen: Pen, person: Person, u: Units, gaze: float, light_x: float) -> None:
    """Eyeballs behind their lids, lashes and brows."""
    size = person.eye_size
    lash = mix(shade(person.skin, 0.3), (24, 16, 16), 0.6)
    for side in SIDES:
        outline = eye(person, u, side)
        x, y = side * person.eye_x + gaze, EYE_Y - 0.012
        shapes = [
            (outline, SCLERA),
            (ellipse(x, y, 0.098 * size, 0.098 * size), shade(person.iris, 0.55)),
            (ellipse(x, y + 0.005, 0.083 * size, 0.083 * size), person.iris),
            (ellipse(x, y, 0.045 * size, 0.045 * size), (14, 10, 10)),
            (ellipse(x + 0.035 * light_x, y - 0.04, 0.02, 0.02), (255, 255, 255)),
        ]
        pen.inside(outline, shapes)
        width = 0.042 if person.feminine else 0.03
        pen.stroke(outline[:5], (0.012, width, width, width, 0.02), lash)
        pen.line(outline[[4, 5, 6, 7]], mix(person.skin, lash, 0.45), 0.012)
    for side in SIDES:
        weight = person.brow_weight
        colour = mix(shade(person.hair, 0.75), shade(person.skin, 0.4), 0.25)
        pen.stroke(brow(person, u, side), (weight, 1.05 * weight, 0.8 * weight, 0.15 * weight), colour)


def paint_nose(pen: Pen, person: Person, u: Units) -> None:
    """Nostrils and wings; the bridge is a matter of light."""
    y, w = person.nose_length - 0.05 * u[9], person.nose_width * (1 + 0.12 * u[9] + 0.08 * u[12])
    dark = shade(person.skin, 0.55)
    for side in SIDES:
        wing = [
            (side * w * 0.85, y - 0.14),
            (side * w * 1.05, y - 0.05),
            (side * w * 0.9, y + 0.015),
            (side * w * 0.6, y),
        ]
        pen.line(wing, shade(person.skin, 0.72), 0.022)
        pen.fill(ellipse(side * w * 0.48, y + 0.005, 0.055, 0.026), dark)
    pen.line([(-0.2 * w, y + 0.035), (0, y + 0.05), (0.2 * w, y + 0.035)], shade(person.skin, 0.75), 0.02)


def paint_mouth(pen: Pen, person: Person, u: Units) -> None:
    """Lips, and teeth and tongue where they part."""
    m = mouth(person, u)
    lip = mix(mix(person.skin, (178, 74, 72), 0.42), (176, 30, 56), 0.55 * person.lipstick)
    halves = (0.0, 0.3, 0.62, 1.0)
    upper, lower = m.edge(m.upper, 0.0, halves), m.edge(m.lower, 0.0, halves)
    top = m.edge(m.upper, -m.upper_lip, (0.16, 0.36, 0.68))
    bottom = m.edge(m.lower, m.lower_lip, (0.0, 0.35, 0.7))
    pen.fill(_ring([(0.0, m.upper - 0.8 * m.upper_lip), *top], upper), shade(lip, 0.86))
    pen.fill(_ring(lower, bottom), lip)
    if m.lower - m.upper > 0.02:
        _paint_opening(pen, u, m, _ring(upper[:-1], lower))
    path = [(-x, y) for x, y in reversed(upper[1:])] + upper
    pen.stroke(path, (0.012, 0.024, 0.026, 0.026, 0.026, 0.024, 0.012), shade(lip, 0.5))


def _ring(above: list[tuple[float, float]], below: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """A closed outline from two right halves given from the middle outwards, and their mirror images."""
    right = above + below[::-1]
    return right + [(-x, y) for x, y in reversed(right) if x != 0]


def _paint_opening(pen: Pen, u: Units, m: Mouth, outline: list[tuple[float, float]]) -> None:
    gap, w = m.lower - m.upper, m.corner_x
    row = min(0.75 * gap, 0.05 + 0.06 * max(u[12], u[20], u[23], u[9]) - 0.04 * u[26] * (1 - u[12]))
    low_row = min(0.3 * gap, 0.06 * max(u[20], u[16], u[23]))
    shapes: list[tuple[Points, Colour]] = [
        (ellipse(0, m.upper, 2 * w, 1.0), (76, 24, 28)),
        (ellipse(0, m.lower + 0.02, 0.6 * w, 0.3 * gap), (186, 88, 88)),
        (ellipse(0, m.lower + 0.1, 0.8 * w, 0.1 + low_row), TEETH) if low_row > 0.02 else (ellipse(0, 9, 0, 0), TEETH),
        (_band(m, row), TEETH),
    ]
    pen.inside(outline, shapes)


def _band(m: Mouth, height: float) -> Points:
    """The upper row of teeth: it follows the upper lip."""
    lip = m.edge(m.upper, 0.0, (0.0, 0.3, 0.6, 0.86))
    return np.array(_ring([(x, y - 0.1) for x, y in lip], [(x, y + height) for x, y in lip]))
