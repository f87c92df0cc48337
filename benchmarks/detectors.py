"""Benchmark of the face detectors: what each finds in photos that are small, turned, dark, blurred or rotated.

    python -m benchmarks.detectors FOLDER [NAME=FILE ...]

FOLDER holds photos; NAME=FILE adds another file of a detector, such as haar=lbpcascade_frontalface_improved.xml. Each
photo is made worse in the ways of VARIANTS. Its faces are what YuNet finds in the photo as it is, with a score of 0.8
or more and at least 40 pixels: the table says what is lost, and not what YuNet misses. A detector finds a face where it
gives a box at its place (an overlap of a third or more); its other boxes are counted as extra. `min_face` is 20, the
least that it may be; else defaults hold. Prints a table for docs/howto/detectors.md.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np

from benchmarks.packaged import place_of
from mien.inference.predictor import TURNED
from mien.runtime.cut import Box
from mien.runtime.decode import decode_photo
from mien.sources.detect import Detection, Detector, PredictConfig, build_detector
from mien.sources.photos import is_photo_name

SURE: Final = 0.8  # of YuNet's score
SIDES: Final = (40, 30, 24, 20)
MARGIN: Final = 0.5  # of a face's box, around it in the tiles

# A photo, its faces' boxes, and the same after a change: the picture, and where the faces are there.
Scene = tuple[np.ndarray, list[Box]]
Change = Callable[[np.ndarray, list[Box]], Scene]


def warped(matrix: np.ndarray, size: tuple[int, int], photo: np.ndarray, boxes: list[Box]) -> Scene:
    """A photo and its boxes through an affine map (2, 3); a box stays as large as it was, about its centre."""
    picture = cv2.warpAffine(photo, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    moved = []
    for box in boxes:
        x, y = matrix @ np.array([(box.left + box.right) / 2, (box.top + box.bottom) / 2, 1.0])
        half = (box.bottom - box.top) / 2
        moved.append(Box(*(round(edge) for edge in (y - half, x - half, x + half, y + half))))
    return picture, moved


def rotated(degrees: float) -> Change:
    """Turned about the photo's centre, counter-clockwise, in a picture that holds all of it."""

    def change(photo: np.ndarray, boxes: list[Box]) -> Scene:
        height, width = photo.shape[:2]
        matrix = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1.0)
        cos, sin = abs(matrix[0, 0]), abs(matrix[0, 1])
        size = (round(height * sin + width * cos), round(height * cos + width * sin))
        matrix[:, 2] += (size[0] - width) / 2, (size[1] - height) / 2
        return warped(matrix, size, photo, boxes)

    return change


def one_face(photo: np.ndarray, box: Box, side: int) -> Scene:
    """The photo shrunk, areas averaged, so that this face is `side` pixels high."""
    by = side / (box.bottom - box.top)
    size = (round(photo.shape[1] * by), round(photo.shape[0] * by))
    return cv2.resize(photo, size, interpolation=cv2.INTER_AREA), [Box(*(round(edge * by) for edge in box))]


def darkened(share: float) -> Change:
    """Each pixel's value multiplied by `share`."""
    return lambda photo, boxes: ((photo * share).round().astype(np.uint8), boxes)


def blurred(share: float) -> Change:
    """By a Gaussian whose sigma is this share of the largest face's height."""

    def change(photo: np.ndarray, boxes: list[Box]) -> Scene:
        return cv2.GaussianBlur(photo, (0, 0), share * max(box.bottom - box.top for box in boxes)), boxes

    return change


VARIANTS: Final[dict[str, Change]] = {
    "as they are": lambda photo, boxes: (photo, boxes),
    "a quarter as bright": darkened(1 / 4),
    "a tenth as bright": darkened(1 / 10),
    "a twentieth as bright": darkened(1 / 20),
    "blurred, sigma 5 % of the face": blurred(0.05),
    "blurred, sigma 10 %": blurred(0.1),
    "rotated by 15 degrees": rotated(15),
    "by 30": rotated(30),
    "by 45": rotated(45),
    "by 90": rotated(90),
    "by 180": rotated(180),
}


def tiled(scenes: list[Scene], side: int, columns: int = 6, rows: int = 5) -> Scene:
    """A group: the photos' faces in turn, with what surrounds them, in 5 rows of 6, each `side` pixels high."""
    tile = round(side * (1 + 2 * MARGIN))
    picture, places = np.zeros((rows * tile, columns * tile, 3), np.uint8), []
    every = [(photo, box) for photo, boxes in scenes for box in boxes]
    for i in range(columns * rows):
        photo, box = every[i % len(every)]
        add = round(MARGIN * (box.bottom - box.top))
        padded = cv2.copyMakeBorder(photo, add, add, add, add, cv2.BORDER_REPLICATE)  # moves the box by `add`
        face = padded[box.top : box.bottom + 2 * add, box.left : box.right + 2 * add]
        top, left = i // columns * tile, i % columns * tile
        picture[top : top + tile, left : left + tile] = cv2.resize(face, (tile, tile), interpolation=cv2.INTER_AREA)
        inset = (tile - side) // 2
        places.append(Box(top + inset, left + inset, left + inset + side, top + inset + side))
    return picture, places


def hits(found: list[Detection], boxes: list[Box]) -> tuple[int, int]:
    """How many of the faces were found, and how many boxes are at no face."""
    free, n = [face.box for face in found], 0
    for box in boxes:
        if (place := place_of(box, free)) is not None:
            del free[place]
            n += 1
    return n, len(free)


def main(folder: Path, others: list[str]) -> None:
    """Print the table."""
    named: list[Any] = [("yunet", ""), ("haar", ""), *(other.split("=", 1) for other in others)]
    detectors: list[Detector] = [
        build_detector(PredictConfig(detector=name, detector_file=file, min_face=20)) for name, file in named
    ]
    scenes, turned = [], []
    for file in sorted(file for file in folder.iterdir() if is_photo_name(file)):
        photo = decode_photo(file.read_bytes(), max_megapixels=100)
        faces = build_detector(PredictConfig(min_score=SURE)).detect(photo)
        scenes.append((photo, [face.box for face in faces]))
        turned.append((photo, [face.box for face in faces if (face.turn or 0) > TURNED]))
    people = [scene for scene in scenes if scene[1]]
    table = {name: [change(*scene) for scene in people] for name, change in VARIANTS.items()}
    for side in SIDES:
        table[f"one face, {side} pixels"] = [one_face(photo, box, side) for photo, boxes in people for box in boxes]
    table["turned away"] = [scene for scene in turned if scene[1]]
    table |= {f"thirty in a group, {side} pixels each": [tiled(people, side)] for side in (80, 40, 24)}
    print("| photos | faces | " + " | ".join(f"{detector.name} | extra" for detector in detectors) + " |")
    print("|---" * (2 + 2 * len(detectors)) + "|")
    for name, made in table.items():
        cells: list[object] = [name, sum(len(boxes) for _, boxes in made)]
        for detector in detectors:
            both = [hits(detector.detect(photo), boxes) for photo, boxes in made]
            cells += [
                sum(n for n, _ in both),
                "" if name.startswith(("one", "turned")) else sum(extra for _, extra in both),
            ]
        print("| " + " | ".join(map(str, cells)) + " |", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
