"""A network from an ONNX file, run by onnxruntime: neither PyTorch nor MLflow is needed, nor imported."""

import importlib.util
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from mien.errors import UserError
from mien.predict.classifier import BATCH
from mien.predict.loaded import LoadedModel
from mien.predict.onnx_metadata import ANEW, OnnxMetadata, read_metadata

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

SUFFIX: Final = ".onnx"
INPUT: Final = "faces"
LOGITS: Final = "logits"
PROBABILITIES: Final = "probabilities"
MOST_THREADS: Final = 8  # more only wait for one another in networks of this size


@dataclass(frozen=True)
class OnnxClassifier:
    """An ONNX file, opened; several threads may ask at once."""

    session: "InferenceSession"

    def logits(self, faces: np.ndarray, batch_size: int = BATCH) -> np.ndarray:
        """Logits (N, classes) float32 of faces (N, size, size, C) uint8."""
        parts = []
        for start in range(0, max(len(faces), 1), batch_size):  # no face at all is an empty batch
            batch = np.ascontiguousarray(faces[start : start + batch_size])
            parts.append(self.session.run([LOGITS], {INPUT: batch})[0])
        return np.concatenate(parts)


def load_onnx(file: Path) -> LoadedModel:
    """The model in a file that `mien export` wrote.

    Raises:
        UserError: there is no such file, it is damaged, another program's or of another version, or onnxruntime is
            not installed or too old for it.
    """
    session, about = open_onnx(file)
    return LoadedModel(
        classifier=OnnxClassifier(session),
        spec=about.spec,
        temperature=about.temperature,
        name=about.name,
        version=about.version,
        title=about.title,
        drawn=about.drawn,
        card=about.card,
    )


def open_onnx(file: Path, threads: int | None = None) -> "tuple[InferenceSession, OnnxMetadata]":
    """A session on the CPU and what the file says of itself.

    Args:
        file: of mien's.
        threads: for one face or batch; None: as many as this process may use, at most `MOST_THREADS`.

    Raises:
        UserError: as `load_onnx`.
    """
    if not file.is_file():
        raise UserError(f"{file}: there is no such file; `mien export` writes it.")
    if importlib.util.find_spec("onnxruntime") is None:
        raise UserError(
            f"{file} needs onnxruntime, which is not installed: `pip install -c constraints.txt '.[onnx]'`."
        )
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or min(_processors(), MOST_THREADS)
    # Threads that wait by turning round and round take the processor from others: beside busy neighbours a face took
    # six times as long with it, and no less alone.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 4  # what matters is raised
    session = _session(onnxruntime, file, options)
    about = read_metadata(session.get_modelmeta().custom_metadata_map, file)
    _refuse_other_graph(session, about, file)
    return session, about


def _session(onnxruntime: Any, file: Path, options: Any) -> "InferenceSession":
    try:
        return onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors have no other parent in common
        raise UserError(
            f"{file} cannot be read by onnxruntime {onnxruntime.__version__} ({_reason(error)}): it is damaged, "
            f"no ONNX file, or needs a newer onnxruntime; {ANEW}."
        ) from error


def _reason(error: Exception) -> str:
    """The end of onnxruntime's sentence, which begins with places in its own source."""
    text = str(error).strip().splitlines()[0]
    if opset := re.search(r"Opset (\d+) is under development", text):
        return f"it is of opset {opset[1]}"
    return text.rpartition("failed:")[2].rpartition(" : ")[2].rstrip(".:")[:100]


def _refuse_other_graph(session: "InferenceSession", about: OnnxMetadata, file: Path) -> None:
    """Refuse a file whose graph does not take the faces that its metadata speak of."""
    spec = about.spec
    wanted = ("tensor(uint8)", [spec.size, spec.size, spec.channels])
    inputs = {node.name: (node.type, node.shape[1:]) for node in session.get_inputs()}
    outputs = {node.name: node.shape[1:] for node in session.get_outputs()}
    if inputs != {INPUT: wanted} or any(outputs.get(key) != [len(spec.classes)] for key in (LOGITS, PROBABILITIES)):
        raise UserError(f"{file}: its graph does not take the faces or give the classes that it says; {ANEW}.")


def _processors() -> int:
    """How many this process may use: fewer than the machine has where a container or `taskset` says so."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
