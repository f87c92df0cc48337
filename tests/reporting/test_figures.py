import io
import warnings

import numpy as np
import pytest
from PIL import Image

from mien.evaluation.scoring import EvaluateConfig
from mien.reporting.figures import draw_evaluation, errors_figure
from mien.reporting.style import DARK, LIGHT
from tests.evaluation.drawing import drawn, evaluate_logits, index_of

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
