"""Benchmark of `mien video`, by step.

    python -m benchmarks.video [VIDEO] [--detector NAME[=FILE]] [--model MODEL]

VIDEO is by default `$MIEN_REAL_DATA/photos/smiling-portrait.mp4` (1280 x 720, 146 frames of one face); the detector is
yunet, its FILE where `mien detector` puts it. MODEL is what `mien predict --model` takes; without it the network of
mien's own presets for photographs (resnet32, 48 px grey) with the weights it is born with: they cost the same.

First the whole, end to end: decode, detect, predict, draw, encode, each run a video written anew. Then each step by
itself: wall clock and CPU milliseconds a frame. The steps overlap in threads, so the whole takes less than their sum.
"""

import argparse
import dataclasses
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Final

import numpy as np

from mien.inference.address import load_model_of
from mien.inference.annotation import FRAMES_A_BATCH, annotate_video, draw_into
from mien.inference.classifier import LoadedModel, usable_threads
from mien.inference.predictor import Predictor
from mien.inference.video import Frame, open_video, write_video
from mien.models.description import ModelConfig, ModelSpec
from mien.models.graph import export_graph
from mien.runtime.cut import Box
from mien.runtime.session import open_graph
from mien.runtime.spec import CutSpec
from mien.sources.detect import PredictConfig, build_detector

REPEATS: Final = 5


def born() -> LoadedModel:
    """The network of mien's presets for photographs, untrained."""
    spec = ModelSpec(dataclasses.asdict(ModelConfig("resnet", width=32, dropout=0.2)), CutSpec(48, "grey"))
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "model.onnx"
        export_graph(spec.build(), spec, file, np.zeros((1, 48, 48, 1), np.uint8))
        serving = spec.serving(1.0)
        return LoadedModel(open_graph(file, serving, usable_threads()), serving, "resnet32, untrained")


def whole(predictor: Predictor, video: Path) -> tuple[float, float, int]:
    """Frames a second by the clock, CPU milliseconds a frame, and the number of frames."""
    with tempfile.TemporaryDirectory() as folder:
        wall, cpu = time.perf_counter(), time.process_time()
        report = annotate_video(predictor, video, Path(folder) / "out.mp4")
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return report.frames / wall, 1e3 * cpu / report.frames, report.frames


def steps(predictor: Predictor, video: Path) -> dict[str, Callable[[], object]]:
    """Each step over the same frames; a step's input is made before."""
    with open_video(video) as source:
        frames = list(source.frames())
    found = [predictor.detector.detect(frame.pixels) for frame in frames]
    boxes = [[one.box for one in some] for some in found]
    faces = np.concatenate([predictor.cut(frame.pixels, some) for frame, some in zip(frames, boxes, strict=True)])
    starts = range(0, len(faces), FRAMES_A_BATCH)

    def encode() -> None:
        with tempfile.TemporaryDirectory() as folder, open_video(video) as source:
            write_video(Path(folder) / "out.mp4", source, frames)

    return {
        "decode": lambda: _decode(video),
        "detect": lambda: [predictor.detector.detect(frame.pixels) for frame in frames],
        "cut": lambda: [predictor.cut(frame.pixels, some) for frame, some in zip(frames, boxes, strict=True)],
        "predict": lambda: [predictor.model.probabilities(faces[at : at + FRAMES_A_BATCH]) for at in starts],
        "draw": lambda: _draw(frames, boxes),
        "encode": encode,
    }


def _decode(video: Path) -> None:
    with open_video(video) as source:
        for _ in source.frames():
            pass


def _draw(frames: list[Frame], boxes: list[list[Box]]) -> None:
    for frame, some in zip(frames, boxes, strict=True):
        draw_into(frame.pixels, [(box, "1  happy 90%", "happy") for box in some])


def main() -> None:
    """Print the whole and its parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = Path(os.environ.get("MIEN_REAL_DATA", "")) / "photos" / "smiling-portrait.mp4"
    parser.add_argument("video", nargs="?", type=Path, default=default)
    parser.add_argument("--detector", default="yunet", metavar="NAME[=FILE]")
    parser.add_argument("--model", default="")
    said = parser.parse_args()
    if not said.video.is_file():
        sys.exit(f"{said.video}: there is no such file; name a video, or set MIEN_REAL_DATA.")
    name, _, file = said.detector.partition("=")
    settings = PredictConfig(detector=name, detector_file=file)
    predictor = Predictor(load_model_of(said.model) if said.model else born(), build_detector(settings), settings)
    runs = [whole(predictor, said.video) for _ in range(REPEATS)]
    print(f"{said.video.name}, {runs[0][2]} frames, {predictor.detector.name}, {predictor.model.says}")
    rates = sorted(rate for rate, _, _ in runs)
    cpu = median(one for _, one, _ in runs)
    print(f"end to end: {median(rates):.1f} frames/s ({rates[0]:.1f} to {rates[-1]:.1f}), {cpu:.1f} ms CPU a frame")
    for step, run in steps(predictor, said.video).items():
        wall, spent = time.perf_counter(), time.process_time()
        run()
        wall, spent = time.perf_counter() - wall, time.process_time() - spent
        print(f"{step:8s} {1e3 * wall / runs[0][2]:6.1f} ms a frame, {1e3 * spent / runs[0][2]:6.1f} ms CPU")


if __name__ == "__main__":
    main()
