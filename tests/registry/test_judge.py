"""What the gate decides about a candidate: its rules number by number, and on a real store with real models."""

import dataclasses
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd
import pytest

from benchmarks.gate_budget import simulate
from mien.base.classes import EXPRESSIONS
from mien.base.errors import UserError
from mien.crop.cropping import CropConfig
from mien.evaluation.intervals import Interval
from mien.evaluation.tables import record_look
from mien.registry import promotion
from mien.registry.gate import CHALLENGER, PROMOTED, NoGroupWorse, RegisterConfig, Scores, decide, place_of
from mien.registry.registration import register
from mien.tracking.store import connect, local_folder, use_store
from tests.registry.workspace import (
    NAME,
    aliases,
    candidate_of,
    evaluate,
    less_sure,
    prepare,
    registered,
    train,
    versions,
)


def test_first_model_becomes_champion_and_a_better_one_takes_its_place(
    checkout: Path, weak: Path, strong: Path
) -> None:
    first = registered(weak)
    assert (first["outcome"], first["version"], first["champion"]) == ("promoted", 1, 1)
    second = registered(strong)
    assert (second["outcome"], second["version"], second["champion"]) == ("promoted", 2, 2)
    assert aliases() == {"champion": 2, "previous": 1}
    assert second["numbers"]["against"] == 1
    assert second["numbers"]["decisions_on_this_test_set"] == 1
    assert second["numbers"]["champion"]["accuracy"] == first["numbers"]["candidate"]["accuracy"]
    json.dumps(second, allow_nan=False)
    promotion.rollback(NAME, by="ada", reason="complaints")
    assert registered(strong)["champion"] == 1


def test_a_worse_candidate_is_challenger(checkout: Path, weak: Path, strong: Path) -> None:
    registered(strong)
    report = registered(weak)
    assert report["outcome"] == "challenger"
    assert aliases() == {"champion": 1, "challenger": 2}
    assert "may not be better" in " ".join(report["reasons"])


def test_a_model_that_answers_as_the_champion_is_no_news(checkout: Path, weak: Path, tmp_path: Path) -> None:
    registered(weak)
    report = registered(with_another_graph_file(weak, tmp_path / "again"))
    assert (report["outcome"], report["version"], report["champion"]) == ("unchanged", 2, 1)
    assert aliases() == {"champion": 1}


def test_an_experiment_registers_and_decides_nothing(checkout: Path, weak: Path) -> None:
    report = registered(weak, decides=False)
    assert (report["outcome"], report["champion"]) == ("candidate", None)
    assert aliases() == {}
    assert registered(weak)["outcome"] == "promoted"
    assert versions() == [1]


@pytest.mark.parametrize(
    ("by", "then"),
    [
        *(("mien", then) for then in ("nothing", "files gone", "other file")),
        ("the UI", "deleted"),
        ("deleting", "nothing"),
    ],
)
def test_a_model_that_a_person_took_down_is_not_promoted_again_by_itself(
    finished: Path, strong: Path, tmp_path: Path, no_store: None, by: str, then: str
) -> None:
    use_store(Path(shutil.copytree(finished, tmp_path / "checkout")))
    client = connect()
    if by == "the UI":
        client.set_registered_model_alias(NAME, "champion", "1")
        promotion.history(NAME)
    else:
        if by == "deleting":
            client.delete_model_version(NAME, "2")
        promotion.rollback(NAME, by="ada", reason="complaints")
    if then == "files gone":
        shutil.rmtree(str(local_folder(client.get_model_version_download_uri(NAME, "2"))))
    if then == "deleted":
        client.delete_model_version(NAME, "2")
    again = with_another_graph_file(strong, tmp_path / "again") if then == "other file" else strong
    report = registered(again)
    assert (report["outcome"], report["champion"]) == ("challenger", 1)
    assert "down, so the gate leaves it" in " ".join(report["reasons"])
    promotion.promote(NAME, None, by="ada", reason="it was the camera")
    assert registered(again)["champion"] == report["version"]


