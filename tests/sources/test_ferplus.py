import os
from pathlib import Path

import numpy as np
import pytest

from mien.base.classes import EXPRESSIONS, WITH_CONTEMPT
from mien.base.errors import UserError
from mien.sources.fer2013 import Fer2013, label_of_votes
from mien.sources.source import BadRow, DataConfig, Ingested, get_source
from tests.fer_csv import row, unpacked_fer2013, write_csv
from tests.photosets import refused

HEADER = "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF"
# neutral happiness surprise sadness anger disgust fear contempt unknown NF
HAPPY = (0, 10, 0, 0, 0, 0, 0, 0, 0, 0)
MIXED = (4, 0, 0, 1, 3, 2, 0, 0, 0, 0)
CONTEMPT = (2, 0, 0, 0, 0, 0, 0, 7, 0, 1)
UNKNOWN = (2, 0, 0, 0, 0, 0, 0, 1, 7, 0)
NO_FACE = (0, 0, 0, 0, 0, 0, 0, 0, 0, 10)
ALL = (HAPPY, MIXED, CONTEMPT, UNKNOWN, NO_FACE)
MAJORITY = Fer2013(ferplus="majority")


def write_votes(folder: Path, votes: list[tuple[int, ...]], usage: str = "Training", header: str = HEADER) -> Path:
    """The image's number is not the row, as in FER+'s own file."""
    rows = [f"{usage},fer{i + 7:07d}.png,{','.join(map(str, counts))}" for i, counts in enumerate(votes)]
    file = folder / "fer2013new.csv"
    file.write_text("\n".join([header, *rows, ""]), encoding="utf-8", newline="")
    return file


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five rows that FER2013 calls sad."""
    write_csv(tmp_path, [row(i, label=4) for i in range(5)])
    write_votes(tmp_path, list(ALL))
    return tmp_path


def read(folder: Path, **options: object) -> Ingested:
    return get_source(DataConfig("ferplus", "fer2013", str(folder), options=options)).ingest(folder)


def labels(ingested: Ingested) -> dict[str, str]:
    """The class's name of each face."""
    names = [ingested.classes[label] for label in ingested.faces["label"]]
    return dict(zip(ingested.faces["face_id"], names, strict=True))


def test_which_rows_stay_depends_on_the_mode_and_the_others_are_named(folder: Path) -> None:
    majority = read(folder, ferplus="majority")
    assert labels(majority) == {"row-00000": "happy"}
    assert majority.faces["votes"].tolist() == [None]
    problems = majority.problems
    assert problems["where"].tolist() == [f"fer2013new.csv:{line}" for line in (3, 4, 5, 6)]
    assert problems["face_id"].tolist() == [f"row-0000{i}" for i in (1, 2, 3, 4)]
    assert problems["reason"].tolist() == ["no_agreement", "contempt", "voted_unknown", "voted_no_face"]
    soft = read(folder, ferplus="cross_entropy")
    assert labels(soft) == {"row-00000": "happy", "row-00001": "neutral"}
    assert soft.problems["reason"].tolist() == ["contempt", "voted_unknown", "voted_no_face"]


def test_soft_labels_are_shares_in_the_order_of_the_classes(folder: Path) -> None:
    happy, mixed = read(folder, ferplus="cross_entropy").faces["votes"]
    assert dict(zip(EXPRESSIONS, happy, strict=True))["happy"] == 1
    expected = {"neutral": 4 / 7, "angry": 3 / 7}  # 7 of 9: sad's single vote does not count, disgust is not needed
    np.testing.assert_allclose(mixed, [expected.get(name, 0) for name in EXPRESSIONS])
    equal = read(folder, ferplus="multi_target").faces["votes"][1]
    np.testing.assert_allclose(equal, [{"neutral": 0.5, "angry": 0.5}.get(name, 0) for name in EXPRESSIONS])


def test_contempt_is_kept_as_an_eighth_class_where_it_is_asked_for(folder: Path) -> None:
    eight = read(folder, ferplus="cross_entropy", contempt=True)
    assert eight.classes == WITH_CONTEMPT
    assert labels(eight) == {"row-00000": "happy", "row-00001": "neutral", "row-00002": "contempt"}
    shares = eight.faces["votes"][2]
    assert len(shares) == 8 and shares[7] == pytest.approx(1)  # 7 of 9 votes are enough: neutral is not taken
    assert read(folder, ferplus="majority").classes == EXPRESSIONS


