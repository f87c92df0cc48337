"""Drawing of the embedded sample, in the format of ExpW.

`make sample` draws it where it is missing. Its detections and its faults are of the kinds that ExpW
has (Zhang et al., 2016); a photo is a function of the seed and of its own number alone, so that
neither the number of processes nor the number of photos changes it.
"""

import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from mien.base.classes import EXPRESSIONS, N_EXPRESSIONS
from mien.base.errors import UserError
from mien.base.files import replacing
from tools.sample.archive import write_volumes
from tools.sample.pen import Image, pixels
from tools.sample.photo import Box, DrawnFace, draw_photo

PHOTOS: Final = 900
LEAST_PHOTOS: Final = 40  # fewer would not hold every fault once
VOLUME_BYTES: Final = 1 << 20
SHARES: Final = (0.12, 0.09, 0.08, 0.24, 0.13, 0.12, 0.22)  # of the expressions, in their order
FACES: Final = (0.75, 0.17, 0.06, 0.02)  # share of photos with 1, 2, 3 and 4 faces
WRONG_LABEL: Final = 0.025
# Which photos have a fault: (every so many, which of them).
COPY, NEAR_COPY, OVER_EDGE, FALSE_FACE = (40, 13), (40, 31), (50, 8), (8, 4)
UNREADABLE: Final = 22
CUT: Final = 120  # bytes of the unreadable file: it ends within the quantization tables
WORDS: Final = (
    ("angry", "furious"), ("disgusted", "revolted"), ("afraid", "scared"), ("happy", "laughing"),
    ("sad", "unhappy"), ("surprised", "astonished"), ("calm", "serious"),
)  # fmt: skip
PEOPLE: Final = ("actor", "person", "man", "woman", "teacher", "friends", "family", "student", "portrait", "nurse")
README: Final = """\
Drawn faces in the shape of the Expression in-the-Wild (ExpW) data set. No person is shown.

label.lst: each line indicates a face as follows:
image_name face_id_in_image \
face_box_top face_box_left face_box_right face_box_bottom face_box_confidence expression_label

for expression label:
"""


@dataclass(frozen=True)
class DrawnFile:
    """One file of the data set: its name, its bytes and its rows in label.lst."""

    name: str
    data: bytes
    faces: list[DrawnFace]

    def rows(self) -> Iterator[str]:
        """Lines of label.lst: name, number of the face, top, left, right, bottom, confidence, label."""
        for i, face in enumerate(self.faces):
            box = " ".join(str(edge) for edge in face.box)
            yield f"{self.name} {i} {box} {face.confidence:g} {face.label}\n"


def draw_sample(folder: Path, *, photos: int = PHOTOS, seed: int = 7, workers: int = 0) -> None:
    """Draw the data set into `folder`: origin.7z.001 and more, label.lst and readme.txt.

    `workers` processes draw (0: one per core); the bytes are the same whatever their number. The
    folder appears whole, by rename. Raises UserError where it exists or `photos` is below 40.
    """
    if folder.exists():
        raise UserError(f"{folder} exists; remove it first to draw the sample again")
    if photos < LEAST_PHOTOS:
        raise UserError(f"photos must be at least {LEAST_PHOTOS}, so that every kind of fault occurs, not {photos}")
    files = sorted(_draw_files(photos, seed, workers or os.cpu_count() or 1), key=lambda file: file.name)
    rows = "".join(row for file in files for row in file.rows())
    labels = "".join(f'"{i}" "{name}"\n' for i, name in enumerate(EXPRESSIONS))
    with replacing(folder) as partial:
        partial.mkdir()
        write_volumes(partial / "origin.7z", [(f"origin/{f.name}", f.data) for f in files], VOLUME_BYTES)
        (partial / "label.lst").write_bytes(rows.encode())
        (partial / "readme.txt").write_bytes((README + labels).encode())


def _draw_files(photos: int, seed: int, workers: int) -> list[DrawnFile]:
    draw = partial(draw_file, seed=seed)
    if workers == 1:
        return [draw(number) for number in range(photos)]
    context = get_context("spawn")  # a fork would copy the locks of the caller's threads
    with ProcessPoolExecutor(workers, context, initializer=cv2.setNumThreads, initargs=(1,)) as pool:
        return list(pool.map(draw, range(photos), chunksize=10))


