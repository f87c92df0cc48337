"""What tracking costs a training: the same training with and without the live logger, in turn.

    python -m benchmarks.tracking [PAIRS] [EPOCHS]

Drawn noise stands for faces (853 to learn from, as the sample has): the cost does not depend on what is learnt. Each
time is that of a whole fresh process, from its start to its end, as a stage of the pipeline is: with imports, with
closing the run and with publishing the training's files. The store is an sqlite database, created before.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

TRAINING = """
import dataclasses, json, sys
from pathlib import Path
import numpy as np
import pandas as pd
from mien.models.saved import ModelSpec
from mien.models.settings import ModelConfig
from mien.training.faces import LabelledFaces
from mien.training.fit import fit
from mien.training.recipe import Recipe
from mien.training.settings import AugmentConfig, OptimConfig, TrainConfig
root, name, tracked, epochs = Path(sys.argv[1]), sys.argv[2], sys.argv[3] == "tracked", int(sys.argv[4])
random = np.random.default_rng(0)
pixels = random.integers(0, 255, (1038, 48, 48, 1), dtype=np.uint8)
labels = random.integers(0, 7, 1038)
parts = [LabelledFaces(pixels, rows, labels[rows]) for rows in (np.arange(853), np.arange(853, 1038))]
recipe = Recipe(ModelConfig("resnet", width=16), AugmentConfig(), OptimConfig(),
                TrainConfig(epochs=epochs, patience=0, threads=1))
spec = ModelSpec(dataclasses.asdict(recipe.model), 48, "grey")
config = {"model": dataclasses.asdict(recipe.model), "augment": dataclasses.asdict(recipe.augment),
          "optim": dataclasses.asdict(recipe.optim), "train": dataclasses.asdict(recipe.train)}
lineage = {"digest": name, "run": name, "data": "benchmark", "title": "noise", "drawn": True,
           "model": "resnet16", "choices": {}, "config": config, "search": {"trials": 0, "overruled": {}},
           "data_digest": "d" * 32, "split_digest": "s" * 32, "precision": "auto", "parameters": 1}
if tracked:
    from mien.tracking.files import training_identity, training_params
    from mien.tracking.run import RunLogger
    logger = RunLogger(root, training_identity(lineage), close_within=30)
    logger.params(training_params(lineage))
fitted = fit(spec, recipe, *parts, root / name, listener=logger.metrics if tracked else None, verbose=False)
(root / "build/train").mkdir(parents=True, exist_ok=True)
pd.DataFrame(fitted.history).to_csv(root / "build/train/history.csv", index=False)
(root / "build/train/lineage.json").write_text(json.dumps(lineage))
if tracked:
    logger.close(publish=True)
"""


@dataclass(frozen=True)
class Bench:
    """A folder with a store, and trainings in it."""

    root: Path
    epochs: int

    def seconds(self, name: str, *, tracked: bool) -> float:
        """The time of one training in a fresh process.

        Raises:
            RuntimeError: the training was not tracked to the end, so that its time says nothing.
        """
        word = "tracked" if tracked else "alone"
        command = [sys.executable, "-c", TRAINING, str(self.root), name, word, str(self.epochs)]
        start = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        seconds = time.perf_counter() - start
        if "tracking stopped" in done.stderr:
            raise RuntimeError(done.stderr)
        return seconds


def main() -> None:
    """Print both times and the ratio, pair by pair; what comes first in a pair changes from pair to pair."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", type=int, nargs="?", default=5)
    parser.add_argument("epochs", type=int, nargs="?", default=30)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        Bench(Path(folder), 1).seconds("creates the store", tracked=True)
        bench = Bench(Path(folder), options.epochs)
        pairs = []
        for i in range(options.pairs):
            order = (False, True) if i % 2 == 0 else (True, False)
            took = {tracked: bench.seconds(f"{tracked} {i}", tracked=tracked) for tracked in order}
            pairs.append((took[False], took[True]))
            ratio, load = took[True] / took[False], os.getloadavg()[0]
            print(f"alone {took[False]:6.2f} s  tracked {took[True]:6.2f} s  ratio {ratio:.3f}  load {load:.1f}")
            sys.stdout.flush()
    alone, tracked = (statistics.median(column) for column in zip(*pairs, strict=True))
    cost = 100 * (statistics.median(t / a for a, t in pairs) - 1)
    print(f"{options.epochs} epochs: alone {alone:.2f} s, tracked {tracked:.2f} s, cost {cost:+.1f} % (medians)")


if __name__ == "__main__":
    main()
