"""What reading FER2013's csv costs beside NumPy's own parser, and the whole ingest in seconds and MB.

    python -m benchmarks.fer2013_csv [FOLDER]

FOLDER holds fer2013.csv; without it, `restore.py` in $MIEN_REAL_DATA/fer2013 writes the csv first. Ways, one after the
other in turn, in processor time of one thread:

- numpy: `np.fromstring` of each pixel string, already in memory, to uint8: the quickest way that NumPy has;
- loadtxt: `np.loadtxt` of the same strings;
- parse_pixels: mien's, of the same strings, every value checked;
- read_csv: mien's, from the file: reading, splitting, labels, parts and the pixels, every value checked.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np

from mien.sources.fer2013 import Fer2013
from mien.sources.fer2013_csv import find_csv, parse_pixels, read_csv

REPEATS = 5
ROWS_AT_ONCE = 120  # as read_csv hands them over


def compare(folder: Path) -> dict[str, float]:
    """Seconds of each way (median) and the median of its ratios to `numpy`."""
    file = find_csv(folder)
    texts = [line.split(b",")[1] for line in file.read_bytes().splitlines()[1:]]
    starts = range(0, len(texts), ROWS_AT_ONCE)
    ways: dict[str, Callable[[], object]] = {
        "numpy": lambda: [np.fromstring(text, np.uint8, sep=" ") for text in texts],
        "loadtxt": lambda: np.loadtxt(texts, np.uint8),
        "parse_pixels": lambda: [parse_pixels(texts[start : start + ROWS_AT_ONCE]) for start in starts],
        "read_csv": lambda: deque(read_csv(file), maxlen=0),
    }
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(REPEATS):
        for name, way in ways.items():
            start = time.process_time()
            way()
            taken[name].append(time.process_time() - start)
    seconds = {f"{name}_s": round(median(times), 2) for name, times in taken.items()}
    ratios = {
        f"{name}_times_numpy": round(median(np.divide(times, taken["numpy"]).tolist()), 2)
        for name, times in taken.items()
    }
    return seconds | ratios


def ingest(folder: Path) -> dict[str, float]:
    """Seconds of `ingest` and of the first `photos`, and the peak of resident memory in MB (Linux), in this process."""
    start = time.perf_counter()
    faces = Fer2013().ingest(folder).faces
    ingested = time.perf_counter()
    with tempfile.TemporaryDirectory() as unpacked:
        Fer2013().photos(folder, Path(unpacked))
    peak = int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024
    return {
        "rows": len(faces),
        "ingest_s": round(ingested - start, 1),
        "photos_s": round(time.perf_counter() - ingested, 1),
        "peak_MB": round(peak),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--ingest", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.ingest:
        print(json.dumps(ingest(arguments.folder)))
        return
    real = os.environ.get("MIEN_REAL_DATA")
    if arguments.folder is None and real is None:
        print("benchmarks.fer2013_csv: skipped; name a folder with fer2013.csv, or set MIEN_REAL_DATA")
        return
    with tempfile.TemporaryDirectory() as written:
        folder = arguments.folder or Path(written)
        if arguments.folder is None:
            restore = Path(str(real)) / "fer2013/restore.py"
            subprocess.run([sys.executable, restore, folder / "fer2013.csv"], check=True)
        command = [sys.executable, "-m", "benchmarks.fer2013_csv", str(folder), "--ingest"]
        whole = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        print(json.dumps({"ingest": whole, "decoding": compare(folder)}, indent=2))


if __name__ == "__main__":
    main()
