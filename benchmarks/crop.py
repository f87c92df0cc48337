"""Benchmark of cropping against the usual loop: speed and memory.

    python -m benchmarks.crop [FOLDER]

FOLDER is an ExpW-shaped data set (`label.lst` and `origin/` or its archive); without it `$MIEN_REAL_DATA/expw`.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median

import cv2
import numpy as np
import pandas as pd

from mien.crop.cropping import CropConfig, crop_faces
from mien.sources.expw import ExpW
from mien.sources.photos import FolderPhotos

GOAL = 2.0
REPEATS = 5
TIMES_LARGER = 20
ALL_FACES = CropConfig(min_confidence=-1.0)  # 64 x 64 RGB
GREY = replace(ALL_FACES, size=48, colour="grey")


def reference_loop(faces: pd.DataFrame, root: Path, config: CropConfig) -> None:
    """A decode per row on one core, slice, grey where asked for, resize: what the reference systems do."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    cut = []
    columns = (faces[name].tolist() for name in ("image", "top", "left", "right", "bottom"))
    for image, top, left, right, bottom in zip(*columns, strict=True):
        photo = cv2.imread(str(root / image))
        assert photo is not None
        face = photo[max(top, 0) : bottom, max(left, 0) : right]
        if config.colour == "grey":
            face = cv2.cvtColor(face, cv2.COLOR_BGR2GRAY)
        cut.append(cv2.resize(face, (config.size, config.size)))
    np.stack(cut)
    cv2.setNumThreads(threads)


def compare_speed(faces: pd.DataFrame, root: Path, config: CropConfig, repeats: int) -> dict[str, float]:
    """Photos a second of each way and the median of their ratios, taken in turn."""
    with tempfile.TemporaryDirectory() as folder:

        def ours() -> None:
            crop_faces(faces, FolderPhotos(root), config, Path(folder), progress=False)

        ways: dict[str, Callable[[], None]] = {
            "reference": lambda: reference_loop(faces, root, config),
            "mien": ours,
        }
        taken: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(repeats):
            for name, way in ways.items():
                start = time.perf_counter()
                way()
                taken[name].append(time.perf_counter() - start)
    photos = faces["image"].nunique()
    speeds = {f"{name}_photos_per_s": round(photos / median(times)) for name, times in taken.items()}
    ratios = {
        f"{name}_times_reference": round(median(np.divide(taken["reference"], taken[name]).tolist()), 2)
        for name in ways
    }
    return speeds | ratios


def peak_memory(label_folder: Path, root: Path, times: int) -> float:
    """Peak resident memory in MB (Linux) of cropping the set `times` over, in a process of its own, by links."""
    with tempfile.TemporaryDirectory() as folder:
        links = Path(folder) / "origin"
        links.mkdir()
        for photo in root.iterdir():
            for copy in range(times):
                (links / f"{copy}_{photo.name}").symlink_to(photo.resolve())
        command = [sys.executable, "-m", "benchmarks.crop", str(label_folder), "--linked", str(links), str(times)]
        return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def crop_linked(label_folder: Path, links: Path, times: int) -> float:
    """Crop all copies in this process; its peak resident memory in MB."""
    faces = ExpW().ingest(label_folder).faces
    copies = [faces.assign(image=f"{i}_" + faces["image"], face_id=f"{i}_" + faces["face_id"]) for i in range(times)]
    with tempfile.TemporaryDirectory() as folder:
        crop_faces(pd.concat(copies, ignore_index=True), FolderPhotos(links), ALL_FACES, Path(folder), progress=False)
    # not ru_maxrss, which a child takes over from the process that started it
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("--linked", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    real = os.environ.get("MIEN_REAL_DATA")
    folder = arguments.folder or (Path(real) / "expw" if real else None)
    if folder is None:
        print("benchmarks.crop: skipped; name a folder with label.lst and origin/, or set MIEN_REAL_DATA")
        return
    if arguments.linked:
        print(crop_linked(folder, Path(arguments.linked[0]), int(arguments.linked[1])))
        return
    source = ExpW()
    with tempfile.TemporaryDirectory() as unpacked:
        faces = source.ingest(folder).faces
        photos = source.photos(folder, Path(unpacked))
        assert isinstance(photos, FolderPhotos)
        speed = {
            f"{config.size} {config.colour}": compare_speed(faces, photos.root, config, arguments.repeats)
            for config in (GREY, ALL_FACES)
        }
        memory = {f"x{n}_MB": round(peak_memory(folder, photos.root, n)) for n in (1, TIMES_LARGER)}
    report = {"speed": speed, "goal_times_reference": GOAL, "peak_memory": memory}
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
