"""A network as an ONNX graph: stored pixels in, logits and calibrated probabilities out, for any number of faces."""

import logging
import warnings
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mien.inference.classifier import INPUT, LOGITS, PROBABILITIES
from mien.models.spec import ModelSpec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import nn

    from mien.inference.classifier import OnnxMetadata
    from mien.models.networks import Network

OPSET: Final = 18  # what PyTorch's exporter writes without converting; onnxruntime reads it since 1.14


def write_graph(network: "Network", spec: ModelSpec, temperature: float, file: Path) -> None:
    """Write `faces` (N, size, size, C) uint8 to `logits` (N, classes) and `probabilities`, float32, N being any."""
    import torch

    faces = torch.zeros((2, spec.cut.size, spec.cut.size, spec.cut.channels), dtype=torch.uint8)
    with _quiet():
        torch.onnx.export(
            _calibrated(network, temperature),
            (faces,),
            file,
            input_names=[INPUT],
            output_names=[LOGITS, PROBABILITIES],
            dynamic_shapes={INPUT: {0: torch.export.Dim("N")}},
            opset_version=OPSET,
            external_data=False,
            verbose=False,
            dynamo=True,
        )


def stamp(file: Path, about: "OnnxMetadata") -> None:
    """Write the metadata into an ONNX file, in place of what it said before."""
    import onnx

    graph = onnx.load(file)
    del graph.metadata_props[:]
    onnx.helper.set_model_props(graph, about.as_text())
    graph.producer_name, graph.producer_version = "mien", about.mien
    onnx.save(graph, file)


def _calibrated(network: "Network", temperature: float) -> "nn.Module":
    """Faces as mien keeps them, channels last, to logits and to probabilities at the temperature."""
    import torch
    from torch import nn

    class Calibrated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, faces: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            logits = self.network(faces.permute(0, 3, 1, 2))
            return logits, torch.softmax(logits / temperature, dim=1)

    return Calibrated().eval()


@contextmanager
def _quiet() -> "Iterator[None]":
    """Keep the exporter from telling of libraries that no network here uses."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    before = [logger.level for logger in loggers]
    with warnings.catch_warnings(), redirect_stdout(StringIO()):
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, before, strict=True):
                logger.setLevel(level)
