"""Benchmark of the first answer of `mien predict PHOTO` from a cold start.

    python -m benchmarks.first_answer PHOTO MODEL [MODEL ...] [--runs N]

MODEL is anything that `mien predict --model` takes, such as models:/mien-expw@champion and a file that `mien export`
wrote; `-` is no --model at all. Each run is a fresh process; the models take turns. Beside the wall clock stands the
processor time, which other users of the machine change less. "Cold" means a fresh process: the files are in the
operating system's cache after the first run, which is not counted.
"""

import argparse
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple


class Run(NamedTuple):
    """Seconds of one process."""

    wall: float
    processor: float


def answer(photo: str, model: str) -> Run:
    """One fresh process that predicts a photo."""
    command = [str(Path(sys.executable).with_name("mien")), "predict", photo]
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command if model == "-" else [*command, "--model", model], capture_output=True, check=True)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return Run(wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def main() -> None:
    """Print a row for each model: best and median of its runs."""
    parser = argparse.ArgumentParser(description="Seconds to the first answer of `mien predict`.")
    parser.add_argument("photo")
    parser.add_argument("models", nargs="+")
    parser.add_argument("--runs", type=int, default=7)
    asked = parser.parse_args()
    runs: dict[str, list[Run]] = {model: [] for model in asked.models}
    for number in range(asked.runs + 1):
        for model in asked.models:
            run = answer(asked.photo, model)
            if number:
                runs[model].append(run)
    print(f"{'model':40} {'best':>8} {'median':>8} {'processor':>10}   (seconds, {asked.runs} runs)")
    for model, found in runs.items():
        walls, processor = [run.wall for run in found], statistics.median(run.processor for run in found)
        print(f"{model[-40:]:40} {min(walls):8.2f} {statistics.median(walls):8.2f} {processor:10.2f}")


if __name__ == "__main__":
    main()
