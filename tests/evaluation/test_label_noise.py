"""Labels that were turned on purpose come to the top, and a killed run goes on."""

import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mien.base.classes import EXPRESSIONS
from mien.base.errors import UserError
from mien.evaluation.label_noise import find_label_noise, rank_labels, read_training_faces
from mien.reporting.evaluation_report import write_label_noise
from tests.evaluation.labelled import RECIPE, TURNED, cropped, turn_labels

__all__ = ["cropped"]
ABOUT = {"title": "bars", "model": "resnet4", "folds": 3, "epochs": 14}


class Killed(Exception):
    """In the middle of the work."""


def test_turned_labels_stand_at_the_top_and_a_killed_run_goes_on(cropped: Path, tmp_path: Path) -> None:
    root = tmp_path / "workspace"
    shutil.copytree(cropped, root)
    before = (root / "build/split/val.parquet").read_bytes()
    turned = turn_labels(root)
    told: list[tuple[int, bool]] = []

    def kill_after_two(number: int, kept: bool) -> None:
        told.append((number, kept))
        if len(told) == 2:
            raise Killed

    with pytest.raises(Killed), find_label_noise(root, RECIPE, 3, kill_after_two):
        pass
    with find_label_noise(root, RECIPE, 3, lambda number, kept: told.append((number, kept))) as verdict:
        write_label_noise(verdict, ABOUT, root / "out")
    assert told == [(0, False), (1, False), (0, True), (1, True), (2, False)]
    assert not list((root / ".mien/labels").glob("*/"))

    ranked = verdict.ranked
    assert verdict.accuracy > 0.7
    top = set(ranked["face_id"].head(TURNED + 3))
    assert len(top & turned) >= TURNED - 2, (len(top & turned), verdict.accuracy)
    assert ranked["suspect"].sum() < len(ranked) / 4
    for suspect in (True, False):
        assert ranked.loc[ranked["suspect"] == suspect, "quality"].is_monotonic_increasing
    assert ranked["suspect"].is_monotonic_decreasing
    found = ranked[ranked["face_id"].isin(top & turned)]
    right = [(EXPRESSIONS.index(row.label) - EXPRESSIONS.index(row.suggested)) % 7 == 2 for row in found.itertuples()]
    assert np.mean(right) > 0.8  # suggested is what the face shows
    assert (root / "build/split/val.parquet").read_bytes() == before

    table = pd.read_csv(root / "out/labels.csv")
    assert len(table) == len(ranked) and table["suspect"].sum() == ranked["suspect"].sum()
    page = (root / "out/labels.html").read_text()
    assert f"{ranked['suspect'].sum()} labels to look at" in page
    assert not re.findall(r"(?:src|href)=\"(?!data:)", page)


def test_the_test_part_stays_closed(cropped: Path, tmp_path: Path) -> None:
    root = tmp_path / "workspace"
    shutil.copytree(cropped, root)
    (root / "build/split/test.parquet").unlink()
    assert set(read_training_faces(root)["part"]) == {"train", "val"}


def test_a_class_without_a_face_takes_no_part() -> None:
    random = np.random.default_rng(0)
    labels = np.repeat([0, 3, 6], 20)
    shown = labels.copy()
    labels[0], labels[25] = 3, 6
    probabilities = random.dirichlet(np.ones(7), 60) * 0.1
    probabilities[np.arange(60), shown] += 0.9
    table = pd.DataFrame({"face_id": [str(i) for i in range(60)], "image": "i", "part": "train", "label": labels})
    table["row"] = table.index
    ranked = rank_labels(table, probabilities, EXPRESSIONS)
    assert set(ranked[ranked["suspect"]]["face_id"]) == {"0", "25"}
    assert set(ranked["face_id"].head(2)) == {"0", "25"}
    assert ranked.set_index("face_id").loc["0", ["label", "suggested"]].tolist() == ["happy", "angry"]
    with pytest.raises(UserError, match="have the same label"):
        rank_labels(table.assign(label=3), probabilities, EXPRESSIONS)
