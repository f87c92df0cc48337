"""Write FER2013's csv out as class folders, the form in which two of the reference systems had it.

    python -m benchmarks.class_folders FOLDER OUT [--form png|jpg]

FOLDER holds the csv as the source `fer2013` takes it. OUT gets `train/`, `validation/` and `test/` (Training,
PublicTest and PrivateTest) with a folder per expression: PNG without loss, or JPEG as the copies on Kaggle are. It
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

from mien.errors import UserError
from mien.expressions import EXPRESSIONS
from mien.sources.fer2013 import Fer2013

FOLDERS: Final = {"train": "train", "val": "validation", "test": "test"}
FORMS: Final = {"png": [cv2.IMWRITE_PNG_COMPRESSION, 1], "jpg": [cv2.IMWRITE_JPEG_QUALITY, 95]}


def write_class_folders(folder: Path, out: Path, form: str) -> dict[str, object]:
    """Write every usable face of the csv in `folder` to `out/PART/CLASS/ROW.FORM`; counts of faces and problems.

    Raises:
        UserError: the csv is missing or damaged, or `out` is there already.
    """
    if out.exists():
        raise UserError(f"{out} is there already; remove it, or name another folder.")
    source = Fer2013()
    ingested = source.ingest(folder)
    out.parent.mkdir(parents=True, exist_ok=True)
    faces = ingested.faces
    with tempfile.TemporaryDirectory(dir=out.parent) as partial:
        photos = source.photos(folder, Path(partial) / "unpacked")
        whole = Path(partial) / out.name
        for part in faces["source_split"].unique():
            for name in EXPRESSIONS:
                (whole / FOLDERS[part] / name).mkdir(parents=True)
        for image, label, part in zip(faces["image"], faces["label"], faces["source_split"], strict=True):
            face = cv2.imdecode(np.frombuffer(photos.read(image), np.uint8), cv2.IMREAD_GRAYSCALE)
            data = cv2.imencode(f".{form}", np.asarray(face), FORMS[form])[1].tobytes()
            (whole / FOLDERS[part] / EXPRESSIONS[label] / f"{image}.{form}").write_bytes(data)
        whole.rename(out)
    parts = faces["source_split"].map(FOLDERS).value_counts()
    return {
        "faces": {name: int(parts.get(name, 0)) for name in FOLDERS.values()},
        "problems": {str(reason): int(n) for reason, n in ingested.problems["reason"].value_counts().items()},
    }


def main() -> None:
    """Write and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--form", choices=sorted(FORMS), default="png")
    arguments = parser.parse_args()
    start = time.perf_counter()
    try:
        report = write_class_folders(arguments.folder, arguments.out, arguments.form)
    except UserError as error:
        sys.exit(f"class_folders: {error}")
    print(json.dumps(report | {"seconds": round(time.perf_counter() - start, 1)}, indent=2))


if __name__ == "__main__":
    main()
