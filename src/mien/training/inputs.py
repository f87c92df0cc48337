"""What tune and train both start from: faces of train and validation, the network's input, and a name for it all."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mien.base.errors import UserError
from mien.base.records import opened, read_record
from mien.base.state import code_digest, digest
from pipelines.compose import Config

if TYPE_CHECKING:
    from mien.crop.packed import PackedFaces
    from mien.models.spec import ModelSpec
    from mien.training.dataset import LabelledFaces
    from mien.training.recipe import Recipe

FACES: Final = Path("build/crop")
PARTS: Final = Path("build/split")
BEST: Final = Path("build/tune/best.yaml")
SPLIT_ANEW: Final = "`dvc repro split` writes it anew"
GROUPS: Final = ("model", "augment", "optim", "train")
# What the result of a training or a search depends on; a change of it must not continue an older one's checkpoint.
CODE: Final = ("src/mien/models", "src/mien/training", "src/mien/search", "pipelines/tune.py", "pipelines/train.py")


@dataclass(frozen=True)
class Inputs:
    """Faces, network and settings of one training."""

    spec: "ModelSpec"
    recipe: "Recipe"
    train: "LabelledFaces"
    val: "LabelledFaces"
    data_digest: str
    split_digest: str

    def identity(self, config: Config, **more: Any) -> str:
        """The digest of configuration, data and code."""
        groups = {group: dataclasses.asdict(config.groups[group]) for group in ("data", *GROUPS)}
        return digest(groups, self.data_digest, self.split_digest, code_digest(*CODE), more)

    def run_name(self, config: Config) -> str:
        """What people call the training: `sample · resnet16 · 48 px grey`."""
        colour = {"rgb": "RGB", "grey": "grey"}[self.spec.colour]
        return f"{config.data.name} · {config.choices['model']} · {self.spec.size} px {colour}"


def read_inputs(config: Config, root: Path | None = None) -> Inputs:
    """The outs of crop and split, with the configuration's recipe; the test part stays closed."""
    from mien.crop.packed import open_faces
    from mien.models.spec import ModelSpec
    from mien.training.recipe import Recipe

    base = root or Path.cwd()
    faces = open_faces(base / FACES)
    recipe = Recipe(*(config.groups[group] for group in GROUPS))
    cut = {key: faces.spec[key] for key in ("size", "colour", "margin", "square", "apply_exif_rotation")}
    split = read_record(base / PARTS / "split.json", {"digest": str, "data_digest": str}, SPLIT_ANEW)
    if split["data_digest"] != faces.spec["digest"]:
        raise UserError(f"{PARTS} was made from other faces than {FACES} holds; {SPLIT_ANEW}.")
    return Inputs(
        spec=ModelSpec(architecture=dataclasses.asdict(recipe.model), classes=tuple(faces.spec["classes"]), **cut),
        recipe=recipe,
        train=_part(base, "train", faces),
        val=_part(base, "val", faces),
        data_digest=faces.spec["digest"],
        split_digest=split["digest"],
    )


def _part(base: Path, name: str, faces: "PackedFaces") -> "LabelledFaces":
    import pandas as pd

    from mien.training.dataset import LabelledFaces, soft_labels

    file = base / PARTS / f"{name}.parquet"
    part = opened(file, lambda table: pd.read_parquet(table, columns=["row", "label", "votes"]), SPLIT_ANEW)
    labels = part["label"].to_numpy()
    votes = soft_labels(part["votes"].tolist(), labels, len(faces.spec["classes"]))
    return LabelledFaces(faces.pixels, part["row"].to_numpy(), labels, votes)


def read_best(recipe: "Recipe", base: Path | None = None) -> tuple[dict[str, Any], "Recipe"]:
    """What tune handed on, and the recipe with its values.

    Raises:
        UserError: best.yaml is missing, damaged, or has values for other settings than this version of mien knows.
    """
    anew = "`dvc repro tune` writes it anew"
    keys = {"digest": str, "made_on": object, "values": dict, "overruled": dict, "trials": int}
    best = read_record((base or Path()) / BEST, keys, anew)
    try:
        return best, recipe.with_values(best["values"])
    except (KeyError, ValueError, TypeError) as error:
        raise UserError(f"{BEST}: values: {error.args[0]}; {anew}.") from error
