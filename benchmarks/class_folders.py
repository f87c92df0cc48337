"""Conversion of FER2013's csv to class folders, the formats of three reference systems.

    python -m benchmarks.class_folders FOLDER OUT [--form png|jpg] [--numbered ROWS]

FOLDER holds the csv as the source `fer2013` takes it. OUT gets `train/`, `validation/` and `test/` (Training,
PublicTest and PrivateTest) with a folder per expression: PNG without loss, or JPEG as the copies on Kaggle are. With
--numbered it gets folders `0/` to `6/` and no parts, with so many rows, drawn at random from all with a fixed seed. It
prints how many faces each part got, what could not be used, and the seconds that reading and writing took.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import pandas as pd

from mien.base.classes import EXPRESSIONS
from mien.base.errors import UserError
from mien.sources.fer2013 import Fer2013

FOLDERS: Final = {"train": "train", "val": "validation", "test": "test"}
SEED: Final = 42
FORMS: Final = {"png": [cv2.IMWRITE_PNG_COMPRESSION, 1], "jpg": [cv2.IMWRITE_JPEG_QUALITY, 95]}


def write_class_folders(folder: Path, out: Path, form: str, numbered: int | None = None) -> dict[str, object]:
    """Write usable faces of the csv in `folder` to `out/PART/CLASS/ROW.FORM`; counts of faces and problems.

    With `numbered`, so many of them, drawn at random, to `out/NUMBER/ROW.FORM`.

    Raises:
        UserError: the csv is missing or damaged, has fewer faces, or `out` is there already.
    """
    if out.exists():
        raise UserError(f"{out} is there already; remove it, or name another folder.")
    source = Fer2013()
    ingested = source.ingest(folder)
    faces = ingested.faces if numbered is None else _drawn(ingested.faces, numbered)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent) as partial:
        photos = source.photos(folder, Path(partial) / "unpacked")
        whole = Path(partial) / out.name
        for place, rows in faces.groupby(_places(faces, numbered is not None)):
            (whole / str(place)).mkdir(parents=True)
            for image in rows["image"]:
                face = cv2.imdecode(np.frombuffer(photos.read(image), np.uint8), cv2.IMREAD_GRAYSCALE)
                data = cv2.imencode(f".{form}", np.asarray(face), FORMS[form])[1].tobytes()
                (whole / str(place) / f"{image}.{form}").write_bytes(data)
        whole.rename(out)
    parts = faces["source_split"].map(FOLDERS).value_counts()
    return {
        "faces": {name: int(parts.get(name, 0)) for name in FOLDERS.values()} if numbered is None else len(faces),
        "problems": {str(reason): int(n) for reason, n in ingested.problems["reason"].value_counts().items()},
    }


def _drawn(faces: pd.DataFrame, count: int) -> pd.DataFrame:
    if count > len(faces):
        raise UserError(f"the csv has {len(faces):,} usable faces, and {count:,} were asked for; ask for fewer.")
    return faces.sample(count, random_state=SEED).sort_index()


def _places(faces: pd.DataFrame, numbered: bool) -> pd.Series:
    """The folder of each face: its number, or part and class."""
    if numbered:
        return faces["label"].astype(str)
    return faces["source_split"].map(FOLDERS) + "/" + faces["label"].map(dict(enumerate(EXPRESSIONS)))


def main() -> None:
    """Write and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--form", choices=sorted(FORMS), default="png")
    parser.add_argument("--numbered", type=int, metavar="ROWS")
    arguments = parser.parse_args()
    start = time.perf_counter()
    try:
        report = write_class_folders(arguments.folder, arguments.out, arguments.form, arguments.numbered)
    except UserError as error:
        sys.exit(f"class_folders: {error}")
    print(json.dumps(report | {"seconds": round(time.perf_counter() - start, 1)}, indent=2))


if __name__ == "__main__":
    main()
