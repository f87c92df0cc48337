"""Inputs of tune and train: training and validation faces, settings, digests, and the values of the search."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pandas as pd
import torch

from mien.base.errors import UserError
from mien.base.files import read_out, read_record, rerun
from mien.base.state import code_digest, digest, state_folder
from mien.crop.packed import PackedFaces, open_faces
from mien.models.description import LINEAGE, TRAINING_FACES, ModelSpec, read_spec
from mien.models.networks import multiply_adds, trainable_parameters
from mien.models.weights import Parents
from mien.training.dataset import LabelledFaces, soft_labels
from mien.training.hardware import versions
from mien.training.recipe import Recipe, refuse_longer_average

FACES: Final = Path("build/crop")
SPLIT: Final = Path("build/split")
ADOPTED: Final = "adopted"  # folder of the state
BEST: Final = Path("build/tune/best.yaml")
LEARNT: Final = ["row", "label", "votes"]  # columns of a part that a training reads
# What the result of a training or a search depends on; a change of it must not continue an older one's checkpoint.
CODE: Final = ("models", "training", "search")


@dataclass(frozen=True)
class Inputs:
    """Faces, network and settings of one training."""

    data: str  # the data set's name
    choices: Mapping[str, str]  # the file of each group of conf/: {"model": "resnet16", ...}
    spec: ModelSpec
    recipe: Recipe
    train: LabelledFaces
    val: LabelledFaces
    data_digest: str
    split_digest: str
    parents: Parents = field(default_factory=dict)  # the trained models that the recipe names

    @property
    def config(self) -> dict[str, Any]:
        """The settings by group, as they are written into a lineage."""
        return {"data": {"name": self.data}, **dataclasses.asdict(self.recipe)}

    @property
    def run_name(self) -> str:
        """What people call the training: `sample · resnet16 · 48 px grey`."""
        colour = {"rgb": "RGB", "grey": "grey"}[self.spec.cut.colour]
        return f"{self.data} · {self.choices['model']} · {self.spec.cut.size} px {colour}"

    @property
    def job(self) -> tuple[ModelSpec, Recipe, LabelledFaces, LabelledFaces]:
        """What `fit` takes."""
        return self.spec, self.recipe, self.train, self.val

    def digest(self, **more: Any) -> str:
        """The digest of configuration, data with its classes, parents and code, and of whatever else is given."""
        parents = {address: parent.digest for address, parent in self.parents.items()}
        data = self.spec.classes, self.data_digest, self.split_digest
        return digest(self.config, *data, parents, code_digest(*CODE), more)

    def with_recipe(self, recipe: Recipe) -> "Inputs":
        """The same with other settings, and the network that they describe."""
        spec = dataclasses.replace(self.spec, architecture=architecture(recipe, self.parents))
        return dataclasses.replace(self, recipe=recipe, spec=spec)

    def adopted(self, root: Path | None = None) -> dict[str, Any] | None:
        """What a device brought back of exactly this training: weights, history, best_epoch, made_on; else None.

        `python -m tools.device_train adopt` puts it into the state folder, by the digest of data, settings and code.
        """
        file = state_folder(root) / ADOPTED / f"{self.digest()}.pt"
        return torch.load(file, map_location="cpu", weights_only=True) if file.exists() else None


def architecture(recipe: Recipe, parents: Parents) -> dict[str, Any]:
    """The settings that the network can be built from: of an ensemble's members theirs, in place of their addresses."""
    members = [read_spec(parents[str(address)].folder).architecture for address in recipe.model.members]
    return dataclasses.asdict(recipe.model) | {"members": members}


def read_inputs(
    data: str, recipe: Recipe, choices: Mapping[str, str], root: Path | None = None, parents: Parents | None = None
) -> Inputs:
    """The outs of crop and split, with the configuration's recipe; the test part stays closed.

    A UserError where an out is missing or damaged, or the parts belong to other faces.
    """
    base = root or Path.cwd()
    faces, split = open_split(base, ["row"])  # of millions of faces, names and digests would take a gigabyte
    return Inputs(
        data=data,
        choices=choices,
        spec=ModelSpec(architecture(recipe, parents or {}), faces.cut, faces.classes),
        recipe=recipe,
        train=labelled_faces(read_part(base, "train", LEARNT), faces),
        val=labelled_faces(read_part(base, "val", LEARNT), faces),
        data_digest=faces.digest,
        split_digest=split["digest"],
        parents=parents or {},
    )


def open_split(root: Path, columns: list[str] | None = None) -> tuple[PackedFaces, dict[str, Any]]:
    """The outs of crop, with these columns of their index, by default all, and the record of their split.

    A UserError where an out is missing or damaged, or they do not belong together.
    """
    faces = open_faces(root / FACES, columns)
    split = read_record(root / SPLIT / "split.json", {"digest": str, "data_digest": str}, rerun("split"))
    if split["data_digest"] != faces.digest:
        raise UserError(f"{SPLIT} was made from other faces than {FACES} holds; {rerun('split')}.")
    return faces, split


