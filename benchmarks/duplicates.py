"""Benchmark of the near-duplicate search at 10,000, 36,000 and 150,000 faces: time, memory, results.

    python -m benchmarks.duplicates [FOLDER]

FOLDER is FER2013's (`restore.py`), without it `$MIEN_REAL_DATA/fer2013`. More faces than FER2013's 35,887 are made of
it: copies moved, scaled, brightened and compressed as JPEG, each by a little of its own. The whole search, and its
three parts in processor time: thumbnails, pairs that correlate, and the alignment of the doubtful ones.
"""

import argparse
import hashlib
import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np

from mien.runtime.cut import Box, cut_face
from mien.sources.fingerprints import THUMBNAIL
from mien.sources.source import faces_table
from mien.split.near_copies import (
    CANDIDATE,
    alike_when_aligned,
    correlated_pairs,
    group_faces,
    normalised,
)
from mien.split.parts import SplitConfig

CONFIG = SplitConfig()
SIZES = (10_000, 36_000, 150_000)
Result = TypeVar("Result")


def fer2013(folder: Path) -> np.ndarray:
    """FER2013's faces, (35887, 48, 48, 1) uint8."""
    spec = importlib.util.spec_from_file_location("restore", folder / "restore.py")
    assert spec is not None and spec.loader is not None
    restore = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(restore)
    pixels: np.ndarray = restore.load()[0][..., None]
    return pixels


def enlarged(faces: np.ndarray, n: int) -> np.ndarray:
    """The first `n` faces, and where there are fewer, copies of randomly drawn ones, each changed a little."""
    rng = np.random.default_rng(0)
    pixels = np.empty((n, *faces.shape[1:]), np.uint8)
    pixels[: len(faces)] = faces[:n]
    for row, drawn in enumerate(rng.integers(len(faces), size=max(n - len(faces), 0)), start=len(faces)):
        pixels[row] = changed(faces[drawn], rng)
    return pixels


def changed(face: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A face (48, 48, 1) uint8, up to 2 pixels moved, 5 % scaled, 20 % and 20 grey levels brightened, as JPEG."""
    scale = rng.uniform(0.95, 1.05)
    right, down = rng.uniform(-2, 2, size=2) + 23.5 * (1 - scale)
    matrix = np.array([[scale, 0, right], [0, scale, down]])
    moved = cv2.warpAffine(face, matrix, (48, 48), borderMode=cv2.BORDER_REPLICATE)
    brightened = cv2.convertScaleAbs(moved, alpha=rng.uniform(0.8, 1.2), beta=rng.uniform(0, 20))
    _, jpeg = cv2.imencode(".jpg", brightened, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(50, 96))])
    decoded = cv2.imdecode(jpeg, cv2.IMREAD_GRAYSCALE)
    assert decoded is not None
    return decoded[..., None]


def timed(work: Callable[[], Result]) -> tuple[float, float, Result]:
    """Seconds on the clock, seconds of the processor, and what `work` returned."""
    clock, processor = time.perf_counter(), time.process_time()
    result = work()
    return round(time.perf_counter() - clock, 2), round(time.process_time() - processor, 2), result


def measure(faces: np.ndarray) -> dict[str, float]:
    """The search as `split` makes it, then its parts."""
    names = [str(row) for row in range(len(faces))]
    digests = [hashlib.sha256(face.tobytes()).hexdigest() for face in faces]
    rows: dict[str, list[object]] = {"face_id": [*names], "image": [*names], "label": [0] * len(faces)}
    table = faces_table(rows | {"photo_digest": [*digests]})
    small = np.stack([cut_face(face, Box(0, 0, 48, 48), THUMBNAIL)[..., 0] for face in faces])
    similarity, aligned = CONFIG.similarity, CONFIG.aligned_similarity
    clock, processor, groups = timed(lambda: group_faces(table, small, similarity, aligned))
    # not ru_maxrss, which a child takes over from the process that started it
    peak = int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024
    unique = small[np.flatnonzero(~table["photo_digest"].duplicated() & ~groups.constant)]
    _, thumbnails_s, (vectors, _) = timed(lambda: normalised(unique))
    _, pairs_s, (pairs, correlation) = timed(lambda: correlated_pairs(vectors, vectors, CANDIDATE))
    doubtful = pairs[correlation < similarity]
    _, aligned_s, _ = timed(lambda: alike_when_aligned(unique, unique, doubtful, aligned))
    return {
        "faces": len(faces),
        "unique": len(unique),
        "search_clock_s": clock,
        "search_s": processor,
        "pixels_MB": round(faces.nbytes / 2**20),
        "peak_memory_MB": round(peak),  # the pixels among it
        "thumbnails_s": thumbnails_s,
        "pairs_s": pairs_s,
        "aligned_s": aligned_s,
        "pairs": len(pairs),
        "pairs_aligned": len(doubtful),
        "near_duplicates": len(groups.near),
        "mirrored": len(groups.mirrored),
        "groups": int(groups.ids.max()) + 1,
    }


def main() -> None:
    """Measure and print, each size in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--faces", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    real = os.environ.get("MIEN_REAL_DATA")
    folder = arguments.folder or (Path(real) / "fer2013" if real else None)
    if folder is None:
        print("benchmarks.duplicates: skipped; name a folder with FER2013's restore.py, or set MIEN_REAL_DATA")
    elif arguments.faces:
        print(json.dumps(measure(enlarged(fer2013(folder), arguments.faces)), indent=2))
    else:
        for size in SIZES:
            command = [sys.executable, "-m", "benchmarks.duplicates", str(folder), "--faces", str(size)]
            subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
