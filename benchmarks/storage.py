"""What a large data set costs on disk: 50,000 photos in 7z volumes or as files, kept by DVC as copies or as links.

    python -m benchmarks.storage [--photos N] [--folder FOLDER]

Draws photos (cuts of smooth noise, about 20 kB each), packs them as ExpW is packed, and measures in checkouts
of this repository in FOLDER (else the system's temporary folder; they need 6 GB): `dvc add`, `dvc status`,
ingest and crop in seconds, and what data, cache, unpacked photos and outs take on the disk, where a file with
several links counts once.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

import cv2
import multivolumefile
import numpy as np
import py7zr
import yaml

ROOT = Path(__file__).resolve().parent.parent
VOLUME = 256 * 2**20
MB = 10**6
DATA = {"name": "large", "source": "expw", "path": "data/large", "title": "50,000 drawn photos", "drawn": True}
LINKS = {"copy": "reflink,copy", "link": "hardlink,symlink,copy"}  # DVC's default, and this repository's choice


def photos(count: int) -> Iterator[bytes]:
    """JPEG files of 320 x 240 pixels: random cuts, of which one in 400 comes twice."""
    random = np.random.default_rng(0)
    noise = random.random((10, 1200, 1600, 3), np.float32)
    blurred = [cv2.GaussianBlur(one, (0, 0), 2.5) for one in noise]
    sheets = [((one - one.min()) / np.ptp(one) * 255).astype(np.uint8) for one in blurred]
    for number in range(count):
        top, left = random.integers(0, 1200 - 240), random.integers(0, 1600 - 320)
        cut = sheets[number % len(sheets)][top : top + 240, left : left + 320]
        yield cv2.imencode(".jpg", cut, [cv2.IMWRITE_JPEG_QUALITY, 85])[1].tobytes()


def draw(folder: Path, count: int) -> None:
    """`files/` with label.lst and origin/, and `volumes/` with label.lst and origin.7z.001, ..."""
    origin = folder / "files/origin"
    origin.mkdir(parents=True)
    (folder / "volumes").mkdir()
    for number, data in enumerate(photos(count)):
        (origin / f"{number:06d}.jpg").write_bytes(data)
    rows = [
        f"{n:06d}.jpg 0 {20 + n % 60} {30 + n % 90} {150 + n % 90} {140 + n % 60} 60.0 {n % 7}" for n in range(count)
    ]
    for place in ("files", "volumes"):
        (folder / place / "label.lst").write_text("".join(f"{row}\n" for row in rows))
    copy = [{"id": py7zr.FILTER_COPY}]  # JPEGs do not shrink
    with (
        multivolumefile.open(folder / "volumes/origin.7z", "wb", volume=VOLUME) as target,
        py7zr.SevenZipFile(cast(BinaryIO, target), "w", filters=copy) as archive,
    ):
        archive.writeall(origin, "origin")


def checkout(folder: Path, data: Path, cache_type: str) -> Path:
    """A checkout of this repository with the data in data/large, and nothing in its cache."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in listed.splitlines():
        if name not in ("dvc.lock", "data.dvc"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
    (folder / "conf/data/large.yaml").write_text(yaml.safe_dump(DATA))
    choices = yaml.safe_load((folder / "params.yaml").read_text())
    (folder / "params.yaml").write_text(yaml.safe_dump({**choices, "data": "large"}))
    shutil.copytree(data, folder / "data/large")
    seconds(folder, "git", "init", "-q")
    seconds(folder, "dvc", "config", "cache.type", cache_type)
    return folder


def seconds(folder: Path, *command: str) -> float:
    """Wall time of a command in a checkout, with the code of that checkout."""
    path = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "PYTHONPATH": f"{folder / 'src'}:{folder}"}
    start = time.perf_counter()
    done = subprocess.run(command, cwd=folder, env={**path, "HOME": str(folder.parent)}, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return round(time.perf_counter() - start, 1)


def megabytes(*folders: Path) -> float:
    """What the folders take on the disk together, as `du` counts: a file with several links once."""
    blocks: dict[tuple[int, int], int] = {}
    for folder in folders:
        for file in folder.rglob("*"):
            status = file.lstat()
            blocks[status.st_dev, status.st_ino] = status.st_blocks * 512
    return round(sum(blocks.values()) / MB)


def measure_add(root: Path) -> dict[str, float]:
    """Time of `dvc add` and of a `dvc status` after it, and disk used by data and cache together."""
    data, cache = root / "data/large", root / ".dvc/cache"
    alone = megabytes(data)
    return {
        "dvc_add_s": seconds(root, "dvc", "add", "data/large"),
        "dvc_status_s": seconds(root, "dvc", "status", "data/large.dvc"),
        "data_MB": alone,
        "data_and_cache_MB": megabytes(data, cache),
        "cache_files": sum(f.is_file() for f in cache.rglob("*")),
    }


def measure_stages(root: Path) -> dict[str, float]:
    """Times of the stages that read the photos, and disk used once they have."""
    data, cache = megabytes(root / "data"), root / ".dvc/cache"
    return {
        "ingest_s": seconds(root, "dvc", "repro", "ingest"),
        "crop_s": seconds(root, "dvc", "repro", "crop"),
        "repro_again_s": seconds(root, "dvc", "repro", "crop"),
        "outs_MB": megabytes(root / "build", root / "reports"),
        "outs_and_data_and_cache_MB": megabytes(root / "build", root / "reports", root / "data", cache),
        "data_MB": data,
        "unpacked_MB": megabytes(root / ".mien"),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=50_000)
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    report: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory(dir=arguments.folder) as scratch:
        start = time.perf_counter()
        draw(Path(scratch) / "raw", arguments.photos)
        report["drawing"] = {"seconds": round(time.perf_counter() - start, 1)}
        for place in ("volumes", "files"):
            for name, cache_type in LINKS.items():
                root = checkout(Path(scratch) / f"{place}-{name}", Path(scratch) / "raw" / place, cache_type)
                report[f"{place}, {name}"] = measure_add(root)
                if name == "link":
                    report[f"{place}, {name}"] |= measure_stages(root)
                print(f"{place}, {name}: {json.dumps(report[f'{place}, {name}'])}", flush=True)
                shutil.rmtree(root)
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
