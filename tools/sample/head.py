"""Head, hair, neck and clothes, drawn in the right order."""

from typing import TypeAlias

import numpy as np

from tools.sample import features
from tools.sample.action_units import Units
from tools.sample.features import EYE_Y, SIDES
from tools.sample.pen import Colour, Pen, ellipse, mirrored, mix, shade
from tools.sample.person import Person

Half: TypeAlias = list[tuple[float, float]]  # the right half of an outline, from top to bottom


def paint_person(pen: Pen, person: Person, u: Units, gaze: float, light_x: float) -> None:
    """One person, from the back of the hair to the glasses."""
    _paint_back_hair(pen, person)
    _paint_body(pen, person)
    _paint_ears(pen, person)
    pen.fill(mirrored(_outline(person, u)), person.skin, 0.15)
    _paint_beard(pen, person, u)
    features.paint_nose(pen, person, u)
    features.paint_mouth(pen, person, u)
    features.paint_eyes(pen, person, u, gaze, light_x)
    _paint_front_hair(pen, person)
    _paint_glasses(pen, person)


def _outline(person: Person, u: Units) -> Half:
    w, chin = person.width, person.chin + 0.16 * u[26] + 0.03 * u[25]
    return [
        (0.0, -1.42), (0.5 * w, -1.33), (0.87 * w, -0.95), (w, -0.4), (0.98 * w, 0.1),
        (0.91 * w, 0.52), (person.jaw * w, 0.95 + 0.06 * u[26]), (0.34, chin - 0.05), (0.0, chin),
    ]  # fmt: skip


def _paint_ears(pen: Pen, person: Person) -> None:
    w = person.width
    for side in SIDES:
        pen.fill(ellipse(side * w, 0.02, 0.13, 0.24), shade(person.skin, 0.9), -0.1)
        fold = [(side * 1.04 * w, -0.1), (side * 1.08 * w, 0.05)]
        pen.line(fold, shade(person.skin, 0.7), 0.03, -0.1)


def _paint_body(pen: Pen, person: Person) -> None:
    neck, broad = (0.42, 1.75) if person.feminine else (0.54, 2.05)
    skin = [(0.0, 0.7), (neck, 0.7), (neck + 0.04, 1.5), (neck + 0.3, 2.2), (0.0, 2.3)]
    pen.fill(mirrored(skin), shade(person.skin, 0.86), 0.0)
    collar = [(0.0, 2.25), (0.3, 2.12), (neck + 0.14, 1.72)]
    shirt = [*collar, (0.8 * broad, 2.05), (broad, 2.7), (broad + 0.1, 6.0), (0.0, 6.0)]
    pen.fill(mirrored(shirt), person.clothes, 0.0)
    if person.stripes:
        for y in np.arange(2.6, 6, 0.45):
            pale = mix(person.clothes, (255, 255, 255), 0.55)
            pen.line([(-broad, y), (0, y + 0.1), (broad, y)], pale, 0.12, 0.0)
    pen.line([(-x, y) for x, y in collar[:0:-1]] + collar, shade(person.clothes, 0.7), 0.06, 0.0)


def _paint_back_hair(pen: Pen, person: Person) -> None:
    w, hair = person.width, shade(person.hair, 0.8)
    if person.hair_style == "scarf":
        cloth = [(0, -1.66), (0.75 * w, -1.45), (1.16 * w, -0.7), (1.2 * w, 0.4), (1.0, 1.5), (1.15, 2.4), (0, 2.7)]
        pen.fill(mirrored(cloth), shade(person.clothes, 1.12), -0.1)
    elif person.hair_style in ("long", "bob"):
        end = 2.1 if person.hair_style == "long" else 1.05
        fall = [(0, -1.62), (0.8, -1.4), (1.18, -0.7), (1.26, 0.3), (1.24, end - 0.25), (0.9, end), (0, end)]
        pen.fill(mirrored([(x * w, y) for x, y in fall]), hair, -0.25)
    elif person.hair_style == "curls":
        for x, y in [(0.6, -1.4), (1.05, -1.0), (1.25, -0.45), (1.3, 0.1), (1.25, 0.65), (1.1, 1.1)]:
            for side in SIDES:
                pen.fill(ellipse(side * x * w, y, 0.38, 0.38), hair, -0.25)
    elif person.hair_style == "bun":
        pen.fill(ellipse(0, -1.75, 0.42, 0.36), hair, -0.25)