def test_a_champion_deleted_to_save_room_is_promoted_again(checkout: Path, weak: Path) -> None:
    registered(weak)
    connect().delete_model_version(NAME, "1")
    report = registered(weak)
    assert (report["outcome"], report["version"], aliases()) == ("promoted", 2, {"champion": 2})


def test_an_alias_deleted_in_the_ui_is_left_and_said_with_what_brings_it_back(checkout: Path, weak: Path) -> None:
    registered(weak)
    connect().delete_registered_model_alias(NAME, "champion")
    report = registered(weak)
    assert (report["outcome"], report["champion"]) == ("promoted", None)
    assert "`mien rollback` brings back the last champion, `mien promote 1`" in report["reasons"][-1]
    promotion.rollback(NAME, by="ada", reason="it was a mistake")
    assert aliases() == {"champion": 1}


def with_another_graph_file(workspace: Path, to: Path) -> Path:
    """The workspace with the same graph in other bytes, as another exporter would write it."""
    shutil.copytree(workspace, to)
    file = to / "build/train/model.onnx"
    graph = onnx.load(file)
    graph.doc_string = "other bytes, the same answers"
    onnx.save(graph, file)
    return to


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("spec.json", b'{"format": 0}', r"spec\.json is of format 0, and this mien reads format \d+"),
        ("model.onnx", None, r"model\.onnx is missing"),
        ("model.onnx", b"garbage " * 99, r"model\.onnx cannot be read by onnxruntime"),
        ("training_faces.parquet", b"garbage " * 99, r"training_faces\.parquet is damaged"),
    ],
)
def test_a_champion_whose_files_are_damaged_or_of_another_format_is_not_compared(
    checkout: Path, weak: Path, strong: Path, file: str, content: bytes | None, words: str
) -> None:
    registered(weak)
    (stored,) = (checkout / "mlruns").rglob(f"artifacts/model/{file}")
    before = stored.read_bytes()
    stored.unlink()
    if content:
        stored.write_bytes(content)
    report = registered(strong)
    assert registered(strong) == report
    assert report["outcome"] == "refused"
    assert aliases() == {"champion": 1, "challenger": 2}
    assert re.match(rf"The champion, version 1, cannot be compared \({words}.*`dvc repro`", report["reasons"][0])
    assert "\n" not in report["reasons"][0] and str(checkout) not in report["reasons"][0]
    assert "`mien promote`" in report["reasons"][1]
    stored.write_bytes(before)
    assert registered(strong)["outcome"] == "promoted"
    assert aliases() == {"champion": 2, "previous": 1}
    assert [event["action"] for event in promotion.history(NAME)] == ["promoted", "refused", "promoted"]


def test_a_champion_is_compared_on_the_faces_that_it_did_not_learn_from_and_its_stored_code_never_runs(
    checkout: Path, weak: Path, strong: Path
) -> None:
    registered(weak)
    for code in (checkout / "mlruns").rglob("*.py"):
        code.write_text("raise SystemExit('stored code has run')")
    (stored,) = (checkout / "mlruns").rglob("artifacts/model/training_faces.parquet")
    learnt_from, test = pd.read_parquet(stored), pd.read_parquet(strong / "build/split/test.parquet")
    photos = test["photo_digest"].unique()[:5]
    known = test[test["photo_digest"].isin(photos)].assign(part="train")
    pd.concat([learnt_from, known[list(learnt_from)]]).to_parquet(stored)
    report = registered(strong)
    assert report["outcome"] == "promoted"
    assert report["numbers"]["candidate"]["n"] == report["numbers"]["champion"]["n"] == len(test) - len(known)
    assert report["reasons"][1] == f"The champion learnt from {len(known)} other faces of this test set: left out."


