"""Benchmark of tracking: the same training without a store and with working and failing stores.

    python -m benchmarks.tracking [ROUNDS] [EPOCHS]

Drawn noise stands for faces (853 to learn from, as the sample has): the cost does not depend on what is learnt. Each
time is that of a whole fresh process, from its start to its end, as the stage `train` is: the imports, the training,
its files and the end of the run. The stores: none (twice, which shows the noise), sqlite, a real MLflow server over
sqlite, and that server behind a proxy that refuses, hangs, answers 500, or does so only after its fifth batch.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mien.tracking.store import URI, connect
from tests.faults import FaultProxy, fault_proxy
from tests.servers import mlflow_server

TRAINING: Final = """
import sys
from pathlib import Path
root, name, tracked, epochs = Path(sys.argv[1]), sys.argv[2], sys.argv[3] == "tracked", int(sys.argv[4])
import dataclasses, json
import numpy as np
import pandas as pd
from mien.base.listener import Listener, following
from mien.models.description import ModelConfig, ModelSpec
from mien.runtime.spec import CutSpec
from mien.training.dataset import LabelledFaces
from mien.training.fit import fit
from mien.training.recipe import AugmentConfig, OptimConfig, Recipe, TrainConfig, TrainerConfig
random = np.random.default_rng(0)
pixels = random.integers(0, 255, (1038, 48, 48, 1), dtype=np.uint8)
labels = random.integers(0, 7, 1038)
parts = [LabelledFaces(pixels, rows, labels[rows]) for rows in (np.arange(853), np.arange(853, 1038))]
recipe = Recipe(ModelConfig("resnet", width=16), AugmentConfig(), OptimConfig(),
                TrainConfig(epochs=epochs, patience=0), TrainerConfig(threads=1))
spec = ModelSpec(dataclasses.asdict(recipe.model), CutSpec(48, "grey"))
lineage = {"digest": name, "run": name, "data": "benchmark", "model": "resnet16", "choices": {},
           "config": dataclasses.asdict(recipe), "search": {"trials": 0, "overruled": {}},
           "data_digest": "d" * 32, "split_digest": "s" * 32, "precision": "auto", "parameters": 1}
listener = Listener()
if tracked:
    from mien.tracking.live import LiveTracking
    listener = LiveTracking(root)
with following(listener, lineage):
    fitted = fit(spec, recipe, *parts, root / name, listener=listener, verbose=False)
    (root / "build/train").mkdir(parents=True, exist_ok=True)
    pd.DataFrame(fitted.history).to_csv(root / "build/train/history.csv", index=False)
    (root / "build/train/lineage.json").write_text(json.dumps(lineage))
"""

# A store's name, whether it fails, and how the proxy is told.
Prepare = Callable[[FaultProxy], None]
FAULTS: Final[dict[str, Prepare]] = {
    "down": lambda proxy: proxy.set("refuse"),
    "hangs": lambda proxy: proxy.set("hang"),
    "500": lambda proxy: proxy.set("500"),
    "dies": lambda proxy: proxy.fail_at("runs/log-batch", 5, "refuse"),
    "hangs later": lambda proxy: proxy.fail_at("runs/log-batch", 5, "hang"),
}
KINDS: Final = ("none", "none again", "sqlite", "server", *FAULTS)


@dataclass(frozen=True)
class Bench:
    """A folder with a store, a server, and trainings."""

    folder: Path
    epochs: int
    server: str

    def seconds(self, kind: str, name: str) -> float:
        """The time of one training in a fresh process.

        Raises:
            RuntimeError: it did not warn where the store fails: its time says nothing.
        """
        if kind not in FAULTS:
            uri = self.server if kind == "server" else f"sqlite:///{self.folder}/mlflow.db"
            return self._run(name, uri, tracked=not kind.startswith("none"), fails=False)
        with fault_proxy(self.server) as proxy:
            FAULTS[kind](proxy)
            return self._run(name, proxy.address, tracked=True, fails=True)

    def _run(self, name: str, uri: str, *, tracked: bool, fails: bool) -> float:
        root = Path(tempfile.mkdtemp(dir=self.folder))
        command = [sys.executable, "-c", TRAINING, str(root), name]
        command += ["tracked" if tracked else "alone", str(self.epochs)]
        start = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, URI: uri})
        seconds = time.perf_counter() - start
        warned = "mien sync" in done.stderr
        if fails and not warned:
            raise RuntimeError(f"{name} at {uri}: the store failed, and there was no warning")
        if warned and not fails:  # a busy machine: what was not sent in time goes up after the stage
            print(f"{name}: {done.stderr.strip()}", flush=True)
        shutil.rmtree(root)
        return seconds


def main() -> None:
    """Print each round's times, then the medians of the ratios to that round's training without tracking."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rounds", type=int, nargs="?", default=5)
    parser.add_argument("epochs", type=int, nargs="?", default=30)
    options = parser.parse_args()
    rounds: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        connect(f"sqlite:///{folder}/mlflow.db")
        (folder / "server").mkdir()
        shutil.copyfile(folder / "mlflow.db", folder / "server/mlflow.db")
        with mlflow_server(f"sqlite:///{folder}/server/mlflow.db", folder / "server") as server:
            bench = Bench(folder, options.epochs, server)
            for i in range(options.rounds):
                turned = KINDS[i % len(KINDS) :] + KINDS[: i % len(KINDS)]  # what comes first changes
                rounds.append({kind: bench.seconds(kind, f"{kind} {i}") for kind in turned})
                row = "  ".join(f"{kind} {rounds[-1][kind]:.1f}" for kind in KINDS)
                print(f"{row}  load {os.getloadavg()[0]:.1f}", flush=True)
    print(f"{options.epochs} epochs, {options.rounds} rounds, beside no tracking (median {_none(rounds):.1f} s):")
    for kind in KINDS[1:]:
        costs = sorted(100 * (times[kind] / times["none"] - 1) for times in rounds)
        more = statistics.median(times[kind] - times["none"] for times in rounds)
        print(f"{kind:12} {statistics.median(costs):+6.1f} %  ({costs[0]:+.1f} to {costs[-1]:+.1f})  {more:+.2f} s")


def _none(rounds: list[dict[str, float]]) -> float:
    return statistics.median(times["none"] for times in rounds)


if __name__ == "__main__":
    main()