def draw_file(number: int, seed: int) -> DrawnFile:
    """The file with this number: a photo of its own, or a copy of the photo before it under another name."""
    rng = np.random.default_rng([seed, number, 1])
    if _is(number, COPY) or _is(number, NEAR_COPY):
        file = draw_file(number - 1, seed)
        changed = _near_copy(file, rng) if _is(number, NEAR_COPY) else file
        faces = [replace(f, label=_other_label(f.label, 0.2, rng)) for f in file.faces]
        return DrawnFile(_name(number, faces, rng), changed.data, faces)
    count = 1 + int(rng.choice(len(FACES), p=FACES))
    labels = [int(label) for label in rng.choice(N_EXPRESSIONS, size=count, p=SHARES)]
    image, faces = draw_photo(np.random.default_rng([seed, number]), labels, over_edge=_is(number, OVER_EDGE))
    faces = [replace(f, label=_other_label(f.label, WRONG_LABEL, rng)) for f in faces]
    if _is(number, FALSE_FACE) or rng.random() < 0.09:
        faces.append(_false_face(image, faces, rng))
    data = _jpeg(image, int(rng.integers(62, 93)))
    if number == UNREADABLE:
        data, faces = data[:CUT], [replace(f, confidence=88.5) for f in faces]
    return DrawnFile(_name(number, faces, rng), data, faces)


def _is(number: int, kind: tuple[int, int]) -> bool:
    return number % kind[0] == kind[1]


def _other_label(label: int, probability: float, rng: np.random.Generator) -> int:
    if rng.random() >= probability:
        return label
    return (label + int(rng.integers(1, N_EXPRESSIONS))) % N_EXPRESSIONS


def _name(number: int, faces: list[DrawnFace], rng: np.random.Generator) -> str:
    """A search word that only loosely fits the first face, as ExpW's names are."""
    meant = faces[0].label if rng.random() < 0.5 else int(rng.integers(0, N_EXPRESSIONS))
    word, who = WORDS[meant][int(rng.integers(0, 2))], PEOPLE[int(rng.integers(0, len(PEOPLE)))]
    return f"{word}_{who}_{number + 1}.jpg"


def _false_face(image: Image, faces: list[DrawnFace], rng: np.random.Generator) -> DrawnFace:
    """A detection of low confidence where no face is, or as far from one as ten tries find."""
    height, width = image.shape[:2]
    boxes: list[Box] = []
    for _ in range(10):
        side = int(rng.integers(26, 70))
        top, left = int(rng.integers(0, height - side)), int(rng.integers(0, width - side))
        boxes.append((top, left, left + side, top + side))
    box = min(boxes, key=lambda b: sum(_overlap(b, face.box) for face in faces) / (b[2] - b[1]))
    confidence = round(0.2 + 29.8 * rng.uniform(0, 1) * rng.uniform(0, 1), 6)
    return DrawnFace(box, int(rng.integers(0, N_EXPRESSIONS)), confidence)


def _overlap(a: Box, b: Box) -> int:
    down, across = min(a[3], b[3]) - max(a[0], b[0]), min(a[2], b[2]) - max(a[1], b[1])
    return max(0, down) * max(0, across)


def _near_copy(file: DrawnFile, rng: np.random.Generator) -> DrawnFile:
    """The same photo as another site would hold it: brighter or darker, encoded once more."""
    image = pixels(cv2.imdecode(np.frombuffer(file.data, np.uint8), cv2.IMREAD_COLOR))[..., ::-1]
    brighter = (image.astype(np.int16) + int(rng.integers(-9, 10))).clip(0, 255).astype(np.uint8)
    return replace(file, data=_jpeg(brighter, int(rng.integers(55, 80))))


def _jpeg(image: Image, quality: int) -> bytes:
    options = [cv2.IMWRITE_JPEG_QUALITY, quality]
    return cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)[1].tobytes()
