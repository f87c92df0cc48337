"""Benchmark of memory: tune (one trial), train (one epoch) and evaluate on generated faces, 2 million by default.

    python -m benchmarks.memory FOLDER [--faces 2000000]

FOLDER gets outs of crop and split (4.6 GB for 2 million faces of 48 x 48, grey), which are used again. Memory is
anonymous memory (RssAnon) of a stage's process and its children, sampled five times a second: pages of the memory map
are not part of it, as the system takes them back. Linux only.
"""

import argparse
import json
import os
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
import psutil

from mien.base.classes import EXPRESSIONS

ROOT = Path(__file__).resolve().parent.parent
SHARES = {"train": 0.7, "val": 0.15, "test": 0.15}
RECIPE = ["data=sample", "model=lenet48", "augment=batched", "optim=adamw", "train=cnn48", "trainer=single"]
RECIPE += ["optim.warmup_epochs=0.0", "train.epochs=1", "train.batch_size=512", "train.patience=0"]
SHORT = ["tune.trials=1", "tune.epochs=1", "tune.prune_after=1", "tune.startup_trials=1"]
STAGES = {
    "tune": [*RECIPE, "tune=quick", *SHORT, "tune.confirm={best: 0, seeds: 0}"],
    "train": RECIPE,
    "evaluate": ["data=sample", "evaluate=standard", "evaluate.bootstrap=100"],
}


def generate(folder: Path, n: int) -> None:
    """The outs of crop and split, for `n` random faces of `n` photos."""
    crop, split = folder / "build/crop", folder / "build/split"
    for made in (crop, split, folder / "build/ingest", folder / "reports"):
        made.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    pixels = np.lib.format.open_memmap(crop / "faces.npy", "w+", np.uint8, (n, 48, 48, 1))
    for start in range(0, n, 100_000):
        part = pixels[start : start + 100_000]
        part[:] = random.integers(0, 256, part.shape, np.uint8)
    pixels.flush()
    names = pd.Series(np.arange(n)).astype(str).str.zfill(8)
    index = pd.DataFrame(
        {
            "row": np.arange(n),
            "face_id": names + ".jpg:0",
            "image": names + ".jpg",
            "label": random.integers(0, 7, n).astype(np.int8),
            "confidence": np.float32(80),
            **{name: np.int32(value) for name, value in (("top", 0), ("left", 0), ("right", 48), ("bottom", 48))},
            "face_size": np.int32(48),
            "source_split": "",
            "person": "",
            "photo_digest": "p" + names,
            "face_digest": "f" + names,
            "votes": None,
        }
    )
    index["votes"] = index["votes"].astype(object)
    index.to_parquet(crop / "index.parquet", index=False)
    cut = {"size": 48, "colour": "grey", "margin": 0.0, "square": False}
    (crop / "crop.json").write_text(json.dumps({"cut": cut, "classes": EXPRESSIONS, "n": n, "digest": "generated"}))
    edges = np.cumsum([0, *(round(share * n) for share in SHARES.values())])
    for name, first, last in zip(SHARES, edges, edges[1:], strict=False):
        rows = index.iloc[first:last].assign(group=np.arange(first, last), leaked=False)
        rows.to_parquet(split / f"{name}.parquet", index=False)
    about = {"digest": "generated", "test_faces": "generated", "data_digest": "generated", "parts": {}}
    (split / "split.json").write_text(json.dumps(about))


def anonymous(process: psutil.Process) -> int:
    """Bytes of anonymous memory of a process and its children."""
    total = 0
    with suppress(psutil.Error):
        for one in (process, *process.children(recursive=True)):
            with suppress(OSError, IndexError):
                status = Path(f"/proc/{one.pid}/status").read_text()
                total += int(status.split("RssAnon:")[1].split()[0]) * 1024
    return total


def measure(stage: str, choices: list[str], folder: Path) -> dict[str, float]:
    """Run a stage; its seconds, and the most memory that it took."""
    paths = {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", "MIEN_STATE": str(folder / "state")}
    store = {"MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}"}
    start, most = time.perf_counter(), 0
    command = [sys.executable, "-m", "pipelines", stage, *choices]
    running = psutil.Popen(command, cwd=folder, env={**os.environ, **paths, **store})
    while running.poll() is None:
        most = max(most, anonymous(running))
        time.sleep(0.2)
    if running.returncode:
        raise SystemExit(f"{stage} failed")
    return {"seconds": round(time.perf_counter() - start), "peak_MB": round(most / 1e6)}


def main() -> None:
    """Generate what is missing, run the stages and print a row for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--faces", type=int, default=2_000_000)
    arguments = parser.parse_args()
    folder = arguments.folder.resolve()
    if not (folder / "build/split/split.json").exists():
        generate(folder, arguments.faces)
    print(json.dumps({stage: measure(stage, choices, folder) for stage, choices in STAGES.items()}, indent=2))


if __name__ == "__main__":
    main()
