"""ONNX export of a network: the graph used for every inference.

PyTorch trains, and onnxruntime answers: what `evaluate` measures is the file that a registered version holds.
"""

import copy
import hashlib
import json
import logging
import tempfile
import warnings
from contextlib import redirect_stdout
from dataclasses import asdict
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from mien.base.errors import UserError
from mien.models.description import ModelSpec
from mien.runtime.session import INPUT, LOGITS, Model, open_graph, softmax
from mien.runtime.spec import FORMAT, Spec

if TYPE_CHECKING:
    from torch import nn

# torch and onnx take seconds to import, so the functions that need them import them.

EXPORTERS: Final = ("torch.onnx", "onnxscript", "onnx_ir")  # loggers, which report on libraries that nothing needs
OPSET: Final = 18  # written by PyTorch's exporter without a conversion; onnxruntime reads it since 1.14
MOST_CHECKED: Final = 512  # faces on which the graph is compared with PyTorch
TOLERANCE: Final = 1e-4  # of any probability: float32 sums in another order differ by 1e-6 or so


def export_graph(network: "nn.Module", spec: ModelSpec, file: Path, faces: np.ndarray) -> None:
    """Write `faces` (N, size, size, C) uint8 to `logits` (N, classes) float32 as ONNX, for any N.

    The network stays as it is, on any device. The file is written only where the graph gives the network's answers to
    the first `MOST_CHECKED` of `faces`, such as validation faces; otherwise it is a UserError.
    """
    import torch
    from torch import nn

    from mien.models.weights import predict_logits

    class ChannelsLast(nn.Module):
        """The network behind faces as they are stored: channels last."""

        def __init__(self, network: nn.Module) -> None:
            super().__init__()
            self.network = network

        def forward(self, faces: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.network(faces.permute(0, 3, 1, 2))
            return logits

    exported = copy.deepcopy(network).cpu().eval()
    example = torch.zeros((2, *spec.cut.shape), dtype=torch.uint8)
    for name in EXPORTERS:
        logging.getLogger(name).setLevel(logging.ERROR)
    with warnings.catch_warnings(), redirect_stdout(StringIO()):
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            ChannelsLast(exported).eval(),
            (example,),
            input_names=[INPUT],
            output_names=[LOGITS],
            dynamic_shapes={INPUT: {0: torch.export.Dim("N")}},
            opset_version=OPSET,
            verbose=False,
            dynamo=True,
        )
    assert program is not None
    graph = without_metadata(program.model_proto).SerializeToString(deterministic=True)
    some = faces[:MOST_CHECKED]
    with tempfile.TemporaryDirectory(prefix="mien-graph-") as scratch:
        unchecked = Path(scratch) / file.name
        unchecked.write_bytes(graph)
        model = Model(open_graph(unchecked, spec.serving(None)), spec.serving(None))
        apart = np.abs(softmax(model.logits(some)) - softmax(predict_logits(exported, some)))
    if apart.size and not apart.max() <= TOLERANCE:
        raise UserError(
            f"the ONNX graph of the network differs from PyTorch by {apart.max():.2g} in a probability on {len(some)} "
            f"faces, and {TOLERANCE:g} is allowed; try another version of torch or onnxruntime."
        )
    file.write_bytes(graph)


def without_metadata(model: Any) -> Any:
    """The ONNX model without paths and source lines of PyTorch's exporter, so that equal weights give equal bytes."""
    graph = model.graph
    values = (*graph.input, *graph.output, *graph.value_info, *graph.initializer)
    for owner in (model, graph, *graph.node, *values):
        owner.ClearField("metadata_props")
        owner.ClearField("doc_string")
    model.producer_name, model.producer_version = "mien", ""
    return model


def model_identity(file: Path, spec: Spec) -> str:
    """The digest of all that decides an answer: equal identity, equal answers.

    It covers the graph, classes, cut, temperature and the format of the spec. The bytes of the file stand for the
    graph: `export_graph` leaves nothing in them that depends on the place or the time of the export.
    """
    graph = hashlib.sha256(file.read_bytes()).hexdigest()
    text = json.dumps([graph, FORMAT, asdict(spec)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]
