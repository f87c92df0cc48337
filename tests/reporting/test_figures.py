"""The paired test, and the figures of reports: right numbers, drawn the same each time."""

import dataclasses
import io
import json
import warnings
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
from optuna.distributions import distribution_to_json
from PIL import Image
from scipy.stats import binom

from mien.base.classes import EXPRESSIONS
from mien.base.errors import UserError
from mien.crop.packed import PackedFaces
from mien.evaluation.scoring import EvaluateConfig, Predictions
from mien.inference.compared_run import read_folder
from mien.reporting.comparison import ComparedRun, compare, compare_paired, mcnemar
from mien.reporting.curves import comparison_figure, draw_search, training_figure
from mien.reporting.figures import draw_evaluation, errors_figure
from mien.reporting.images import COLUMNS, GAP, MOST, TITLE, contact_sheet, face_jpeg, face_png, write_contact_sheets
from mien.reporting.style import DARK, LIGHT
from mien.runtime.spec import CutSpec
from mien.search.space import search_space
from mien.search.study import trial_row
from tests.evaluation.drawing import drawn, evaluate_logits, index_of
from tests.search.test_study import RECIPE, SPACE, searched


@pytest.fixture
def a(weak: Path) -> ComparedRun:
    return read_folder(weak)


@pytest.fixture
def b(strong: Path) -> ComparedRun:
    return read_folder(strong / "reports")


def with_faces(one: ComparedRun, predictions: pd.DataFrame) -> ComparedRun:
    return dataclasses.replace(one, predictions=Predictions(predictions))


def test_the_better_model_is_named_and_the_difference_is_that_of_the_metrics(a: ComparedRun, b: ComparedRun) -> None:
    found = compare(a, b)
    assert found.paired is not None and found.paired.left_out == 0
    difference = found.paired.differences.overall["accuracy"]
    assert difference.value == pytest.approx(b.measure("accuracy").value - a.measure("accuracy").value, abs=1e-6)
    assert 0 < difference.low < difference.value < difference.high
    assert (found.verdict("accuracy"), found.verdict("nll")) == ("B", "B")
    assert compare(b, a).verdict("nll") == "A"
    assert found.sentence.startswith("B is more accurate than A by ")


def test_the_order_of_the_rows_does_not_matter(a: ComparedRun, b: ComparedRun) -> None:
    turned = with_faces(b, b.faces.iloc[::-1].reset_index(drop=True))
    one, other = compare_paired(a, b, n=100), compare_paired(a, turned, n=100)
    assert (one.differences, one.mcnemar) == (other.differences, other.mcnemar)
    pd.testing.assert_frame_equal(one.disagreements, other.disagreements)


def test_mcnemar_counts_every_face_once() -> None:
    right_a = np.array([True] * 10 + [False] * 6)
    right_b = np.array([True] * 8 + [False] * 2 + [True] * 5 + [False])
    p = pytest.approx(2 * binom.cdf(2, 7, 0.5))
    assert mcnemar(right_a, right_b) == {"both": 8, "only_a": 2, "only_b": 5, "neither": 1, "p": p}
    assert mcnemar(right_a, right_a)["p"] == 1


def test_disagreements_are_the_faces_with_another_answer_the_surest_first(a: ComparedRun, b: ComparedRun) -> None:
    paired = compare_paired(a, b, n=100)
    table = paired.disagreements
    assert len(table) == int((a.faces["predicted"].to_numpy() != b.faces["predicted"].to_numpy()).sum())
    assert (table["a"] != table["b"]).all()
    assert int((table["right"] == "b").sum()) == paired.mcnemar["only_b"]
    assert (np.diff(table[["p_a", "p_b"]].max(axis=1)) <= 0).all()


def test_leaked_faces_are_left_out_of_the_test(a: ComparedRun, b: ComparedRun) -> None:
    leaked = b.faces.assign(leaked=np.arange(len(b.faces)) < 5)
    found = compare(a, with_faces(b, leaked))
    assert found.paired is not None
    assert (found.paired.left_out, found.paired.faces) == (5, len(leaked) - 5)
    none = compare(a, with_faces(b, b.faces.assign(leaked=True)))
    assert (none.paired, none.unpaired) == (None, "Every test face has a copy among the faces that A or B learnt from.")


