"""The model card, written from real files, and what a stranger reads beside models and versions in a store."""

import dataclasses
from pathlib import Path

import pytest

from mien.base.classes import PARTS
from mien.evaluation.intervals import Interval, Intervals
from mien.evaluation.scoring import Evaluation, Slice, Slices
from mien.evaluation.tables import read_evaluation
from mien.inference.address import load_model_of
from mien.models.description import CARD
from mien.registry import promotion
from mien.registry.version import Candidate, failures, render_card, write_card
from mien.tracking.store import NOTE, connect
from tests.registry.workspace import NAME, candidate_of, registered


@pytest.fixture(scope="module")
def candidate(weak: Path) -> Candidate:
    return candidate_of(weak)


@pytest.fixture(scope="module")
def evaluation(weak: Path) -> Evaluation:
    return read_evaluation(weak / "build/evaluate", weak / "reports/predictions.csv")


@pytest.fixture(scope="module")
def card(candidate: Candidate) -> str:
    return write_card(candidate)


def test_it_says_data_numbers_and_digests(card: str, candidate: Candidate, evaluation: Evaluation) -> None:
    whole = evaluation.whole
    overall = whole.intervals.overall
    shown = overall["accuracy"].percent()
    assert card.startswith("# Model card: mien-tiny\n\nFacial expressions, learnt from bars. Accuracy")
    assert f"Accuracy {shown} on {whole.faces:,} test faces (95 % interval)" in card
    assert f"| accuracy | {shown} |" in card
    assert f"| calibration error, debiased | {overall['calibration_error'].text()} |" in card
    assert f"| ECE | {overall['ece'].value:.3f} |" in card
    assert f"| ECE of a perfectly calibrated model here | {overall['ece_if_calibrated'].value:.3f} |" in card
    assert "**It learnt from drawings.**" in card and "photographs." not in card
    digests = (candidate.lineage[key] for key in ("digest", "data_digest", "split_digest"))
    assert all(f"`{digest}`" in card for digest in (candidate.identity, *digests))
    assert "12,345 multiply-adds per face" in card and "Trained on the CPU, float32" in card


def test_it_says_what_it_must_not_be_used_for_and_that_expressions_are_no_emotions(card: str) -> None:
    assert "Regulation (EU) 2024/1689, Article 5(1)(f)" in card and "medical or safety reasons" in card
    assert "An expression is not an emotion" in card and "Barrett et al., 2019" in card


def test_it_names_the_worst_slice_of_each_kind_and_no_slice_of_a_few_faces(
    candidate: Candidate, evaluation: Evaluation
) -> None:
    found = (
        *(Slice("class", name, 30, 25, Interval(0.5 + k / 10, 0.4, 0.9)) for k, name in enumerate(("angry", "fear"))),
        Slice("class", "sad", 19, 19, Interval(0.1, float("nan"), float("nan"))),
        Slice("camera", "front", 30, 25, Interval(0.9, 0.8, 0.95)),
        Slice("face size", "small, 20–30 px", 1200, 25, Interval(0.7, 0.6, 0.8)),
        Slice("face size", "medium, 31–40 px", 9, 9, Interval(0.1, float("nan"), float("nan"))),
        Slice("face size", "large, 41–90 px", 40, 25, Interval(0.8, 0.6, 0.9)),
    )
    slices = Slices(found, {"detector confidence": "the data set gives none"})
    assert failures(slices) == [
        "Worst class: angry, 50.0 % (40.0 to 90.0) right of 30 faces.",
        "Worst face size: small, 20–30 px, 70.0 % (60.0 to 80.0) right of 1,200 faces.",
        "Under 20 test faces, too few for a result: class sad; face size medium, 31–40 px.",
        "No results by detector confidence: the data set gives none.",
    ]
    card = render_card(candidate, dataclasses.replace(evaluation, slices=slices), None)
    assert all(f"- {sentence}\n" in card for sentence in failures(slices))
    assert "| fear | 30 | 60.0 % (40.0 to 90.0) |" in card and "| sad | 19 | 10.0 % |" in card


def test_leaks_are_said_where_there_are_any(card: str, candidate: Candidate, evaluation: Evaluation) -> None:
    assert "the whole test set is its leak-free part" in card
    clean = dataclasses.replace(evaluation.whole, faces=evaluation.whole.faces - 7)
    leaky = render_card(candidate, dataclasses.replace(evaluation, leak_free=clean), audit_of(candidate))
    assert f"| without copies in training, {clean.faces} faces |" in leaky
    assert "the whole test set is its leak-free part" not in leaky
    assert "- Test faces with a copy in training: 7.\n" in leaky
    assert "pairs of mirrored copies: 2.\n" in leaky and "the same person may stand in two parts" in leaky
    assert "would have leaked 30 of 90 test faces" in leaky and "| train | 1,500 | 700 | 1 |" in leaky


