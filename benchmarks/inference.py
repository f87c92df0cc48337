"""Benchmark of inference: a decoded photo with a known box to calibrated probabilities, without detection.

    python -m benchmarks.inference [ROUNDS] [THREADS]

The residual net 16, 24 and 32 wide for 48 pixels in grey, through mien's own predictor (cut, network, softmax), run by
PyTorch in float32 and, where the processor multiplies it, bfloat16 in channels-last, and by onnxruntime in float32 and
int8. Weights are those that a network is born with: they do not change its speed. All ways take turns in every round,
with one face (ms a face) and with 64 (faces a second), and a round counts the fastest of its calls: on a machine with
other users that says most of the code, and the ratio, taken within each round, most of the difference.
"""

import dataclasses
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch

from mien.inference.classifier import LoadedModel
from mien.inference.export import add_probabilities, quantise
from mien.inference.predictor import Predictor
from mien.models.description import ModelConfig, ModelSpec
from mien.models.graph import export_graph
from mien.models.networks import Network
from mien.models.weights import predict_logits
from mien.runtime.cut import Box
from mien.runtime.session import BATCH, Model, open_graph
from mien.runtime.spec import CutSpec
from mien.training.hardware import fastest_precision, to_channels_last
from tools.sample.photo import draw_photo

WIDTHS = (16, 24, 32)
BATCHES = (1, 64)
SECONDS = 0.25  # that a way has in a round
BASE = "PyTorch float32"


@dataclass(frozen=True)
class TorchModel(Model):
    """A network that PyTorch runs in float32, in place of the graph."""

    network: Network

    def logits(self, faces: np.ndarray, batch_size: int = BATCH) -> np.ndarray:
        """Logits (N, classes) float32 of (N, size, size, C) uint8."""
        return predict_logits(self.network, faces, batch_size)


@dataclass(frozen=True)
class HalfPrecision(TorchModel):
    """A network in bfloat16 and channels-last, as training runs it."""

    def logits(self, faces: np.ndarray, batch_size: int = BATCH) -> np.ndarray:
        """Logits (N, classes) float32 of (N, size, size, C) uint8."""
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            pixels = torch.from_numpy(faces).permute(0, 3, 1, 2)
            logits: np.ndarray = self.network(pixels.contiguous(memory_format=torch.channels_last)).float().numpy()
            return logits


def photos(n: int) -> list[tuple[np.ndarray, Box]]:
    """Drawn photos in grey, about 250 pixels high, each with the box of its face, about 110 pixels wide."""
    drawn = []
    for number in range(n):
        photo, (face,) = draw_photo(np.random.default_rng([9, number]), [number % 7])
        grey = cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY)[..., None]
        drawn.append((grey, Box(*face.box)))
    return drawn


def ways(width: int, folder: Path, threads: int) -> dict[str, Model]:
    """Each way of running one network."""
    torch.manual_seed(0)
    spec = ModelSpec(dataclasses.asdict(ModelConfig("resnet", width=width)), CutSpec(48, "grey"))
    network = spec.build().eval()
    faces = np.random.default_rng(0).integers(0, 255, (64, 48, 48, 1), dtype=np.uint8)
    files = [folder / f"{width}-{kind}.onnx" for kind in ("float32", "int8")]
    graph, serving = folder / f"{width}.onnx", spec.serving(1.5)
    export_graph(network, spec, graph, faces)
    add_probabilities(graph, files[0], 1.5)
    quantise(files[0], files[1], faces)
    session = open_graph(graph, serving, threads)
    found: dict[str, Model] = {BASE: TorchModel(session, serving, network)}
    if fastest_precision("cpu") == "bf16":
        half = spec.build().eval()
        to_channels_last(half)
        found["PyTorch bfloat16"] = HalfPrecision(session, serving, half)
    for file, kind in zip(files, ("float32", "int8"), strict=True):
        found[f"ONNX {kind}"] = Model(open_graph(file, serving, threads), serving)
    return found


def calls(found: dict[str, Model], batch: int) -> Iterator[tuple[str, Callable[[], object]]]:
    """For each way a function that takes `batch` faces from their photos to probabilities."""
    taken = photos(batch)
    one = next(iter(found.values()))  # all cut in the same way
    predictor = Predictor(LoadedModel(one.session, one.spec, "cut"))

    def cut() -> np.ndarray:
        return np.concatenate([predictor.cut(photo, [box]) for photo, box in taken])

    for name, model in found.items():

        def run(model: Model = model) -> object:
            return model.probabilities(cut())

        yield name, run
    yield "cut alone", cut


def seconds(run: Callable[[], object]) -> float:
    """Of the fastest call among as many as fill a quarter of a second: the others met other users of the machine."""
    fastest, end = float("inf"), time.perf_counter() + SECONDS
    while (start := time.perf_counter()) < end:
        run()
        fastest = min(fastest, time.perf_counter() - start)
    return fastest


def measure(runs: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """The seconds of a call, way by way, in rounds in which all ways take turns."""
    for run in runs.values():
        run()
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            times[name].append(seconds(run))
    return times


def main(rounds: int = 9, threads: int = 2) -> None:
    """Print a row for each network, way and batch."""
    torch.set_num_threads(threads)
    print(f"{rounds} rounds, {threads} threads; times faster: median of the rounds' ratios to {BASE}")
    print(f"{'network':9} {'way':17} {'faces':>5} {'best':>14} {'median':>14} {'times faster':>13}")
    with tempfile.TemporaryDirectory() as scratch:
        for width in WIDTHS:
            found = ways(width, Path(scratch), threads)
            for batch in BATCHES:
                times = measure(dict(calls(found, batch)), rounds)
                for name, taken in times.items():
                    ratio = statistics.median(b / t for b, t in zip(times[BASE], taken, strict=True))
                    best, median = (_shown(f(taken), batch) for f in (min, statistics.median))
                    print(f"resnet{width:<3} {name:17} {batch:5} {best:>14} {median:>14} {ratio:13.2f}", flush=True)


def _shown(taken: float, batch: int) -> str:
    return f"{1e3 * taken:.2f} ms" if batch == 1 else f"{batch / taken:,.0f} faces/s"


if __name__ == "__main__":
    main(*(int(a) for a in sys.argv[1:]))