def test_other_test_sets_are_not_paired_and_the_rest_is_shown(a: ComparedRun, b: ComparedRun) -> None:
    n = len(b.faces)
    fewer = compare(a, with_faces(b, b.faces.iloc[1:]))
    assert fewer.paired is None
    assert fewer.sentence.endswith(f"A was tested on {n} faces and B on {n - 1}, of which {n - 1} are the same.")
    assert fewer.json()["paired"] is None and fewer.json()["a"]["accuracy"]["value"] > 0
    elsewhere = compare(a, dataclasses.replace(b, data="other"))
    assert "A was tested on the data set tiny and B on other." in elsewhere.sentence
    label = b.faces["label"].where(np.arange(n) > 0, "neutral" if b.faces["label"][0] != "neutral" else "sad")
    assert compare(a, with_faces(b, b.faces.assign(label=label))).unpaired.startswith("1 of the")
    eight = compare(a, with_faces(b, b.faces.assign(p_contempt=0.0)))
    theirs = ", ".join(b.predictions.classes)
    assert eight.unpaired == f"A distinguishes the classes {theirs}, and B {theirs}, contempt."


def test_only_what_differs_is_shown(a: ComparedRun, b: ComparedRun) -> None:
    other = dataclasses.replace(
        b,
        params={**b.params, "optim.lr": "0.02", "config.optim.lr": "0.02"},
        facts={**b.facts, "mien.trained_on": "the CPU, bf16"},
    )
    assert compare(a, b).config == []
    found = compare(a, other)
    assert found.config == [("config.optim.lr", "–", "0.02"), ("optim.lr", "0.01", "0.02")]
    assert found.facts == [("trained on", "the CPU, float32", "the CPU, bf16")]


def test_a_run_is_not_compared_with_itself(a: ComparedRun) -> None:
    with pytest.raises(UserError, match="A and B are both"):
        compare(a, a)


NAMES = ("confusion", "confusion_by_class", "reliability", "per_class", "slices")


def opened(png: bytes) -> Image.Image:
    return Image.open(io.BytesIO(png))


@pytest.fixture(scope="module")
def light(evaluation) -> dict[str, bytes]:
    return draw_evaluation(evaluation, LIGHT)


def test_figures_are_the_same_bytes_on_every_run_and_say_nothing_of_the_run(evaluation, pixels, light):
    first = {**light, "errors": errors_figure(evaluation, pixels)}
    again = {**draw_evaluation(evaluation), "errors": errors_figure(evaluation, pixels)}
    assert tuple(first) == (*NAMES, "errors")
    for name, png in first.items():
        assert png == again[name], name
        assert not {"Software", "Date", "Creation Time"} & set(opened(png).info), name
        assert min(opened(png).size) > 500, name


def test_dark_figures_have_a_dark_paper(evaluation, light):
    dark = draw_evaluation(evaluation, DARK)
    for name in NAMES:
        corner = [opened(one[name]).convert("L").getpixel((2, 2)) for one in (light, dark)]
        assert corner[0] == 255, name
        assert corner[1] < 40, name


def test_text_on_every_shade_can_be_read():
    for theme in (LIGHT, DARK):
        for shade in np.linspace(0, 1, 21):
            ink = [int(theme.on(float(shade))[k : k + 2], 16) / 255 for k in (1, 3, 5)]
            paper = theme.ramp(float(shade))[:3]
            light, dark = sorted((luminance(ink), luminance(paper)), reverse=True)
            assert (light + 0.05) / (dark + 0.05) > 4.5, (theme, shade)  # WCAG 2.1, level AA


def luminance(colour: list[float] | tuple[float, ...]) -> float:
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour]
    return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))


def test_the_confused_faces_are_the_ones_shown(evaluation, pixels):
    """Blackening the shown faces changes the picture; blackening the others does not."""
    shown = np.concatenate([pair.rows for pair in evaluation.confused])
    others = np.setdiff1d(np.arange(len(pixels)), shown)
    plain = errors_figure(evaluation, pixels)
    for rows, same in ((others, True), (shown, False)):
        changed = pixels.copy()
        changed[rows] = 0
        assert (errors_figure(evaluation, changed) == plain) is same


