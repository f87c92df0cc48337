"""Expressions as facial action units, with an intensity per face.

The prototypes follow EMFACS (Friesen and Ekman, 1983) on the action units of FACS (Ekman and
Friesen, 1978).
"""

from collections import defaultdict
from typing import Final, TypeAlias

import numpy as np

from mien.base.classes import EXPRESSIONS

# Per expression: action unit -> (probability that a face shows it, weight of its intensity).
# 1 inner brow up, 2 outer brow up, 4 brows down and together, 5 upper lid up, 6 cheeks up, 7 lids tight,
# 9 nose wrinkled, 12 mouth corners up, 15 mouth corners down, 16 lower lip down, 17 chin up, 20 lips
# stretched, 23 lips tight, 25 lips apart, 26 jaw down, 43 lids droop.
PROTOTYPES: Final[dict[str, dict[int, tuple[float, float]]]] = {
    "angry": {4: (1, 1), 5: (0.7, 0.5), 7: (0.9, 0.8), 23: (0.8, 0.9), 25: (0.25, 0.7), 9: (0.15, 0.3)},
    "disgust": {9: (1, 1), 15: (0.8, 0.6), 16: (0.7, 0.7), 25: (0.4, 0.4), 4: (0.6, 0.5), 7: (0.6, 0.6)},
    "fear": {1: (1, 1), 2: (0.8, 0.6), 4: (0.9, 0.6), 5: (1, 1), 20: (1, 1), 25: (0.8, 0.6), 26: (0.4, 0.4)},
    "happy": {6: (0.9, 0.9), 12: (1, 1), 25: (0.7, 0.7), 26: (0.2, 0.4)},
    "sad": {1: (1, 1), 4: (0.7, 0.5), 15: (1, 1), 17: (0.5, 0.6), 43: (0.6, 0.7)},
    "surprise": {1: (1, 1), 2: (1, 1), 5: (0.9, 0.8), 25: (1, 0.5), 26: (0.95, 1)},
    "neutral": {},
}

Units: TypeAlias = dict[int, float]


def draw_units(label: int, rng: np.random.Generator) -> Units:
    """Action unit -> intensity from 0 to 1 of one face that shows the expression; absent units are 0."""
    faint = rng.random() < 0.12
    strength = rng.uniform(0.25, 0.45) if faint else rng.uniform(0.55, 1.0)
    units: Units = defaultdict(float)
    for unit in (1, 2, 4, 7, 12, 15, 25, 43):  # nobody's face is quite at rest
        units[unit] = max(0.0, rng.uniform(-0.25, 0.18))
    for unit, (probability, weight) in PROTOTYPES[EXPRESSIONS[label]].items():
        shown = rng.random() < probability
        intensity = strength * weight * rng.uniform(0.8, 1.15)
        if shown:
            units[unit] = min(1.0, max(units[unit], intensity))
    return units
