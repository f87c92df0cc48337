"""How a model and another data set were brought together, in sentences for people and in numbers for files."""

from typing import Any

from mien.crossdata.classes import absent
from mien.crossdata.evaluate import CrossEvaluation
from mien.crossdata.faces import ALL
from mien.evaluation import tables
from mien.expressions import class_names


def metrics(cross: CrossEvaluation) -> dict[str, Any]:
    """What metrics.json holds: as that of the evaluate stage, with both sides named and all that was left out."""
    model = cross.model
    return {
        "data": cross.data.name,
        "part": cross.faces.part,
        "data_digest": cross.digest,
        "model": model.slug if model.loaded.version is None else model.loaded.name,
        "model_version": model.loaded.version,
        "network": model.lineage["model"],
        "learnt_from": {key: model.lineage[key] for key in ("data", "data_digest", "split_digest")},
        **tables.measured(cross.evaluation),
        "temperature_fitted_on": None if model.loaded.temperature is None else f"validation of {model.lineage['data']}",
        "left_out": {
            "learnt_from": cross.learnt_from,
            "class_unknown_to_the_model": cross.faces.unknown,
            "quarantine": {str(why): int(n) for why, n in cross.faces.quarantine["reason"].value_counts().items()},
            "unreadable_rows": cross.faces.problems,
        },
        "classes_unknown_to_the_data": cross.dropped,
    }


def sentences(cross: CrossEvaluation) -> tuple[str, ...]:
    """The same for people: which faces, which were left out, which classes, which temperature."""
    return tuple(s for s in (_faces(cross), _cut(cross), _seen(cross), *_classes(cross), _temperature(cross)) if s)


def _faces(cross: CrossEvaluation) -> str:
    part, data = cross.faces.part, cross.data.name
    which = f"All usable faces of {data}" if part == ALL else f"The {part} part that {data} itself gives"
    filtered = cross.faces.quarantine["reason"].value_counts()
    left = ", ".join(f"{n:,} {str(why).replace('_', ' ')}" for why, n in filtered.items())
    unread = cross.faces.problems
    rows = f" {unread:,} rows of the raw data set could not be read." if unread else ""
    return f"{which}; left out: {left or 'none'}.{rows}"


def _cut(cross: CrossEvaluation) -> str:
    spec = cross.model.loaded.spec
    shape = f"margin {spec.margin:g}" + (", made square" if spec.square else "")
    return f"Faces were cut from the data set's boxes as the model's own were: {spec.size} px, {spec.colour}, {shape}."


def _seen(cross: CrossEvaluation) -> str:
    if cross.learnt_from is None:
        return "Which faces the model learnt from is not written beside it: copies of them may be among these."
    if not cross.learnt_from:
        return "The model learnt from none of these faces: no photo and no pixels are the same."
    faces = "face was" if cross.learnt_from == 1 else "faces were"
    return f"{cross.learnt_from:,} {faces} left out because the model learnt from the same photo or the same pixels."


def _classes(cross: CrossEvaluation) -> list[str]:
    said = []
    for name, n in cross.faces.unknown.items():
        faces = "face" if n == 1 else "faces"
        said.append(f"{n:,} {faces} of {name} were left out: the model cannot name that class.")
    if dropped := cross.dropped:
        names = ", ".join(dropped["classes"])
        said.append(
            f"The data set cannot name {names}, so it was taken out of the model's choice and the rest scaled up to 1. "
            f"It had been the first answer on {dropped['first_answers']:,} faces; with these counted as wrong the "
            f"accuracy is {dropped['accuracy_if_wrong']:.3f}."
        )
    names_here = class_names(cross.evaluation.probabilities.shape[1])
    if missing := absent(cross.evaluation.labels, names_here):
        said.append(
            f"No face here is labelled {', '.join(missing)}: the averages over classes leave that out, and an answer "
            "of it counts as wrong."
        )
    return said


def _temperature(cross: CrossEvaluation) -> str:
    if cross.model.loaded.temperature is None:
        return "The model has no temperature, so its probabilities are not calibrated."
    return (
        f"Its probabilities are calibrated as it is used, by the temperature fitted on its own validation set "
        f"({cross.model.loaded.temperature:.3f}), which was not fitted again on these faces."
    )