@pytest.mark.parametrize(("case", "channels"), [("perfect", 1), ("constant", 3), ("one face", 3), ("one photo", 1)])
def test_extremes_are_drawn_without_a_warning(case, channels):
    labels, logits = drawn(70)
    if case == "perfect":
        logits = 800 * np.eye(7)[labels]
    elif case == "constant":
        logits = np.zeros((70, 7))
    elif case == "one face":
        labels, logits = labels[:1], logits[:1]
    index = index_of(labels, per_photo=70).assign(confidence=np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        one = evaluate_logits(logits, labels, logits, index, EvaluateConfig(bootstrap=100))
        faces = np.zeros((len(labels), 48, 48, channels), np.uint8)
        pictures = {**draw_evaluation(one), "errors": errors_figure(one, faces)}
    assert all(png.startswith(b"\x89PNG") for png in pictures.values())


EPOCHS = [(k, {"train_loss": 2 / (k + 1), "val_loss": 2.2 / (k + 1), "val_accuracy": k / 9}) for k in range(8)]


@pytest.fixture
def report(tmp_path: Path) -> dict[str, Any]:
    """What `reports/tune.json` holds of a search."""
    distributions = {k: json.loads(distribution_to_json(one)) for k, one in search_space(SPACE, RECIPE).items()}
    rows = [trial_row(i, trial) for i, trial in enumerate(searched(tmp_path))]
    return {"objective": "val_loss", "trials": rows, "space": distributions}


def is_drawn(png: bytes) -> bool:
    return float(np.asarray(Image.open(io.BytesIO(png)).convert("L")).std()) > 5


def test_a_search_is_drawn_the_same_twice_from_its_report(report: dict[str, Any]) -> None:
    first = draw_search(json.loads(json.dumps(report)))
    assert set(first) == {"history", "importance", "values"}
    assert all(is_drawn(png) for png in first.values())
    assert draw_search(report) == first


def test_a_search_with_one_complete_trial_has_no_importance_and_without_trials_nothing(report: dict[str, Any]) -> None:
    assert set(draw_search({**report, "trials": report["trials"][:1]})) == {"history", "values"}
    assert draw_search({"trials": [], "space": {}}) == {}


def test_a_training_is_drawn_the_same_twice_and_its_best_epoch_is_marked() -> None:
    first = training_figure(EPOCHS, 3)
    assert is_drawn(first) and training_figure(EPOCHS, 3) == first
    assert training_figure(EPOCHS, 4) != first
    assert is_drawn(training_figure(EPOCHS[:1], 0))


def test_two_runs_are_drawn_where_one_of_them_has_epochs() -> None:
    assert comparison_figure([], []) is None
    both, alone = comparison_figure(EPOCHS, EPOCHS[:4]), comparison_figure(EPOCHS, [])
    assert both and alone and is_drawn(both) and both != alone


STEP = 16 + GAP


def test_every_class_has_a_readable_sheet_with_its_own_faces(tmp_path: Path) -> None:
    labels = np.array([0] * 130 + [3] * 7, np.int8)
    pixels = np.repeat(np.arange(137, dtype=np.uint8), 16 * 16).reshape(137, 16, 16, 1)
    packed = PackedFaces(pixels, pd.DataFrame({"label": labels}), CutSpec(48, "grey"), EXPRESSIONS, "d")
    write_contact_sheets(packed, tmp_path)
    written = [tmp_path / f"contact_{name}.png" for name in EXPRESSIONS]
    assert sorted(tmp_path.iterdir()) == sorted(written)
    angry, happy = (np.asarray(Image.open(written[i])) for i in (0, 3))
    assert angry.shape == (TITLE + MOST // COLUMNS * STEP + GAP, COLUMNS * STEP + GAP, 3)
    shown = [angry[TITLE + p // COLUMNS * STEP + 5, GAP + p % COLUMNS * STEP + 5, 0] for p in range(MOST)]
    assert shown[0] == 0 and shown[-1] == 129 and (np.diff(shown) > 0).all()
    assert [happy[TITLE + 5, GAP + p * STEP + 5, 0] for p in range(7)] == list(range(130, 137))
    assert (happy[:TITLE] < 128).any()  # the title
    assert (np.asarray(Image.open(written[1]))[:TITLE] < 128).any()  # "disgust: no faces"


def test_rgb_stays_rgb() -> None:
    red = np.zeros((1, 16, 16, 3), np.uint8)
    red[..., 0] = 255
    sheet = np.asarray(contact_sheet(red, np.array([0]), "happy"))
    assert sheet[TITLE + 5, GAP + 5].tolist() == [255, 0, 0]


@pytest.mark.parametrize("channels", [1, 3])
def test_encoded_faces_show_the_same_pixels(channels: int) -> None:
    face = np.zeros((8, 8, channels), np.uint8)
    face[:, :4, 0] = 200
    flags = cv2.IMREAD_COLOR_RGB if channels == 3 else cv2.IMREAD_GRAYSCALE
    png, jpeg = (cv2.imdecode(np.frombuffer(data, np.uint8), flags) for data in (face_png(face), face_jpeg(face, 95)))
    assert png is not None and jpeg is not None
    assert (png.reshape(face.shape) == face).all()
    assert np.abs(jpeg.reshape(face.shape).astype(int) - face).max() < 60