def _paint_front_hair(pen: Pen, person: Person) -> None:
    w, line = person.width, person.hairline
    if person.hair_style == "scarf":
        rim = [(0, -1.6), (0.95 * w, -1.2), (1.16 * w, -0.4), (0.93 * w, -0.3), (0.75 * w, line + 0.12), (0, line)]
        pen.fill(mirrored(rim), shade(person.clothes, 1.2), 0.2)
    elif person.hair_style == "bald":
        for side in SIDES:
            patch = [(0.98, -0.75), (1.07, -0.4), (1.05, 0.0), (0.96, 0.12), (0.92, -0.3)]
            pen.fill([(side * x * w, y) for x, y in patch], mix(person.hair, person.skin, 0.3), 0.1)
    else:
        low = -0.62 if person.hair_style == "fringe" else line
        pen.fill(_cap(w) + _hairline(person, low), person.hair, 0.25)
        _paint_strands(pen, person, low)


def _cap(w: float) -> Half:
    right = [(1.06 * w, -0.25), (1.09 * w, -0.8), (0.78 * w, -1.42)]
    return [*right, (0.0, -1.66), *((-x, y) for x, y in reversed(right))]


def _hairline(person: Person, low: float) -> Half:
    """The lower edge of the hair on the forehead, from left to right, parted where the style parts it."""
    w = person.width
    sideburn = 0.1 if person.hair_style in ("long", "bob", "fringe", "curls") else -0.15
    temple = [(0.9 * w, -0.45), (0.95 * w, sideburn)]
    part = {"side": 0.3, "long": 0.0, "bob": -0.25}.get(person.hair_style)
    if part is None:
        middle = [(-0.7 * w, low + 0.08), (-0.3, low), (0.0, low - 0.03), (0.3, low), (0.7 * w, low + 0.08)]
    else:
        corner, wave = 0.75 * w, low + 0.16
        middle = [(-corner, wave), (part - 0.35, low - 0.02), (part, low - 0.22), (part + 0.35, low), (corner, wave)]
    return [*((-x, y) for x, y in reversed(temple)), *middle, *temple]


def _paint_strands(pen: Pen, person: Person, low: float) -> None:
    w = person.width
    if person.hair_style in ("curly", "curls"):
        for i, (x, y) in enumerate(
            [(0.0, -1.5), (0.35, -1.45), (0.68, -1.28), (0.92, -1.0), (0.2, -1.22), (0.55, -1.08)]
        ):
            for side in SIDES:
                pen.fill(ellipse(side * x * w, y, 0.24, 0.22), shade(person.hair, (0.9, 1.1, 0.97)[i % 3]), 0.25)
        return
    for i, x in enumerate((-0.75, -0.45, -0.15, 0.15, 0.45, 0.75)):
        strand = [(0.5 * x, -1.55), (0.95 * x * w, -1.3), (1.1 * x * w, low - 0.08)]
        pen.line(strand, shade(person.hair, 1.25 if i % 2 else 0.8), 0.03, 0.25)


def _paint_beard(pen: Pen, person: Person, u: Units) -> None:
    if person.beard == "none":
        return
    m = features.mouth(person, u)
    hair = mix(person.hair, person.skin, {"stubble": 0.72, "moustache": 0.1, "full": 0.15}[person.beard])
    if person.beard != "moustache":
        right = _outline(person, u)
        edge = [(0.95 * person.width, 0.2), (0.9 * person.width, 0.55), *right[6:]]
        chin = (0.0, m.lower + m.lower_lip + 0.12)
        cheek = [(m.corner_x + 0.08, m.corner_y + 0.02), (0.72 * person.width, 0.62)]
        pen.fill(mirrored([chin, *cheek, *edge]), hair, 0.15 if person.beard == "stubble" else 0.3)
    lip = m.upper - m.upper_lip
    wing = [(0.2, lip - 0.1), (m.corner_x + 0.06, m.corner_y - 0.02), (m.corner_x, m.corner_y + 0.03)]
    pen.fill(mirrored([(0.0, lip - 0.13), *wing, (0.2, lip + 0.02), (0.0, lip + 0.01)]), hair)


def _paint_glasses(pen: Pen, person: Person) -> None:
    if person.glasses == "none":
        return
    frame: Colour = (40, 36, 40)
    rx, ry = (0.27, 0.24) if person.glasses == "round" else (0.29, 0.2)
    for side in SIDES:
        centre = side * (person.eye_x + 0.01)
        rim = ellipse(centre, EYE_Y + 0.02, rx, ry)
        pen.line([*rim, *rim[:2]], frame, 0.035)
        pen.line([(centre + side * rx, EYE_Y - 0.02), (side * 1.02 * person.width, EYE_Y - 0.06)], frame, 0.035)
    bridge = person.eye_x - rx
    pen.line([(-bridge, EYE_Y), (0, EYE_Y - 0.04), (bridge, EYE_Y)], frame, 0.035)
