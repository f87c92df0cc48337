"""The model card: written from real files, the same every time, logged with the model, and shown."""

import dataclasses
import json
from pathlib import Path

import pytest

from mien.base.classes import PARTS
from mien.evaluation.intervals import Interval
from mien.evaluation.slices import Slice, Slices
from mien.inference.address import load_model_of
from mien.models.description import CARD
from mien.models.networks import multiply_adds
from mien.registry.card import CardFacts, card_facts, failures, write_card
from mien.registry.gate import RegisterConfig
from mien.tracking.store import connect
from tests.registry.workspace import NAME, candidate_of, registered


@pytest.fixture(scope="module")
def facts(weak: Path) -> CardFacts:
    return card_facts(candidate_of(weak), weak / "reports/predictions.csv")


def test_it_says_data_numbers_and_digests(facts: CardFacts) -> None:
    card = write_card(facts)
    accuracy = facts.measured["accuracy"]
    shown = f"{100 * accuracy['value']:.1f} % ({100 * accuracy['low']:.1f} to {100 * accuracy['high']:.1f})"
    assert card.startswith("# Model card: mien-tiny\n\nFacial expressions, learnt from bars. Accuracy")
    assert f"Accuracy {shown} on {facts.measured['n']:,} test faces (95 % interval)" in card
    assert f"| accuracy | {shown} |" in card
    assert f"| calibration error (ECE) | {facts.measured['ece']['value']:.3f} (" in card
    assert "**It learnt from drawings.**" in card and "photographs." not in card
    for digest in (
        facts.candidate.identity,
        *(facts.candidate.lineage[key] for key in ("digest", "data_digest", "split_digest")),
    ):
        assert f"`{digest}`" in card
    assert f"{facts.multiply_adds:,} multiply-adds a face" in card and "Trained in float32 on the CPU" in card


def test_it_says_what_it_must_not_be_used_for_and_that_expressions_are_no_emotions(facts: CardFacts) -> None:
    card = write_card(facts)
    assert "Regulation (EU) 2024/1689, Article 5(1)(f)" in card and "medical or safety reasons" in card
    assert "An expression is not an emotion" in card and "Barrett et al., 2019" in card


def test_it_names_the_worst_slice_of_each_kind_and_no_slice_of_a_few_faces(facts: CardFacts) -> None:
    found = (
        *(Slice("class", name, 30, 25, Interval(0.5 + k / 10, 0.4, 0.9)) for k, name in enumerate(("angry", "fear"))),
        Slice("class", "sad", 19, 19, Interval(0.1, float("nan"), float("nan"))),
        Slice("face size", "small, 20–30 px", 1200, 25, Interval(0.7, 0.6, 0.8)),
        Slice("face size", "large, 31–90 px", 40, 25, Interval(0.8, 0.6, 0.9)),
    )
    sliced = dataclasses.replace(facts, slices=Slices(found, {"detector confidence": "the data set gives none"}))
    assert failures(sliced) == [
        "Worst class: angry, 50.0 % (40.0 to 90.0) right of 30 faces.",
        "Worst face size: small, 20–30 px, 70.0 % (60.0 to 80.0) right of 1,200 faces.",
        "Under 20 test faces, too few to say: sad.",
        "By detector confidence nothing is said: the data set gives none.",
    ]
    card = write_card(sliced)
    assert all(f"- {sentence}\n" in card for sentence in failures(sliced))
    assert "| fear | 30 | 60.0 % (40.0 to 90.0) |" in card and "| sad | 19 | 10.0 % |" in card


def test_its_slices_are_those_of_the_evaluation(facts: CardFacts) -> None:
    recalls = {name: one["recall"] for name, one in facts.measured["per_class"].items()}
    sliced = {one.name: one.accuracy.value for one in facts.slices.slices if one.group == "class"}
    assert sliced == pytest.approx(recalls, abs=1e-6)


def test_leaks_are_said_where_there_are_any(facts: CardFacts) -> None:
    assert "the whole test set is its leak-free part" in write_card(facts)
    clean = {**facts.measured, "n": facts.measured["n"] - 7}
    leaky = dataclasses.replace(facts, measured={**facts.measured, "leak_free": clean}, audit=audit_of(facts))
    card = write_card(leaky)
    assert f"| without copies in training, {clean['n']} faces |" in card
    assert "the whole test set is its leak-free part" not in card
    assert "- Test faces with a copy in training: 7.\n" in card
    assert "would have leaked 30 of 90 test faces" in card and "| train | 1,500 | 700 | 1 |" in card


def audit_of(facts: CardFacts) -> dict[str, object]:
    part = {"faces": 1500, "photos": 700, "classes": dict.fromkeys(facts.candidate.spec.classes, 1)}
    return {
        "official_split": False,
        "parts": dict.fromkeys(PARTS, part),
        "pairs": {"identical_pixels": 3, "near_duplicates": 5},
        "leaked_test_faces": 7,
        "naive_row_split": {"test_faces": 90, "test_faces_sharing_group": 30},
    }


def test_the_count_of_multiplications_is_that_of_the_layers(facts: CardFacts) -> None:
    wide = dataclasses.replace(
        facts.candidate.network, architecture={**facts.candidate.network.architecture, "width": 8}
    )
    assert (
        2 < multiply_adds(wide.build(), wide.cut) / facts.multiply_adds < 4.5
    )  # twice as wide: up to four times, the first layer twice


def test_the_same_model_has_the_same_card_and_brings_it(
    checkout: Path, weak: Path, rules: RegisterConfig, facts: CardFacts
) -> None:
    registered(weak, rules)
    (logged,) = checkout.rglob(f"artifacts/model/{CARD}")
    assert logged.read_text(encoding="utf-8") == write_card(facts)
    assert load_model_of(f"models:/{NAME}@champion").card == write_card(facts)
    version = connect().get_model_version(NAME, "1")
    assert version.description and f"`mien card models:/{NAME}/1`" in version.description
    assert len(version.description) < 1500
    assert "Article 5(1)(f)" in connect().get_registered_model(NAME).description


def test_a_number_that_does_not_exist_is_unknown_and_no_crash(facts: CardFacts) -> None:
    unknown = {"value": None, "low": None, "high": None}
    per_class = {name: {**one, "precision": None} for name, one in facts.measured["per_class"].items()}
    gaps = dataclasses.replace(facts, measured={**facts.measured, "ece": unknown, "per_class": per_class})
    card = write_card(gaps)
    assert "| calibration error (ECE) | unknown |" in card and "| never said |" in card
    assert json.dumps(card)
