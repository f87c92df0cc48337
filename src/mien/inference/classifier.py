"""Loaded models: a folder's PyTorch network or an ONNX file, with classes and temperature."""

import dataclasses
import importlib.util
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

from mien.base.classes import CLASS_SETS
from mien.base.errors import UserError
from mien.base.records import KINDS, read_record
from mien.models.spec import ANEW, LINEAGE, ModelSpec
from mien.runtime.session import softmax
from mien.runtime.spec import SPEC_FILE, UnusableModel, cut_of, read_spec_file

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

    from mien.models.networks import Network

BATCH: Final = 256  # faces at a time


class Classifier(Protocol):
    """A trained network, whatever runs it."""

    def logits(self, faces: np.ndarray, batch_size: int = BATCH) -> np.ndarray:
        """Logits (N, classes) float32 of faces (N, size, size, C) uint8."""
        ...


@dataclass(frozen=True)
class TorchClassifier:
    """A network that PyTorch runs."""

    network: "Network"

    def logits(self, faces: np.ndarray, batch_size: int = BATCH) -> np.ndarray:
        """Logits (N, classes) float32 of faces (N, size, size, C) uint8."""
        from mien.models.weights import predict_logits

        return predict_logits(self.network, faces, batch_size)


EXPORT_ANEW: Final = "`mien export` writes one that fits"
OWN: Final = "mien"  # the key that says whose file it is: the version of mien that wrote it
SPEC: Final[dict[str, type]] = {
    "classes": list,
    "cut": dict,
    "architecture": dict,
}
REST: Final[dict[str, type]] = {
    "name": str,
    "title": str,
    "drawn": bool,
    "lineage": str,
    "precision": str,
    "card": str,
}
NULLABLE: Final[dict[str, type]] = {"temperature": float, "version": int}


