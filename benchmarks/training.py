"""Benchmark of training on a CPU: mien against a plain PyTorch loop and Keras, images per second.

    python -m benchmarks.training [--batches 128 512] [--rounds 5] [--keras PYTHON]
    python -m benchmarks.training --augmentation [--rounds 5]

All train the reference network of 1,375,175 parameters on the same generated 48 x 48 grey faces, resident and without
augmentation; with --augmentation mien trains its compact network without, with batched and with standard augmentation,
and says what share of each step batched augmentation takes, which no change of the host's speed alters.
Each way is a process of its own, in turn with the others. Its speed is what the fastest tenth of its steps after the
first epoch reach, since a shared host halves the speed of any of them for seconds at a time.
PYTHON is an interpreter with tensorflow-cpu and keras (an environment of its own).
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median, quantiles
from typing import Any, Literal

FACES = 4096
AUGMENTED = ("none", "batched", "standard")
KERAS = """
import os, sys, time
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import numpy as np, tensorflow as tf, keras
from keras import layers as L
batch, policy, faces, epochs = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
tf.config.threading.set_intra_op_parallelism_threads(2)
keras.mixed_precision.set_global_policy(policy)
net = keras.Sequential([
    L.Input((48, 48, 1)), L.Rescaling(1 / 64, -2),
    L.Conv2D(64, 5, activation="relu"), L.Conv2D(64, 5, activation="relu"), L.MaxPooling2D(), L.Dropout(0.4),
    L.Conv2D(128, 3, activation="relu"), L.Conv2D(128, 3, activation="relu"), L.MaxPooling2D(), L.Dropout(0.4),
    L.Flatten(), L.Dense(128, activation="relu"), L.Dense(7, dtype="float32")])
