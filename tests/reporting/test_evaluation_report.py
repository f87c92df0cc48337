import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from axe_playwright_python.sync_playwright import Axe
from cleanlab.filter import find_label_issues
from playwright.sync_api import Playwright, expect

from mien.base.classes import EXPRESSIONS
from mien.evaluation.intervals import OVERALL
from mien.evaluation.scoring import EvaluateConfig, Evaluation
from mien.reporting.evaluation_report import Background, quarantine_counts, write_report, write_viewer
from mien.reporting.pages import number, page, percent
from tests.browser import driver, launch
from tests.evaluation.drawing import LINEAGE, evaluate_logits, index_of

__all__ = ["driver"]
FIGURES = 5  # beside the faces
QUARANTINE = pd.DataFrame(
    {"reason": ["low_confidence"] * 1234 + ["photo_missing"], "label": ["sad"] * 1233 + ["", "happy"]}
)


class Page(HTMLParser):
    """Tags that stay open, addresses, and the text outside of style."""

    VOID = ("meta", "img", "source", "br", "link", "input")

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.words: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        if tag not in self.VOID:
            self.open.append(tag)
        given = dict(attrs)
        self.addresses += [given[name] for name in ("src", "href", "srcset", "action", "poster") if name in given]
        if tag == "img":
            self.images.append(given)

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))


