"""Inference with onnxruntime on the CPU: faces to logits and probabilities, without PyTorch."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from .spec import SPEC_FILE, Spec, UnusableModel, read_spec_file

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

GRAPH_FILE: Final = "model.onnx"
INPUT: Final = "faces"  # (N, size, size, C) uint8
LOGITS: Final = "logits"  # (N, classes) float32
BATCH: Final = 256  # faces at a time


@dataclass(frozen=True)
class Model:
    """A graph that is open, with its description; several threads may ask at once."""

    session: "InferenceSession"
    spec: Spec

    def logits(self, faces: np.ndarray, batch_size: int = BATCH) -> np.ndarray:
        """Logits (N, classes) float32 of faces (N, size, size, C) uint8; a memory map is read batch by batch."""
        starts = range(0, max(len(faces), 1), batch_size)  # no face at all is an empty batch
        batches = (np.ascontiguousarray(faces[start : start + batch_size]) for start in starts)
        return np.concatenate([self.session.run([LOGITS], {INPUT: batch})[0] for batch in batches])

    def probabilities(self, faces: np.ndarray, batch_size: int = BATCH) -> np.ndarray:
        """Calibrated probabilities (N, classes) float64 of faces (N, size, size, C) uint8."""
        return softmax(self.logits(faces, batch_size), self.spec.temperature or 1.0)


def softmax(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Probabilities (N, classes) float64 of logits divided by a temperature (Guo et al., 2017)."""
    scaled = np.asarray(logits, dtype=np.float64) / temperature
    exponentials = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True))


def open_model(folder: Path, threads: int = 1) -> Model:
    """The model in a folder, `model.onnx` and `spec.json`; UnusableModel as of `read_spec_file` and `open_graph`."""
    spec = read_spec_file(folder / SPEC_FILE)
    return Model(open_graph(folder / GRAPH_FILE, spec, threads), spec)


def open_graph(file: Path, spec: Spec, threads: int = 1) -> "InferenceSession":
    """A session of an ONNX file that fits a spec; errors as of `open_session` and `check_graph`."""
    session = open_session(file, threads)
    check_graph(session, spec, file)
    return session


def open_session(file: Path, threads: int = 1) -> "InferenceSession":
    """A session of any ONNX file, on the CPU; UnusableModel where the file is missing or damaged."""
    import onnxruntime  # takes 0.2 s, so only who opens a model waits for it

    if not file.is_file():
        raise UnusableModel(f"{file} is missing")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # Beside busy neighbours, threads that spin while they wait made a face take six times as long, and no less alone.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 4  # errors are raised as exceptions anyway
    try:
        return onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors have no other parent in common
        version = onnxruntime.__version__
        raise UnusableModel(f"{file} cannot be read by onnxruntime {version} ({_reason(error)})") from error


def _reason(error: Exception) -> str:
    """The end of onnxruntime's sentence, which begins with places in its own source."""
    text = str(error).strip().splitlines()[0]
    if opset := re.search(r"Opset (\d+) is under development", text):
        return f"it is of opset {opset[1]}"
    return text.rpartition("failed:")[2].rpartition(" : ")[2].rstrip(".:")[:100]


def check_graph(session: "InferenceSession", spec: Spec, file: Path) -> None:
    """Raise an UnusableModel, which names the file, unless a graph takes the faces and gives the classes of a spec."""
    wanted = ("tensor(uint8)", list(spec.cut.shape))
    inputs = {node.name: (node.type, node.shape[1:]) for node in session.get_inputs()}
    outputs = {node.name: node.shape[1:] for node in session.get_outputs()}
    if inputs != {INPUT: wanted} or outputs.get(LOGITS) != [len(spec.classes)]:
        raise UnusableModel(f"{file} does not take the faces or give the classes of its spec")