assert net.count_params() == 1_375_175
net.compile(keras.optimizers.Adam(1e-3), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
random = np.random.default_rng(0)
x, y = random.integers(0, 256, (faces, 48, 48, 1), np.uint8), random.integers(0, 7, faces)
class Clock(keras.callbacks.Callback):
    def on_train_batch_begin(self, step, logs=None): self.start = time.perf_counter()
    def on_train_batch_end(self, step, logs=None): print(batch / (time.perf_counter() - self.start))
net.fit(x, y, batch_size=batch, epochs=epochs, verbose=0, callbacks=[Clock()])
"""


def epochs(batch: int) -> int:
    """Enough for 40 steps after the first epoch, and at least two more."""
    return max(3, 1 + 40 * batch // FACES)


def faces() -> Any:
    """Generated faces `(FACES, 48, 48, 1)` uint8 and labels."""
    import numpy as np

    random = np.random.default_rng(0)
    return random.integers(0, 256, (FACES, 48, 48, 1), np.uint8), random.integers(0, 7, FACES)


def mien_speed(
    batch: int,
    network: Literal["cnn5x5", "resnet"] = "cnn5x5",
    augment: str = "none",
    shares: list[float] | None = None,
) -> list[float]:
    """Images a second of each step of `fit`; `shares` gets that of batched augmentation in the time of each."""
    import dataclasses

    import numpy as np
    import pytorch_lightning as pl

    from mien.models.description import ModelConfig, ModelSpec
    from mien.runtime.spec import CutSpec
    from mien.training.augmentation import BatchAugmentation
    from mien.training.dataset import LabelledFaces
    from mien.training.fit import fit
    from mien.training.recipe import AugmentConfig, OptimConfig, Recipe, TrainConfig, TrainerConfig

    class Timed(BatchAugmentation):
        def __call__(self, *arguments: Any) -> Any:
            start = time.perf_counter()
            changed = super().__call__(*arguments)
            self.seconds = time.perf_counter() - start
            return changed

    class Clock(pl.Callback):
        def __init__(self) -> None:
            self.speeds: list[float] = []

        def on_train_start(self, trainer: pl.Trainer, task: Any) -> None:
            if shares is not None:
                task.augmentation = Timed(recipe.augment, 7)

        def on_train_epoch_start(self, *_: object) -> None:
            self.start = time.perf_counter()

        def on_train_batch_end(self, trainer: pl.Trainer, task: Any, *_: object) -> None:
            now = time.perf_counter()  # with the time that reading the batch took
            self.speeds.append(batch / (now - self.start))
            if shares is not None:
                shares.append(task.augmentation.seconds / (now - self.start))
            self.start = now

    pixels, labels = faces()
    model = ModelConfig(network, width=16, dropout=0.4)
    train = TrainConfig(epochs=epochs(batch), batch_size=batch, patience=0)
    augmentation = AugmentConfig(strength=float(augment != "none"), batched=augment == "batched")
    optim = OptimConfig("adam", schedule="constant", weight_decay=0.0)
    recipe = Recipe(model, augmentation, optim, train, TrainerConfig(threads=2))
    every, few = LabelledFaces(pixels, np.arange(FACES), labels), LabelledFaces(pixels, np.arange(256), labels[:256])
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        spec = ModelSpec(dataclasses.asdict(model), CutSpec(48, "grey"))
        fit(spec, recipe, every, few, Path(folder), callbacks=[clock], verbose=False)
    return clock.speeds


def plain_speed(batch: int) -> list[float]:
    """Images a second of each step of a loop in PyTorch alone: the same network, precision, layout and optimiser."""
    import torch
    from torch.nn import functional

    from mien.models.description import ModelConfig
    from mien.models.networks import build_model
    from mien.runtime.spec import CutSpec
    from mien.training.hardware import keep_freed_memory, to_channels_last
    from mien.training.recipe import OptimConfig
    from mien.training.task import make_optimizer

    torch.set_num_threads(2)
    keep_freed_memory()
    pixels, labels = (torch.from_numpy(array) for array in faces())
    network = build_model(ModelConfig("cnn5x5", dropout=0.4), CutSpec(48, "grey"), 7)
    to_channels_last(network)
    optimizer = make_optimizer(network, OptimConfig("adam", weight_decay=0.0))
    speeds = []
    for _ in range(epochs(batch)):
        order = torch.randperm(FACES)
        for i in range(0, FACES - batch + 1, batch):
            start = time.perf_counter()
            rows = order[i : i + batch]
            with torch.autocast("cpu", torch.bfloat16):
                logits = network(pixels[rows].permute(0, 3, 1, 2))
            loss = functional.cross_entropy(logits.float(), labels[rows])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            speeds.append(batch / (time.perf_counter() - start))
    return speeds


def run(way: str, batch: int, keras: str | None) -> float:
    """Images a second of one way, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.training", "--way", way, "--batches", str(batch)]
    if way.startswith("keras"):
        policy = "mixed_bfloat16" if way == "keras bf16" else "float32"
        command = [str(keras), "-c", KERAS, str(batch), policy, str(FACES), str(epochs(batch))]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return quantiles(map(float, out.split()[FACES // batch :]), n=10)[-1]


def main() -> None:
    """Run the ways in turn, and print their speeds and mien's ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=int, nargs="+", default=[128, 512])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--keras", metavar="PYTHON")
    parser.add_argument("--ways", nargs="+", help="mien, plain, keras bf16, keras float32; default: all that can run")
    parser.add_argument("--way", help=argparse.SUPPRESS)
    parser.add_argument("--augmentation", action="store_true")
    arguments = parser.parse_args()
    if arguments.way in AUGMENTED:
        print(*mien_speed(arguments.batches[0], "resnet", arguments.way))
        return
    if arguments.way:
        print(*{"mien": mien_speed, "plain": plain_speed}[arguments.way](arguments.batches[0]))
        return
    ways = arguments.ways or ["mien", "plain", *(["keras bf16", "keras float32"] if arguments.keras else [])]
    if arguments.augmentation:
        ways, arguments.batches = list(AUGMENTED), [128]
    report = {}
    for batch in arguments.batches:
        rounds = []
        for number in range(1, arguments.rounds + 1):
            rounds.append({way: run(way, batch, arguments.keras) for way in ways})
            speeds = ", ".join(f"{way} {speed:.0f}" for way, speed in rounds[-1].items())
            print(f"batch {batch}, round {number}: {speeds} images/s", flush=True)
        found = {way: round(median(speed[way] for speed in rounds)) for way in ways}
        ratios = {way: sorted(round(speed[ways[0]] / speed[way], 2) for speed in rounds) for way in ways[1:]}
        report[f"batch {batch}"] = {"images/s": found, f"{ways[0]} by each, by round": ratios}
    print(json.dumps(report, indent=2))
    for network in ("resnet", "cnn5x5") if arguments.augmentation else ():
        shares: list[float] = []
        mien_speed(128, network, "batched", shares)
        print(f"{network}: batched augmentation takes {median(shares):.1%} of a step")


if __name__ == "__main__":
    main()