def read_part(root: Path, name: str, columns: list[str]) -> pd.DataFrame:
    """These columns of a part of the split; a UserError where it is missing or damaged."""
    file = root / SPLIT / f"{name}.parquet"
    return read_out(file, lambda table: pd.read_parquet(table, columns=columns), rerun("split"))


def labelled_faces(part: pd.DataFrame, faces: PackedFaces) -> LabelledFaces:
    """Faces of a split, with `row`, `label` and `votes`, as a training takes them."""
    labels = part["label"].to_numpy()
    votes = soft_labels(part["votes"].tolist(), labels, len(faces.classes))
    return LabelledFaces(faces.pixels, part["row"].to_numpy(), labels, votes)


def read_best(recipe: Recipe, root: Path | None = None) -> tuple[dict[str, Any], Recipe]:
    """What tune handed on (digest, made_on, values, overruled, trials, confirmed, stopped), and the new recipe.

    A UserError where best.yaml is missing, damaged, or has values for other settings than this version of mien knows.
    """
    file = (root or Path()) / BEST
    keys = {"made_on": object, **dict.fromkeys(("values", "overruled"), dict), "trials": int}
    keys |= dict.fromkeys(("digest", "confirmed", "stopped"), str)
    best = read_record(file, keys, rerun("tune"))
    try:
        return best, recipe.with_values(best["values"])
    except (KeyError, ValueError, TypeError) as error:
        raise UserError(f"{file}: values: {error.args[0]}; {rerun('tune')}.") from error


def training_key(inputs: Inputs, best: Mapping[str, Any], tuned: Inputs) -> str:
    """The digest that a training's state is found by: all that decides its numbers but the machine, which may change.

    The digest in `best` is of tune's moment; the code may have changed since without making tune stale. A UserError
    where the average of the weights would reach back to before the training.
    """
    refuse_longer_average(tuned.recipe.train, len(tuned.train))
    return digest(best, inputs.choices, inputs.digest(), versions())


def training_lineage(
    inputs: Inputs, best: Mapping[str, Any], tuned: Inputs, machine: Mapping[str, Any]
) -> dict[str, Any]:
    """Where a network comes from: everything that its numbers depend on, and nothing of the moment.

    `inputs` have the configuration's settings, `tuned` the values of `best`, which tune handed on; `machine`: made on.
    """
    network = tuned.spec.build()
    named = [(key, tuned.parents[address]) for key, address in tuned.recipe.parents]
    parents = [{"key": key, "name": parent.name, "weights": parent.digest} for key, parent in named]
    return {
        # The search's trials hang below the run of this digest, unless they were trained on something else.
        "digest": best["digest"] if best["made_on"] == machine else digest(best["digest"], machine),
        "run": inputs.run_name,
        "data": inputs.data,
        "model": inputs.choices["model"],
        "choices": dict(inputs.choices),
        "config": inputs.config,
        "search": {key: best[key] for key in ("trials", "overruled", "confirmed", "stopped", "made_on")},
        "data_digest": inputs.data_digest,
        "split_digest": inputs.split_digest,
        **machine,
        "parameters": trainable_parameters(network),
        "multiply_adds": multiply_adds(network, tuned.spec.cut),
        "faces": {"train": len(inputs.train), "val": len(inputs.val)},
        **({"parents": parents} if parents else {}),
    }


def write_lineage(folder: Path, lineage: Mapping[str, Any], parents: Parents, root: Path | None = None) -> None:
    """Write lineage.json, and the faces that the model learnt from: photo_digest, face_digest, group and part.

    The part is train, val, or `parent` for what its parents learnt from. Copying by batch takes little memory.
    """
    import pyarrow as pa
    from pyarrow import parquet

    (folder / LINEAGE).write_text(json.dumps(lineage, indent=2) + "\n", encoding="utf-8")
    sources = [(part, (root or Path()) / SPLIT / f"{part}.parquet") for part in ("train", "val")]
    learnt = {parent.name: parent.folder / TRAINING_FACES for parent in parents.values()}
    sources += [("parent", file) for file in learnt.values()]
    types = {"photo_digest": pa.string(), "face_digest": pa.string(), "group": pa.int64(), "part": pa.string()}
    schema = pa.schema(list(types.items()))
    with parquet.ParquetWriter(folder / TRAINING_FACES, schema) as writer:
        for part, source in sources:
            for batch in read_out(source, parquet.ParquetFile, rerun("train")).iter_batches(columns=list(types)[:3]):
                table = pa.Table.from_batches([batch]).append_column("part", pa.array([part] * len(batch)))
                writer.write_table(table.cast(schema))