@pytest.mark.parametrize(
    ("votes", "mode", "shares"),
    [
        ((6, 4, 0, 0, 0, 0, 0, 0, 0, 0), "majority", {"neutral": 1}),
        ((5, 5, 0, 0, 0, 0, 0, 0, 0, 0), "majority", "no_agreement"),
        ((5, 5, 0, 0, 0, 0, 0, 0, 0, 0), "cross_entropy", {"neutral": 0.5, "happy": 0.5}),
        ((5, 1, 1, 1, 1, 1, 0, 0, 0, 0), "majority", {"neutral": 1}),
        ((1, 1, 1, 1, 1, 1, 1, 1, 1, 1), "cross_entropy", "no_agreement"),
        ((0, 0, 3, 3, 2, 0, 2, 0, 0, 0), "cross_entropy", "no_agreement"),
        ((0, 0, 2, 2, 2, 2, 2, 0, 0, 0), "cross_entropy", "no_agreement"),
        ((0, 4, 0, 0, 0, 0, 0, 0, 3, 3), "cross_entropy", "no_agreement"),
        ((0, 6, 0, 0, 0, 0, 0, 0, 4, 0), "cross_entropy", {"happy": 1}),
        ((0, 4, 0, 0, 0, 0, 0, 0, 6, 0), "cross_entropy", "voted_unknown"),
        ((0, 4, 0, 0, 0, 0, 0, 0, 0, 6), "multi_target", "voted_no_face"),
        ((0, 4, 0, 3, 3, 0, 0, 0, 0, 0), "multi_target", {"happy": 1 / 3, "sad": 1 / 3, "angry": 1 / 3}),
        ((0, 0, 0, 0, 0, 6, 0, 4, 0, 0), "cross_entropy", {"disgust": 1}),
    ],
)
def test_the_rules_of_the_sets_own_reader(votes: tuple[int, ...], mode: str, shares: dict[str, float] | str) -> None:
    if isinstance(shares, str):
        with pytest.raises(BadRow) as caught:
            label_of_votes(votes, mode, EXPRESSIONS)
        assert caught.value.reason == shares
    else:
        label, found = label_of_votes(votes, mode, EXPRESSIONS)
        np.testing.assert_allclose(found, [shares.get(name, 0) for name in EXPRESSIONS])
        assert EXPRESSIONS[label] == next(iter(shares))


def test_a_row_that_fer2013_lost_does_not_shift_the_votes(tmp_path: Path) -> None:
    write_csv(tmp_path, [row(0), "0,1 2 3,Training", row(2)])
    write_votes(tmp_path, [HAPPY, NO_FACE, (0, 0, 10, 0, 0, 0, 0, 0, 0, 0)])
    ingested = read(tmp_path, ferplus="majority")
    assert labels(ingested) == {"row-00000": "happy", "row-00002": "surprise"}
    assert ingested.problems["reason"].tolist() == ["wrong_pixel_count"]


def test_votes_on_another_csv_are_refused(folder: Path) -> None:
    write_votes(folder, [HAPPY] * 4)
    refused(MAJORITY, folder, r"fer2013new.csv has 4 rows and fer2013.csv 5; they must")
    write_votes(folder, [HAPPY] * 5, usage="PublicTest")
    refused(MAJORITY, folder, r"line 2 is of val and fer2013.csv, line 2 of train; .*order")


def test_what_is_wrong_with_the_votes_is_told_in_a_sentence(folder: Path) -> None:
    file = write_votes(folder, list(ALL))
    file.write_text(file.read_text().replace(",10,", ",x,", 1))
    refused(MAJORITY, folder, r"fer2013new.csv, line 2: 'x' is not a number of votes")
    write_votes(folder, list(ALL), header=HEADER.removesuffix(",NF"))
    refused(MAJORITY, folder, r"it must name nf once")
    file.write_text(f"{HEADER}\nTraining,a,{','.join('0' * 10)}\nTraining,b,1\n")
    refused(MAJORITY, folder, r"line 3: 3 fields where 12 are expected")
    file.unlink()
    refused(MAJORITY, folder, r"fer2013new.csv is missing")
    assert len(read(folder).faces) == 5


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"ferplus": "probability"}, "ferplus must be '', 'majority', 'cross_entropy' or 'multi_target', not"),
        ({"contempt": True}, "contempt needs ferplus"),
        ({"ferplus": "majority", "contempt": "yes"}, "contempt must be a valid boolean, not the text 'yes'"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, object], says: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=says):
        read(tmp_path, **options)


@pytest.mark.skipif("MIEN_REAL_DATA" not in os.environ, reason="MIEN_REAL_DATA does not name the real data sets")
def test_how_many_rows_of_the_real_set_each_mode_keeps(tmp_path: Path) -> None:
    unpacked_fer2013(tmp_path / "data")
    votes = Path(os.environ["MIEN_REAL_DATA"]) / "fer2013/fer2013new.csv"
    (tmp_path / "data/fer2013new.csv").write_bytes(votes.read_bytes())
    kept = {"majority": (25060, 3199, 3153), "cross_entropy": (27956, 3505, 3505), "multi_target": (27671, 3472, 3472)}
    for mode, counts in kept.items():
        faces = Fer2013(ferplus=mode, contempt=True).ingest(tmp_path / "data").faces
        assert tuple((faces["source_split"] == name).sum() for name in ("train", "val", "test")) == counts
