"""The paired test: right numbers on the same faces, none on others."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom

from mien.base.errors import UserError
from mien.evaluation.scoring import Predictions
from mien.inference.compared_run import read_folder
from mien.reporting.comparison import ComparedRun, compare, compare_paired, mcnemar


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
    assert found.sentence.startswith("B is more accurate beyond the luck of the draw")


def test_the_order_of_the_rows_does_not_matter(a: ComparedRun, b: ComparedRun) -> None:
    turned = with_faces(b, b.faces.iloc[::-1].reset_index(drop=True))
    one, other = compare_paired(a, b, n=100), compare_paired(a, turned, n=100)
    assert one is not None and other is not None
    assert (one.differences, one.mcnemar) == (other.differences, other.mcnemar)
    pd.testing.assert_frame_equal(one.disagreements, other.disagreements)


def test_mcnemar_counts_every_face_once() -> None:
    right_a = np.array([True] * 10 + [False] * 6)
    right_b = np.array([True] * 8 + [False] * 2 + [True] * 5 + [False])
    table = mcnemar(right_a, right_b)
    assert (table.both, table.only_a, table.only_b, table.neither) == (8, 2, 5, 1)
    assert table.p == pytest.approx(2 * binom.cdf(2, 7, 0.5))
    assert mcnemar(right_a, right_a).p == 1


def test_disagreements_are_the_faces_with_another_answer_the_surest_first(a: ComparedRun, b: ComparedRun) -> None:
    paired = compare_paired(a, b, n=100)
    assert paired is not None
    table = paired.disagreements
    assert len(table) == int((a.faces["predicted"].to_numpy() != b.faces["predicted"].to_numpy()).sum())
    assert (table["a"] != table["b"]).all()
    assert int((table["right"] == "b").sum()) == paired.mcnemar.only_b
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
    assert eight.unpaired == "A distinguishes 7 expressions and B 8."


def test_only_what_differs_is_shown(a: ComparedRun, b: ComparedRun) -> None:
    other = dataclasses.replace(
        b,
        params={**b.params, "optim.lr": "0.02", "search.optim.lr": "0.02"},
        facts={**b.facts, "mien.precision": "bf16"},
    )
    assert compare(a, b).config == []
    found = compare(a, other)
    assert found.config == [("optim.lr", "0.01", "0.02"), ("search.optim.lr", "–", "0.02")]
    assert found.facts == [("precision", "32", "bf16")]


def test_a_run_is_not_compared_with_itself(a: ComparedRun) -> None:
    with pytest.raises(UserError, match="A and B are both"):
        compare(a, a)