def test_a_champion_that_learnt_from_the_test_set_is_not_compared(
    checkout: Path, weak: Path, strong: Path, tmp_path: Path
) -> None:
    registered(weak)
    other = tmp_path / "other"
    prepare(other, CropConfig(size=24, colour="grey", workers=1), seed=7)
    shutil.copytree(strong / "build/train", other / "build/train", dirs_exist_ok=True)
    evaluate(other, "of another split")
    report = registered(other)
    assert report["outcome"] == "refused"
    assert "faces of this test set, and" in report["reasons"][0] and "it takes 50." in report["reasons"][0]
    assert aliases() == {"champion": 1, "challenger": 2}
    assert report["numbers"]["decisions_on_this_test_set"] == 0


@pytest.fixture(scope="module")
def recut(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same photos and split with larger faces in colour, and a model of these."""
    root = tmp_path_factory.mktemp("recut") / "checkout"
    prepare(root, CropConfig(size=32, colour="rgb", margin=0.05, workers=1))
    train(root, steps=40)
    return root


def test_a_champion_of_another_crop_meets_faces_cut_for_it_and_is_not_compared_without_the_raw_photos(
    checkout: Path, weak: Path, recut: Path, tmp_path: Path
) -> None:
    """The champion's accuracy through the registry is the one that its own evaluation found."""
    first = registered(weak)
    other = Path(shutil.copytree(recut, tmp_path / "other"))
    for part in ("train", "val", "test"):
        ids, wanted = (pd.read_parquet(at / f"build/split/{part}.parquet")["face_id"] for at in (other, weak))
        assert list(ids) == list(wanted)
    (other / "data").rename(other / "away")
    refused = registered(other)
    assert refused["outcome"] == "refused" and "raw photos" in refused["reasons"][0]
    (other / "away").rename(other / "data")
    report = registered(other)
    assert report["outcome"] in ("challenger", "promoted")
    assert report["numbers"]["champion"]["accuracy"] == first["numbers"]["candidate"]["accuracy"]


def test_looks_at_a_test_set_are_counted_by_its_faces(
    checkout: Path, weak: Path, strong: Path, recut: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another crop and a deleted version change nothing, the same model counts once, an evaluation alone counts."""
    registered(weak)
    other = Path(shutil.copytree(recut, tmp_path / "other"))
    faces = candidate_of(weak).test_faces
    monkeypatch.setenv("MIEN_STATE", str(other / ".mien"))
    for temperature in (1.0, 1.0, 2.0):
        record_look(faces, strong / "build/train", temperature)
    connect().delete_model_version(NAME, "1")
    report = registered(other)
    assert report["numbers"]["test_faces"] == faces
    assert report["numbers"]["models_measured_on_this_test_set"] == 4
    assert report["numbers"]["decisions_on_this_test_set"] == 0  # nobody reigned that it could be compared with
    assert report["reasons"][-1] == "4 models have been measured on this test set."
    connect().delete_model_version(NAME, "2")
    assert registered(other)["numbers"]["models_measured_on_this_test_set"] == 4


def test_decisions_share_the_error_budget_of_their_test_faces(
    checkout: Path, weak: Path, strong: Path, tmp_path: Path
) -> None:
    """A first champion, reruns, other rules and deleted versions spend nothing; the last share spent, a person acts."""
    rules = RegisterConfig(bootstrap=300, decisions=1)
    assert registered(weak, rules)["numbers"]["decisions_on_this_test_set"] == 0
    other = tmp_path / "other"
    shutil.copytree(weak, other)
    less_sure(other)
    report = registered(other, rules)
    assert (report["outcome"], report["version"]) == ("challenger", 2)
    assert "Decision 1 of 1 that this test set allows, at level 0.05 each." in report["reasons"]
    assert registered(other, rules) == report
    connect().delete_model_version(NAME, "2")
    again = registered(other, dataclasses.replace(rules, seed=7))
    assert "Decision 1 of 1 that this test set allows, at level 0.05 each." in again["reasons"]
    report = registered(strong, rules)
    assert (report["outcome"], report["champion"]) == ("challenger", 1)
    assert report["numbers"]["decisions_on_this_test_set"] == 1
    spent = "All decisions that this test set allows have been made (1), so the gate promotes nothing more by it: "
    assert any(reason.startswith(spent) and "`mien promote`" in reason for reason in report["reasons"])
    assert registered(strong, dataclasses.replace(rules, decisions=20))["outcome"] == "challenger"
    report = registered(strong, dataclasses.replace(rules, alpha=0.1, decisions=2))
    assert (report["outcome"], report["champion"]) == ("promoted", report["version"])
    assert "Decision 2 of 2 that this test set allows, at level 0.05 each." in report["reasons"]


def test_a_candidate_that_is_worse_on_a_group_of_a_slice_is_kept_out(
    checkout: Path, weak: Path, strong: Path, tmp_path: Path
) -> None:
    """`night` holds three faces whose labels are made those that the champion alone gives, and some that both know."""
    root = tmp_path / "cameras"
    shutil.copytree(strong, root)
    champion, better = (pd.read_csv(at / "reports/predictions.csv") for at in (weak, strong))
    lost = np.flatnonzero(~champion["correct"] & better["correct"])[:3]
    test = pd.read_parquet(root / "build/split/test.parquet")
    test.loc[lost, "label"] = champion["predicted"][lost].map(EXPRESSIONS.index).astype("int8")
    test.to_parquet(root / "build/split/test.parquet")
    dark = test["face_id"][[*lost, *np.flatnonzero(champion["correct"])[:17]]]
    table = pd.read_parquet(root / "build/ingest/faces.parquet")
    table["camera"] = np.where(table["face_id"].isin(dark), "night", "day")
    table.to_parquet(root / "build/ingest/faces.parquet")
    candidate = candidate_of(root)
    candidate = dataclasses.replace(candidate, data=dataclasses.replace(candidate.data, slices=("camera",)))
    registered(weak)

    def decided(slice: str, margin: float) -> dict[str, Any]:
        rules = RegisterConfig(bootstrap=300, alpha=0.3, no_group_worse=NoGroupWorse(slice, margin))
        return register(candidate, rules, decides=True)

    with pytest.raises(UserError, match=r"'camra' is no slice \(did you mean camera\?\); there are class, face size"):
        decided("camra", 0.01)
    report = decided("camera", 0.01)
    assert report["outcome"] == "challenger"
    worse = "Worse beyond noise by more than the 1 points that no_group_worse allows by camera: night -"
    assert any(reason.startswith(worse) for reason in report["reasons"])
    assert report["numbers"]["groups"]["day"]["value"] > 0 > report["numbers"]["groups"]["night"]["high"]
    assert decided("camera", 0.99)["outcome"] == "promoted"


GOOD = Scores(
    n=200,
    photos=150,
    majority_share=0.2,
    accuracy=Interval(0.6, 0.55, 0.65),
    unweighted_average_recall=Interval(0.58, 0.5, 0.66),
    calibration_error=Interval(0.05, 0.02, 0.09),
)
BETTER = {
    "accuracy": Interval(0.05, 0.01, 0.09),
    "unweighted_average_recall": Interval(0.04, -0.01, 0.09),
    "calibration_error": Interval(0.0, -0.02, 0.02),
}
RULES = RegisterConfig()


@pytest.mark.parametrize(
    ("scores", "words"),
    [
        (dataclasses.replace(GOOD, accuracy=Interval(0.3, 0.2, 0.4)), "not above the largest class's share of 0.200"),
        (dataclasses.replace(GOOD, accuracy=Interval(0.6, float("nan"), float("nan"))), "not above"),
        (dataclasses.replace(GOOD, calibration_error=Interval(0.26, 0.2, 0.3)), "0.260: above max_ece of 0.25"),
    ],
)
def test_first_champion_beats_the_majority_and_is_calibrated(scores: Scores, words: str) -> None:
    assert decide(GOOD, None, RULES).outcome == PROMOTED
    decision = decide(scores, None, RULES)
    assert decision.outcome == CHALLENGER
    assert words in " ".join(decision.reasons)


def test_a_better_candidate_is_promoted_with_the_numbers_in_its_reasons() -> None:
    decision = decide(GOOD, BETTER, RULES)
    assert decision.outcome == PROMOTED
    assert "+5.0 points, at least +1.0 points with 99.5 % confidence: it is better" in " ".join(decision.reasons)
    assert "200 faces of 150 photos" in " ".join(decision.reasons)
    within_noise = {**BETTER, "calibration_error": Interval(0.02, -0.001, 0.05)}
    assert decide(GOOD, within_noise, RULES).outcome == PROMOTED


@pytest.mark.parametrize(
    ("measure", "interval", "words"),
    [
        ("accuracy", Interval(0.05, -0.001, 0.1), "may not be better"),
        ("accuracy", Interval(0.0, 0.0, 0.0), "may not be better"),
        ("accuracy", Interval(float("nan")), "may not be better"),
        ("unweighted_average_recall", Interval(-0.001, -0.05, 0.05), "recall changes by -0.1"),
        ("calibration_error", Interval(0.03, 0.01, 0.05), "worse beyond noise"),
    ],
)
def test_each_rule_alone_keeps_a_candidate_out(measure: str, interval: Interval, words: str) -> None:
    decision = decide(GOOD, {**BETTER, measure: interval}, RULES)
    assert decision.outcome == CHALLENGER
    assert words in " ".join(decision.reasons)


@pytest.mark.parametrize(
    ("groups", "outcome", "words"),
    [
        ({"day": Interval(0.04, 0.01, 0.07), "night": Interval(-0.2, -0.3, -0.1)}, CHALLENGER, "night -20.0 points"),
        ({"day": Interval(0.04, 0.01, 0.07), "night": Interval(-0.2, -0.5, 0.1)}, PROMOTED, "night -20.0 points"),
        ({"day": Interval(-0.04, -0.05, -0.03)}, PROMOTED, "No group is worse beyond noise by more than the 5 points"),
        (
            {"day": Interval(0.1, 0, 0.2), "low, 18–38": Interval(-1.0), "not given": Interval(-1.0)},
            PROMOTED,
            "Too few faces to be compared: low, 18–38; not given.",
        ),
        ({}, PROMOTED, "No group by camera has enough faces to be compared, so no_group_worse decides nothing."),
    ],
)
def test_a_group_is_worse_by_more_than_the_margin_and_beyond_noise(
    groups: dict[str, Interval], outcome: str, words: str
) -> None:
    rules = RegisterConfig(no_group_worse=NoGroupWorse("camera", 0.05))
    decision = decide(GOOD, BETTER, rules, groups=groups)
    assert decision.outcome == outcome
    assert words in " ".join(decision.reasons)


def test_what_was_spent_counts_by_its_level() -> None:
    nine = {str(k): (k, 0.005) for k in range(1, 10)}
    assert place_of({}, "a", RULES) == (1, 10)
    assert place_of(nine, "a", RULES) == (10, 10)
    assert place_of(nine, "3", RULES) == (3, 10)
    assert place_of({**nine, "a": (10, 0.005)}, "a", RULES) == (10, 10)
    assert place_of({**nine, "a": (10, 0.005), "looked at": None}, "b", RULES) == (11, 10)
    assert place_of(nine, "a", RegisterConfig(decisions=100)) == (10, 19)


@pytest.mark.slow
def test_ten_candidates_are_seldom_promoted_by_chance_and_a_better_one_is_by_merit() -> None:
    """The smallest cells of docs/evidence/coverage.md."""
    assert simulate(200, 0.2, "no gain", 100, RULES)[PROMOTED] <= 5
    assert simulate(3589, 0.2, "tenth", 40, dataclasses.replace(RULES, bootstrap=100))[PROMOTED] >= 80


def test_manual_approval_leaves_the_last_word_to_a_person() -> None:
    decision = decide(GOOD, BETTER, RegisterConfig(approve="manual"))
    assert decision.outcome == CHALLENGER
    assert "approve is manual" in decision.reasons[-1]
    lost = decide(GOOD, {**BETTER, "accuracy": Interval(-0.1, -0.2, 0.0)}, RegisterConfig(approve="manual"))
    assert "approve is manual" not in " ".join(lost.reasons)