def audit_of(candidate: Candidate) -> dict[str, object]:
    part = {"faces": 1500, "photos": 700, "classes": dict.fromkeys(candidate.spec.classes, 1)}
    return {
        "official_split": False,
        "parts": dict.fromkeys(PARTS, part),
        "pairs": {"identical_pixels": 3, "near_duplicates": 5, "mirrored": 2},
        "persons": 0,
        "leaked_test_faces": 7,
        "naive_row_split": {"test_faces": 90, "test_faces_sharing_group": 30},
    }


def test_the_same_model_has_the_same_card_and_brings_it(checkout: Path, weak: Path, card: str) -> None:
    registered(weak)
    (logged,) = checkout.rglob(f"artifacts/model/{CARD}")
    assert logged.read_text(encoding="utf-8") == card
    assert load_model_of(f"models:/{NAME}@champion").card == card
    version = connect().get_model_version(NAME, "1")
    assert version.description and f"`mien card models:/{NAME}/1`" in version.description
    assert len(version.description) < 1500
    assert "Article 5(1)(f)" in connect().get_registered_model(NAME).description


def test_a_number_that_does_not_exist_is_unknown_and_no_crash(candidate: Candidate, evaluation: Evaluation) -> None:
    unknown = Interval(float("nan"))
    whole = evaluation.whole.intervals
    overall = {**whole.overall, "ece": unknown}
    per_class = {name: {**scores, "precision": unknown} for name, scores in whole.per_class.items()}
    part = dataclasses.replace(evaluation.whole, intervals=Intervals(overall, per_class))
    gaps = render_card(candidate, dataclasses.replace(evaluation, whole=part), None)
    assert "| ECE | unknown |" in gaps and "| never answered |" in gaps


def test_model_version_and_run_say_what_was_decided(checkout: Path, weak: Path, strong: Path) -> None:
    client = connect()
    for workspace in (weak, strong):
        report = registered(workspace)
    version = client.get_model_version(NAME, "2")
    accuracy = report["numbers"]["candidate"]["accuracy"]["value"]
    assert version.description and version.run_id
    assert f"/runs/{version.run_id}/artifacts/evaluation/index.html)" in version.description
    assert version.description.splitlines()[0] == f"Accuracy {100 * accuracy:.1f} %: promoted by the gate"
    assert "(" not in "".join(report["reasons"])  # a bound, and never an interval beside the evaluation's
    note = client.get_run(version.run_id).data.tags[NOTE]
    assert note.startswith("### Registered\n`mien-tiny` version 2: **promoted** by the gate.")
    assert all(f"- {reason}" in version.description for reason in report["reasons"])


def test_the_history_in_the_description_follows_every_move_and_keeps_a_persons_words(
    checkout: Path, weak: Path, strong: Path
) -> None:
    client = connect()
    registered(weak)
    registered(strong)
    before = client.get_registered_model(NAME).description
    assert before.startswith("Facial expressions, learnt from bars. Its faces are drawn")
    assert "models:/mien-tiny@champion" in before
    client.update_registered_model(NAME, description=f"Ours.\n\n{before}")
    promotion.rollback(NAME, by="ada", reason="worse | slower")
    text = client.get_registered_model(NAME).description
    assert text.startswith("Ours.\n\nFacial expressions")
    rows = [line for line in text.splitlines() if line.startswith("| 20")]
    assert len(rows) == 3
    assert "| rolled back | 1 | 2 | ada | worse \\| slower |" in rows[0]
    assert "| promoted | 1 |  | gate |" in rows[2]


def test_runs_say_which_aliases_their_versions_carry(checkout: Path, weak: Path, strong: Path) -> None:
    client = connect()

    def said() -> list[str]:
        runs = [client.get_model_version(NAME, number).run_id for number in ("1", "2")]
        return [client.get_run(run).data.tags.get("mien.alias", "") for run in runs]

    for workspace in (weak, strong):
        registered(workspace)
    assert said() == ["previous", "champion"]
    promotion.rollback(NAME, by="ada", reason="worse")
    assert said() == ["champion", ""]
    client.set_registered_model_alias(NAME, "champion", "2")
    promotion.history(NAME)
    assert said() == ["previous", "champion"]
    client.delete_run(client.get_model_version(NAME, "1").run_id)
    promotion.promote(NAME, 1, by="ada", reason="its run is gone, the version is not")
    assert client.get_registered_model(NAME).aliases["champion"] == 1
