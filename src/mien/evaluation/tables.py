"""Evaluation files: metrics for people and programs, the numbers that the report draws, and who was measured."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import is_dataclass
from pathlib import Path
from types import UnionType
from typing import Any, Final, get_args, get_origin, get_type_hints

import numpy as np
import pandas as pd

from mien.base.errors import UserError
from mien.base.files import read_out, read_record, rerun
from mien.base.state import state_folder
from mien.crop.packed import learnt_from
from mien.evaluation.intervals import NAN, rounded
from mien.evaluation.scoring import Evaluation, Part, Predictions, with_slices
from mien.models.description import TRAINING_FACES, read_spec
from mien.models.graph import model_identity
from mien.runtime.session import GRAPH_FILE

NUMBERS: Final = "evaluation.json"
LOOKS: Final = "looks"
COLUMNS: Final = ("face_id", "image", "label", "predicted", "leaked", "group")


def metrics(evaluation: Evaluation, about: Mapping[str, Any]) -> dict[str, Any]:
    """The content of `metrics.json`: what was measured, as `about` says, and every number with its interval.

    Measures of probabilities are those after temperature scaling, with the ones before under "uncalibrated". A number
    that does not exist (recall of a class without a face, the interval of one photo) is null, and "leak_free" where no
    test face has a copy in training.
    """
    return {
        **about,
        **_summary(evaluation.whole),
        "uncalibrated": plain(evaluation.before),
        "temperature": rounded(evaluation.temperature.value),
        "leak_free": None if evaluation.leak_free is None else _summary(evaluation.leak_free),
    }


def _summary(part: Part) -> dict[str, Any]:
    per_class = {
        name: {**{key: rounded(score.value) for key, score in scores.items()}, "support": part.support[name]}
        for name, scores in part.intervals.per_class.items()
    }
    about = {"n": part.faces, "photos": part.photos, "majority_share": rounded(part.majority_share)}
    return {**about, **plain(part.intervals.overall), "per_class": per_class}


def temperature(evaluation: Evaluation) -> dict[str, Any]:
    """The content of `build/evaluate/temperature.json`: divide logits by "temperature" before the softmax."""
    fitted = evaluation.temperature
    losses = {key: rounded(getattr(fitted, key)) for key in ("nll_before", "nll_after")}
    return {"temperature": fitted.value, "fitted_on": fitted.faces, **losses, "note": fitted.note}


def confusion(evaluation: Evaluation) -> pd.DataFrame:
    """One row per test face with `actual` and `predicted`, as the confusion templates of `dvc plots` read it."""
    return evaluation.predictions.table[["label", "predicted"]].rename(columns={"label": "actual"})


def write_numbers(evaluation: Evaluation, folder: Path) -> None:
    """Write `evaluation.json`: all that the report shows but the predictions."""
    content = {key: value for key, value in vars(evaluation).items() if key != "predictions"}
    write_json(plain(content), folder / NUMBERS)


def write_json(content: Any, file: Path) -> None:
    """Write indented JSON; NaN is an error."""
    file.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def plain(value: Any) -> Any:
    """Dataclasses, arrays and NaN as JSON can hold them, numbers rounded to six digits."""
    match value:
        case float():
            return rounded(value)
        case np.ndarray():
            return plain(value.tolist())
        case tuple() | list():
            return [plain(one) for one in value]
        case dict():
            return {key: plain(one) for key, one in value.items()}
    return plain(vars(value)) if is_dataclass(value) else value


def _restored(kind: Any, value: Any) -> Any:
    """What `plain` was given, by its type."""
    origin, of = get_origin(kind), get_args(kind)
    if value is None:
        return NAN if kind is float else None
    if origin is UnionType:  # with None
        return _restored(of[0], value)
    if origin is dict:
        return {key: _restored(of[1], one) for key, one in value.items()}
    if origin is tuple:
        return tuple(_restored(of[0], one) for one in value)
    if origin is np.ndarray:
        return np.array(value, *get_args(of[1]))
    kinds = get_type_hints(kind) if is_dataclass(kind) else {}
    return kind(**{key: _restored(kinds[key], one) for key, one in value.items()}) if kinds else value


def read_evaluation(folder: Path, predictions: Path) -> Evaluation:
    """The evaluation that `write_numbers` and the predictions hold; a UserError where a file is missing or damaged."""
    keys = {"resamples": int, "temperature": dict, "whole": dict, "before": dict, "reliability": dict, "slices": dict}
    record = read_record(folder / NUMBERS, {**keys, "confused": list, "leak_free": object}, rerun("evaluate"))
    kinds = get_type_hints(Evaluation)
    numbers = {key: _restored(kinds[key], value) for key, value in record.items()}
    return Evaluation(read_predictions(predictions), **numbers)


def read_predictions(file: Path, name: str = "") -> Predictions:
    """The table of a `predictions.csv`; messages call it `name`. A UserError where it is missing, damaged or empty."""
    shown = name or str(file)
    text = dict.fromkeys(("face_id", "image", "label", "predicted"), str)
    as_written: dict[str, Any] = {"dtype": text, "keep_default_na": False, "na_values": [""]}  # "None" is a name, too
    table: pd.DataFrame = read_out(file, lambda path: pd.read_csv(path, **as_written), rerun("evaluate"))
    named = {f"p_{name}" for column in ("label", "predicted") for name in set(table.get(column, ()))}
    if missing := [column for column in (*COLUMNS, *sorted(named)) if column not in table]:
        raise UserError(f"{shown} lacks the column {missing[0]}; {rerun('evaluate')}.")
    if table.empty:
        raise UserError(f"{shown} holds no face; {rerun('evaluate')}.")
    return Predictions(table)


def add_slices(index: pd.DataFrame, table: Path, columns: Sequence[str]) -> pd.DataFrame:
    """`with_slices`, where any are asked for, from the faces table that ingest wrote."""
    if not columns:
        return index
    return with_slices(index, read_out(table, pd.read_parquet, rerun("ingest")), columns)


def with_leaks(test: pd.DataFrame, model: Path) -> pd.DataFrame:
    """A test index, `leaked` also where a parent of the model in that folder learnt from the face."""
    parents = [("part", "==", "parent")]
    seen = read_out(model / TRAINING_FACES, lambda file: pd.read_parquet(file, filters=parents), rerun("train"))
    return test.assign(leaked=test["leaked"] | learnt_from(test, seen))


def record_look(test_faces: str, model: Path, temperature: float) -> None:
    """Note that the model in a folder was measured on the test faces, by the split's digest of them.

    A look is an empty file, `TEST_FACES/MODEL` in the state folder, where it survives reruns. Measuring a model again
    adds none; nor does an answer of DVC's cache.
    """
    folder = state_folder() / LOOKS / test_faces
    folder.mkdir(parents=True, exist_ok=True)
    (folder / model_identity(model / GRAPH_FILE, read_spec(model).serving(temperature))).touch()


def looks_at(state: Path, test_faces: str) -> set[str]:
    """The identities of the models that were measured here on these test faces."""
    return {file.name for file in (state / LOOKS / test_faces).glob("*")}
