"""What each face detector finds in photos, and how fast.

    python -m benchmarks.detectors [FOLDER] [--detectors haar NAME=FILE ...]

FOLDER holds photos; without it `$MIEN_REAL_DATA/photos`. A detector's FILE is where `mien detector` puts it unless
it is given. Of each photo: how many faces each detector finds with the default settings, and the milliseconds that it
takes on the processor, all threads together and decoding not counted, the median of three. For the four photos whose
people have been counted the number is given beside it.
"""

import argparse
import os
import sys
import time
from pathlib import Path
from statistics import median
from typing import Final

import cv2
import numpy as np
import pandas as pd

from mien.inference.detectors import PredictConfig, build_detector
from mien.runtime.decode import decode_photo
from mien.sources.detect import Detector

COUNTED: Final = {"bald_guys": 24, "selfie-many-people": 6, "couple": 2, "dogs": 0}
REPEATS: Final = 3


def milliseconds(detector: Detector, photo: np.ndarray) -> float:
    """The time on the processor that a photo takes, the median of three."""
    took = []
    for _ in range(REPEATS):
        start = time.process_time()
        detector.detect(photo)
        took.append(time.process_time() - start)
    return 1e3 * median(took)


def measure(detectors: dict[str, Detector], files: list[Path]) -> pd.DataFrame:
    """A row for each photo."""
    rows = []
    for file in files:
        photo = decode_photo(file.read_bytes(), colour="rgb", max_megapixels=100, apply_exif_rotation=True)
        row: dict[str, object] = {"photo": file.stem, "pixels": f"{photo.shape[1]} x {photo.shape[0]}"}
        row["people"] = COUNTED.get(file.stem, "")
        for name, detector in detectors.items():
            row[name] = len(detector.detect(photo))
            row[f"{name} ms"] = round(milliseconds(detector, photo))
        rows.append(row)
    return pd.DataFrame(rows)


def main() -> None:
    """Print the table and its sums."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=Path(os.environ.get("MIEN_REAL_DATA", "")) / "photos")
    parser.add_argument("--detectors", nargs="*", default=["haar", "lbp", "yunet"], metavar="NAME[=FILE]")
    said = parser.parse_args()
    files = sorted(said.folder.glob("*.jpg"))
    if not files:
        sys.exit(f"{said.folder}: there is no photo (*.jpg) here; name a folder, or set MIEN_REAL_DATA.")
    named = (one.partition("=") for one in said.detectors)
    detectors = {name: build_detector(PredictConfig(detector=name, detector_file=file)) for name, _, file in named}
    table = measure(detectors, files)
    print(f"OpenCV {cv2.__version__}, {cv2.getNumThreads()} threads")
    print(table.to_string(index=False))
    for name in detectors:
        print(f"{name}: {table[name].sum()} faces, {table[f'{name} ms'].sum() / 1e3:.2f} s")


if __name__ == "__main__":
    main()
