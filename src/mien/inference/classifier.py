"""Loaded models: the graph with its spec, name, card and files."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mien import __version__
from mien.base.errors import UserError
from mien.base.files import KINDS, read_record, rerun
from mien.models.description import CARD, LINEAGE, read_spec
from mien.runtime.session import GRAPH_FILE, Model, check_graph, open_graph, open_session
from mien.runtime.spec import FORMAT, SPEC_FILE, Spec, UnusableModel, read_spec_file, spec_of

if TYPE_CHECKING:
    from mien.models.networks import Network

MOST_THREADS: Final = 8  # more only wait for one another in networks of this size
EXPORT_AGAIN: Final = "`mien export` writes one that fits"


def version_words(name: str, version: int | None) -> str:
    """A model as people call it: its name, with the version where it is registered."""
    return name if version is None else f"{name} version {version}"


@dataclass(frozen=True)
class ModelFiles:
    """A folder of a model's files, and whose they are; `version` and `run_id` are None unless it is registered."""

    folder: Path
    name: str  # of the registered model, or the folder as a person named it
    version: int | None = None
    run_id: str | None = None
    scratch: Any = None  # the temporary folder of files that were fetched: it goes with this object


@dataclass(frozen=True)
class LoadedModel(Model):
    """An open graph with its spec, and what people want to know of the model. Several threads may ask at once."""

    name: str  # "mien-sample", or the folder or file
    version: int | None = None  # of the registered model; None for a folder
    title: str = ""  # the data set, for people
    drawn: bool = False  # learnt from drawings, not from photographs
    card: str = ""  # Markdown: data, numbers, where it fails, what it is for; "" where the model brings none
    files: ModelFiles | None = None  # None: an ONNX file alone

    def network(self) -> "Network":
        """The network in PyTorch, read again on each call, for heat maps; a UserError where there is only a graph."""
        if self.files is None:
            wanted = "name the registered model that it was exported from"
            raise UserError(f"{self.says} has only a graph, and a heat map needs the network in PyTorch; {wanted}.")
        from mien.models.weights import load_model  # PyTorch, which nothing else here needs

        return load_model(self.files.folder)[0]

    @property
    def says(self) -> str:
        """`mien-expw version 3`, or the folder or file."""
        return version_words(self.name, self.version)

    @property
    def warning(self) -> str:
        """What a person must know who asks it about photographs, after its name; "" where there is nothing."""
        learnt = f"learnt from drawings ({self.title or 'drawn sample'})"
        return f"{learnt}; on a photograph its answers mean nothing" if self.drawn else ""


def load_files(files: ModelFiles) -> LoadedModel:
    """The model in a folder, what the train stage wrote or a registered version; a UserError if it cannot be read.

    A registered version brings its temperature; that of build/train stands in the folder of the evaluate stage.
    """
    folder = files.folder
    if not (folder / GRAPH_FILE).is_file():
        raise UserError(f"{folder} holds no model: {GRAPH_FILE} is missing; `dvc repro train` writes it.")
    try:
        if (folder / SPEC_FILE).is_file():
            spec = read_spec_file(folder / SPEC_FILE)
        else:
            file = folder.parent / "evaluate" / "temperature.json"
            kept = read_record(file, {"temperature": float}, rerun("evaluate")) if file.exists() else {}
            spec = read_spec(folder).serving(kept.get("temperature"))
        session = open_graph(folder / GRAPH_FILE, spec, usable_threads())
    except UnusableModel as error:
        raise UserError(f"{error}; `dvc repro` trains and registers a model that this version can read.") from error
    about = _about_data(folder)
    title, drawn = str(about.get("title") or ""), bool(about.get("drawn", False))
    return LoadedModel(session, spec, files.name, files.version, title, drawn, read_card(folder), files)


def _about_data(folder: Path) -> Mapping[str, Any]:
    """Title and `drawn` of the data set: from the lineage of a registered version, else from the checkout's conf/data.

    A training does not depend on them, so that its own lineage holds the data set's name alone.
    """
    if not (folder / LINEAGE).exists():
        return {}
    lineage = read_record(folder / LINEAGE, {}, rerun("train"))
    choice = lineage.get("choices", {}).get("data", lineage.get("data"))
    file = folder.resolve().parents[1] / "conf" / "data" / f"{choice}.yaml"
    return lineage if "title" in lineage or not file.is_file() else read_record(file, {}, "see `mien check`")


def read_card(folder: Path) -> str:
    """The model card in a folder, as Markdown that a person may have edited; "" without one."""
    file = folder / CARD
    return file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""


def usable_threads() -> int:
    """As many as this process may use, which a container or `taskset` may limit, and at most `MOST_THREADS`."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(usable, MOST_THREADS)


# What an exported ONNX file says of itself beside its spec, as JSON: the fields of LoadedModel, the digest of
# configuration, data and code, float32 or int8, and the version that wrote the file.
ABOUT: Final = {"name": str, "version": object, "title": str, "drawn": bool}
METADATA: Final = {**ABOUT, "lineage": str, "precision": str, "card": str, "mien": str}


def as_metadata(loaded: LoadedModel, lineage: str, precision: str) -> dict[str, str]:
    """The texts that an exported file holds, which `read_metadata` reads."""
    values = {
        "spec": {"format": FORMAT, **asdict(loaded.spec)},
        **{key: getattr(loaded, key) for key in ABOUT},
        "lineage": lineage,
        "precision": precision,
        "card": loaded.card,
        "mien": __version__,
    }
    return {key: json.dumps(value) for key, value in values.items()}


def load_onnx(file: Path) -> LoadedModel:
    """The model in a file that `mien export` wrote; a UserError for any other file."""
    if not file.is_file():
        raise UserError(f"{file}: there is no such file; `mien export` writes it.")
    try:
        session = open_session(file, usable_threads())
        spec, about = read_metadata(session.get_modelmeta().custom_metadata_map, file)
        check_graph(session, spec, file)
    except UnusableModel as error:
        raise UserError(f"{error}; {EXPORT_AGAIN}.") from error
    return LoadedModel(session, spec, **{key: about[key] for key in (*ABOUT, "card")})


def read_metadata(text: Mapping[str, str], file: Path) -> tuple[Spec, dict[str, Any]]:
    """Spec, and a value for each key of METADATA; UnusableModel where another program wrote the file."""
    if "mien" not in text or "spec" not in text:
        raise UnusableModel(f"{file} is an ONNX file, but no export of mien: it lacks the crop settings and classes")
    values = {}
    for key, kind in {"spec": object, **METADATA}.items():
        try:
            values[key] = json.loads(text[key])
        except (KeyError, ValueError) as error:
            raise UnusableModel(f"{file} lacks {key} as this version of mien writes it") from error
        if not isinstance(values[key], kind):
            raise UnusableModel(f"{file}: {key} must be {KINDS[kind]}, not {text[key][:40]}")
    return spec_of(values.pop("spec"), str(file)), values