def render(
    folder: Path, evaluation: Evaluation, pixels: np.ndarray, quarantine: pd.DataFrame = QUARANTINE,
    title: str = "Faces", drawn: bool = False, **lineage: Any,
) -> str:  # fmt: skip
    """The HTML of an evaluation's report, which is written into the folder."""
    parts = dict.fromkeys(("train", "val", "test"), evaluation.whole.support)
    background = Background(title, drawn, {**LINEAGE, **lineage}, parts, quarantine)
    write_report(evaluation, background, pixels, folder / "report.html", folder)
    return (folder / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def html(evaluation: Evaluation, pixels: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> str:
    return render(tmp_path_factory.mktemp("report"), evaluation, pixels)


def test_the_page_is_well_formed_whole_in_itself_and_says_what_every_image_shows(html, evaluation):
    page = Page(html)
    assert page.open == []
    assert page.addresses
    elsewhere = [address for address in page.addresses if not address.startswith("data:image/png;base64,")]
    assert elsewhere.pop() == "faces.html"
    assert all(f'id="{address[1:]}"' in html for address in elsewhere) and len(elsewhere) > 5
    assert not re.search(r"url\(|@import|<script|<link|https?://", html)
    assert all(image["alt"] for image in page.images)
    assert len(page.images) == FIGURES + sum(len(pair.rows) for pair in evaluation.confused)
    assert "drawn, not photographed" not in html


def test_all_numbers_stand_on_the_page(html, evaluation):
    text = Page(html).text.replace("\N{NO-BREAK SPACE}", " ")
    overall = evaluation.whole.intervals.overall
    assert "120 faces in 60 photos" in text
    assert f"{100 * overall['accuracy'].value:.1f} %" in text
    assert f"95 % interval {100 * overall['accuracy'].low:.1f} to {100 * overall['accuracy'].high:.1f} %" in text
    assert f"{100 * evaluation.whole.majority_share:.1f} %" in text
    for name in set(OVERALL) - {"accuracy"}:
        assert f"{overall[name].value:.3f}" in text, name
        assert not overall[name].known or overall[name].ends() in text, name
    for name, value in evaluation.before.items():
        assert f"{value:.3f}" in text, name
    for name in EXPRESSIONS:
        scores = [f"{one.value:.3f}" for one in evaluation.whole.intervals.per_class[name].values()]
        assert f"{name} {evaluation.whole.support[name]} {' '.join(scores)}" in text
    for one in evaluation.slices.slices:
        assert one.name in text
    assert "low confidence" in text
    assert "1,234" in text
    for value in (LINEAGE["data_digest"], LINEAGE["split_digest"], LINEAGE["digest"]):
        assert value in text
    assert "optim.lr 0.001 0.0031" in text
    assert "10 of 120 test faces have a copy" in text and "the leak-free part below is the number to trust" in text


def test_it_says_what_is_drawn_leaked_or_empty_and_names_from_the_data_cannot_become_markup(
    evaluation, pixels, tmp_path
):
    formula = replace(evaluation.slices.slices[0], group="$_$", name="$5_$")  # would be one of matplotlib's
    slices = replace(evaluation.slices, slices=(formula,))
    leaked = replace(evaluation, leak_free=replace(evaluation.leak_free, faces=0), slices=slices)
    about = {"title": "<script>alert(1)</script>", "drawn": True, "search": {"trials": 0, "overruled": {}}}
    html = render(tmp_path, leaked, pixels, QUARANTINE.iloc[:0], **about)
    assert "<script" not in html and "&lt;script&gt;" in html
    assert "drawn, not photographed" in html
    text = Page(html).text
    assert "so no number here can be trusted" in text
    assert "No search" in text
    assert "the quarantine is empty" in text


def test_a_perfect_model_on_one_photo_is_reported_with_reserve(tmp_path):
    labels = np.arange(7)
    index = index_of(labels, per_photo=7).assign(confidence=np.nan)
    one = evaluate_logits(9 * np.eye(7), labels, 9 * np.eye(7), index, EvaluateConfig(bootstrap=100))
    text = Page(render(tmp_path, one, np.zeros((7, 48, 48, 1), np.uint8))).text
    assert "7 faces in 1 photo." in text
    assert "no interval" in text
    assert "No test face is predicted wrong" in text
    assert "too few to say" in text
    assert "No slices by detector confidence: the data set gives no detector confidence." in text


@pytest.mark.parametrize(("right", "says"), [(90, "is better"), (16, "is not shown to be better"), (0, "is worse")])
def test_the_verdict_weighs_the_model_against_the_most_frequent_answer(right, says):
    labels = np.repeat(np.arange(7), 13)[:90]
    predicted = np.where(np.arange(90) % 90 < right, labels, (labels + 1) % 7)
    logits = np.eye(7)[predicted]
    one = evaluate_logits(logits, labels, logits, index_of(labels), EvaluateConfig(bootstrap=200))
    assert says in page("verdict.html", e=one)


def test_numbers_that_do_not_exist_are_dashes():
    assert percent(float("nan")) == number(float("nan")) == "–"
    assert percent(0.5803) == "58.0\N{NO-BREAK SPACE}%"


def test_quarantine_is_counted_by_reason_and_class():
    counts = quarantine_counts(QUARANTINE, EXPRESSIONS)
    assert counts.index.tolist() == ["low_confidence", "photo_missing"]
    assert counts.loc["low_confidence", ["sad", "unknown", "all"]].tolist() == [1233, 1, 1234]
    assert counts.loc["photo_missing", "happy"] == 1
    assert quarantine_counts(QUARANTINE.iloc[:0], EXPRESSIONS).empty


def test_a_browser_lays_the_page_out_within_a_phones_width(html: str, driver: Playwright) -> None:
    """The page itself never scrolls sideways: wide tables and figures scroll within themselves."""
    browser = launch(driver)
    page = browser.new_page(viewport={"width": 390, "height": 800})
    page.set_content(html)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    browser.close()


def test_the_viewer_shows_the_test_faces_that_its_filters_ask_for(
    evaluation: Evaluation, pixels: np.ndarray, tmp_path: Path, driver: Playwright
) -> None:
    table, file = evaluation.predictions.table, tmp_path / "faces.html"
    write_viewer(evaluation, "<b>Faces</b>", pixels, file)
    file.with_name("report.html").touch()
    browser = launch(driver)
    page = browser.new_page(viewport={"width": 390, "height": 800})
    page.goto(file.as_uri())
    where, shown = page.locator("#where"), page.locator("#grid figure")
    expect(where).to_have_text(f"1 to 60 of {len(table)}")
    own = [table[f"p_{label}"][row] for row, label in enumerate(table["label"])]
    least = table["face_id"][int(np.argmin(own))]
    expect(shown.first).to_contain_text(least)
    page.get_by_role("button", name="later").click()
    expect(where).to_have_text(f"61 to 120 of {len(table)}")
    for answer, rows in (("right", table["correct"]), ("wrong", ~table["correct"])):
        page.get_by_label("answers").select_option(answer)
        page.get_by_label("labelled").select_option("sad")
        expect(shown).to_have_count(int((rows & (table["label"] == "sad")).sum()))
        expect(page.locator("#grid b")).to_have_count(0 if answer == "right" else shown.count())
    page.get_by_label("labelled").select_option("any")
    page.get_by_label("answers").select_option("label doubtful")
    answers = evaluation.predictions
    doubtful = find_label_issues(answers.labels, answers.probabilities, filter_by="confident_learning", n_jobs=1)
    expect(where).to_have_text(f"1 to {doubtful.sum()} of {doubtful.sum()}")
    page.get_by_role("link", name="report").click()
    page.go_back()  # the browser chooses the filters again
    expect(where).to_have_text(f"1 to {doubtful.sum()} of {doubtful.sum()}")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.evaluate("document.querySelector('#grid img').naturalWidth") == pixels.shape[2]
    assert not [v for v in Axe().run(page).response["violations"] if v["impact"] in ("serious", "critical")]
    browser.close()
