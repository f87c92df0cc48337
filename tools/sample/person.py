"""Identity of a drawn face: the features that no expression changes."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from tools.sample.pen import Colour, mix

SKINS: Final[list[Colour]] = [
    (242, 212, 188), (238, 200, 168), (230, 184, 147), (216, 164, 122),
    (190, 134, 94), (158, 108, 76), (132, 90, 64), (110, 76, 56),
]  # fmt: skip
HAIRS: Final[list[Colour]] = [
    (34, 28, 28), (34, 28, 28), (62, 42, 30), (96, 64, 40), (142, 100, 58),
    (198, 158, 96), (226, 198, 144), (156, 70, 36), (168, 168, 172), (218, 218, 220),
]  # fmt: skip
IRISES: Final[list[Colour]] = [(70, 44, 28), (88, 58, 34), (60, 40, 30), (64, 104, 132), (84, 112, 70), (96, 104, 112)]
CLOTHES: Final[list[Colour]] = [
    (52, 74, 120), (150, 52, 56), (58, 110, 88), (226, 222, 212), (44, 46, 54),
    (206, 150, 60), (118, 92, 140), (92, 142, 170), (188, 112, 110), (110, 118, 96),
]  # fmt: skip
SHORT: Final = ("short", "side", "curly", "bald")
LONG: Final = ("long", "bob", "bun", "fringe", "curls", "scarf")


@dataclass(frozen=True)
class Person:
    """Identity, in a face's own coordinates (see `Pose`) and RGB."""

    feminine: bool
    age: float  # 0 young to 1 old: how deep the wrinkles are at rest
    width: float
    jaw: float
    chin: float
    skin: Colour
    hair: Colour
    hair_style: str
    hairline: float
    eye_x: float
    eye_size: float
    eye_slant: float
    iris: Colour
    brow_y: float
    brow_slope: float
    brow_weight: float
    nose_width: float
    nose_length: float
    mouth_width: float
    lips: float
    mouth_slope: float  # corners of the mouth at rest: above 0 they point up
    beard: str
    glasses: str
    lipstick: float
    clothes: Colour
    stripes: bool


def draw_person(rng: np.random.Generator) -> Person:
    """A person at random."""
    feminine, age = rng.random() < 0.5, rng.uniform(0, 1)
    tone = rng.uniform(0, len(SKINS) - 1)
    skin = mix(SKINS[int(tone)], SKINS[int(tone) + 1], tone % 1)
    hair = HAIRS[int(rng.integers(0, 4 if tone > 3.5 else 8))]
    hair = HAIRS[int(rng.integers(8, 10))] if age > 0.8 and rng.random() < 0.7 else hair
    style = str(rng.choice(LONG if feminine else SHORT))
    beard = "none" if feminine else str(rng.choice(["none", "none", "none", "stubble", "moustache", "full"]))
    return Person(
        feminine=feminine,
        age=age,
        width=rng.uniform(0.9, 1.06),
        jaw=rng.uniform(0.6, 0.74) if feminine else rng.uniform(0.66, 0.84),
        chin=rng.uniform(1.3, 1.42) if feminine else rng.uniform(1.34, 1.5),
        skin=skin,
        hair=hair,
        hair_style=style,
        hairline=rng.uniform(-1.06, -0.86),
        eye_x=rng.uniform(0.37, 0.44),
        eye_size=rng.uniform(0.9, 1.15),
        eye_slant=rng.uniform(-0.015, 0.035),
        iris=IRISES[int(rng.integers(0, 3 if tone > 3.5 else 6))],
        brow_y=rng.uniform(-0.47, -0.4),
        brow_slope=rng.uniform(-0.05, 0.05),
        brow_weight=rng.uniform(0.045, 0.075) if feminine else rng.uniform(0.07, 0.11),
        nose_width=rng.uniform(0.16, 0.24),
        nose_length=rng.uniform(0.38, 0.48),
        mouth_width=rng.uniform(0.31, 0.39),
        lips=rng.uniform(0.09, 0.13) if feminine else rng.uniform(0.06, 0.1),
        mouth_slope=rng.uniform(-0.035, 0.03),
        beard=beard,
        glasses=str(rng.choice(["none", "none", "none", "none", "none", "none", "round", "square"])),
        lipstick=rng.uniform(0, 1) if feminine else 0.0,
        clothes=CLOTHES[int(rng.integers(0, len(CLOTHES)))],
        stripes=rng.random() < 0.25,
    )