@dataclass(frozen=True)
class OnnxMetadata:
    """The metadata of a file."""

    spec: ModelSpec
    temperature: float | None  # that the file's `probabilities` are divided by; None: never fitted
    name: str  # of the registered model, or the folder that it was exported from
    version: int | None  # of the registered model
    title: str  # the data set, for people
    drawn: bool  # learnt from drawings
    lineage: str  # the digest of configuration, data and code; "" where the model's files do not tell
    precision: str  # float32 or int8
    card: str  # Markdown
    mien: str  # the version that wrote the file

    def as_text(self) -> dict[str, str]:
        """A value in JSON for each key; the keys of the spec stand among the others."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self) if field.name != "spec"}
        return {key: json.dumps(value) for key, value in {**dataclasses.asdict(self.spec), **values}.items()}


def read_metadata(text: Mapping[str, str], file: Path) -> OnnxMetadata:
    """The metadata in a file's keys and texts.

    Raises:
        UserError: the file is another program's, or of another version of mien; file and key are named.
    """
    if OWN not in text:
        raise UserError(
            f"{file} is an ONNX file, but none of mien's: it does not say how its faces are cut and what its classes "
            f"are; {EXPORT_ANEW}."
        )
    known = {OWN: str, **SPEC, **REST, **NULLABLE}
    values = {key: _value(text, key, kind, file) for key, kind in known.items()}
    classes = tuple(values["classes"])
    if classes not in CLASS_SETS.values():
        raise UserError(
            f"{file}: its classes {', '.join(map(str, classes))} are unknown to this version; {EXPORT_ANEW}."
        )
    try:
        cut = cut_of(values["cut"], str(file))
    except UnusableModel as error:
        raise UserError(f"{error}; {EXPORT_ANEW}.") from error
    spec = ModelSpec(values["architecture"], cut, classes)
    return OnnxMetadata(spec=spec, **{key: values[key] for key in (OWN, *REST, *NULLABLE)})


def _value(text: Mapping[str, str], key: str, kind: type, file: Path) -> Any:
    if key not in text:
        raise UserError(f"{file} lacks {key}, as another version of mien wrote it; {EXPORT_ANEW}.")
    try:
        value = json.loads(text[key])
    except ValueError as error:
        raise UserError(f"{file}: {key} is damaged ({text[key][:40]!r}); {EXPORT_ANEW}.") from error
    if value is None and key in NULLABLE:
        return None
    fits = isinstance(value, int | float if kind is float else kind)
    if not fits or (isinstance(value, bool) and kind is not bool):
        raise UserError(f"{file}: {key} must be {KINDS[kind]}, not {text[key][:40]}; {EXPORT_ANEW}.")
    return value


SERVED: Final = Path("artifacts") / "model"  # below the folder of a registered model
CARD: Final = "card.md"
LONGEST_CARD: Final = 200_000  # bytes; mien's own are some thousand


@dataclass(frozen=True)
class LoadedModel:
    """What a predictor needs of a model, and what people want to know of it."""

    classifier: Classifier
    spec: ModelSpec
    temperature: float | None  # None: never fitted, so that probabilities are not calibrated
    name: str  # "mien-sample", or the folder or file
    version: int | None  # of the registered model; None for a folder
    title: str  # the data set, for people
    drawn: bool  # learnt from drawings, not from photographs
    card: str = ""  # Markdown: data, numbers, where it fails, what it is for; "" where the model brings none

    def probabilities(self, faces: np.ndarray) -> np.ndarray:
        """Calibrated probabilities (N, classes) float64, in the order of the classes, of (N, size, size, C) uint8.

        Raises:
            ValueError: the faces have another form.
        """
        expected = (self.spec.cut.size, self.spec.cut.size, self.spec.cut.channels)
        if faces.shape[1:] != expected or faces.dtype != np.uint8:
            raise ValueError(f"faces must be N x {expected} uint8, not {faces.shape} {faces.dtype}")
        return softmax(self.classifier.logits(faces), self.temperature or 1.0)

    @property
    def says(self) -> str:
        """`mien-expw version 3`, or the folder or file."""
        return self.name if self.version is None else f"{self.name} version {self.version}"


def load_model_of(said: str) -> LoadedModel:
    """The model that a person means: `models:/NAME@ALIAS`, `models:/NAME/VERSION`, a file `x.onnx`, or a folder.

    Raises:
        NoSuchModel: the registry has none of that name, version or alias.
        UserError: the store cannot be reached, no model is there, or it cannot be read.
    """
    if ":/" in said:
        from mien.inference.address import load_registered

        return load_registered(said)
    if said.lower().endswith(".onnx"):
        return load_onnx(Path(said))
    return load_folder(Path(said))


def load_folder(
    folder: Path, *, name: str = "", version: int | None = None, temperature: float | None = None
) -> LoadedModel:
    """The model in a folder: what the train stage wrote, or a registered model as MLflow stores it.

    A temperature that is not given is looked for in the folder (registered models carry it), then where the
    evaluate stage writes it beside the train stage's folder.

    Raises:
        UserError: no model is there, or it cannot be read.
    """
    from mien.models.weights import load_model

    if not folder.is_dir():
        raise UserError(
            f"{folder}: there is no such folder; a model is models:/NAME@champion or a folder like build/train."
        )
    files = model_files(folder)
    network, spec = load_model(files)
    lineage = read_record(files / LINEAGE, {}, ANEW) if (files / LINEAGE).exists() else {}
    return LoadedModel(
        classifier=TorchClassifier(network),
        spec=spec,
        temperature=_temperature(files) if temperature is None else temperature,
        name=name or str(folder),
        version=version,
        title=str(lineage.get("title", "")),
        drawn=bool(lineage.get("drawn", False)),
        card=read_card(files),
    )


def model_files(folder: Path) -> Path:
    """Where a model's own files lie: in the train stage's folder itself, deeper in a registered model's."""
    return folder / SERVED if (folder / SERVED).is_dir() else folder


def read_card(folder: Path) -> str:
    """The model card in a model's folder, as Markdown; "" where there is none, as before mien wrote any.

    A person may have edited it: bytes that are no UTF-8 are replaced, and what is longer than any card is cut.
    """
    try:
        with (folder / CARD).open("rb") as file:
            return file.read(LONGEST_CARD).decode("utf-8", errors="replace")
    except OSError:
        return ""


def _temperature(folder: Path) -> float | None:
    try:
        if (folder / SPEC_FILE).exists():
            return read_spec_file(folder / SPEC_FILE).temperature
    except UnusableModel as error:
        raise UserError(f"{error}; `dvc repro` registers the model anew.") from error
    file = folder.parent / "evaluate" / "temperature.json"
    if file.exists():
        about = read_record(file, {"temperature": float}, "`dvc repro evaluate` writes it anew")
        return float(about["temperature"])
    return None


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
            f"no ONNX file, or needs a newer onnxruntime; {EXPORT_ANEW}."
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
    wanted = ("tensor(uint8)", [spec.cut.size, spec.cut.size, spec.cut.channels])
    inputs = {node.name: (node.type, node.shape[1:]) for node in session.get_inputs()}
    outputs = {node.name: node.shape[1:] for node in session.get_outputs()}
    if inputs != {INPUT: wanted} or any(outputs.get(key) != [len(spec.classes)] for key in (LOGITS, PROBABILITIES)):
        raise UserError(f"{file}: its graph does not take the faces or give the classes that it says; {EXPORT_ANEW}.")


def _processors() -> int:
    """How many this process may use: fewer than the machine has where a container or `taskset` says so."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
