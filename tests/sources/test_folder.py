"""The source `folder` on class folders as people have them."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from mien.base.classes import EXPRESSIONS
from mien.base.errors import UserError
from mien.inference.annotation import overlap
from mien.runtime.cut import WHOLE_PHOTO, Box
from mien.sources.detect import YuNetDetector
from mien.sources.folder import Folder
from mien.sources.source import DataConfig, Ingested, get_source
from tests.inference.conftest import portrait
from tests.photosets import encode, photo, refused

SPELT = {
    "public copies": ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"),
    "nouns": ("Anger", "Disgust", "Fear", "Happiness", "Sadness", "Surprise", "Neutral"),
    "adjectives": ("ANGRY", "DISGUSTED", "FEARFUL", "HAPPY", "SAD", "SURPRISED", "NEUTRAL"),
    "numbered": ("0_angry", "1_disgust", "2-fear", "3 Happy", "4. sad", "05surprise", "6_neutral"),
    "another order": ("1 anger", "2 disgust", "3 fear", "4 happy", "5 sad", "6 surprise", "0 neutral"),
}


def put(root: Path, names: Iterable[str]) -> None:
    """A photo of its own under each name."""
    for name in names:
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(photo(seed=sum(name.encode()) * 31 + len(list(root.rglob("*")))))


def labels(ingested: Ingested) -> dict[str, str]:
    faces = ingested.faces
    return {name: EXPRESSIONS[label] for name, label in zip(faces["face_id"], faces["label"], strict=True)}


def problems(ingested: Ingested) -> dict[str, str]:
    return dict(zip(ingested.problems["where"], ingested.problems["reason"], strict=True))


@pytest.mark.parametrize("names", SPELT.values(), ids=SPELT)
def test_any_public_spelling_is_understood(tmp_path: Path, names: tuple[str, ...]) -> None:
    put(tmp_path, [f"{name}/{i}.jpg" for i, name in enumerate(names)])
    assert labels(Folder().ingest(tmp_path)) == {f"{n}/{i}.jpg": EXPRESSIONS[i] for i, n in enumerate(names)}


@pytest.mark.parametrize(
    ("folders", "parts"),
    [
        (("train", "validation", "test"), ["train", "val", "test"]),
        (("Training", "valid"), ["train", "val"]),
        (("train", "test"), ["train", "test"]),
        (("dev", "Test"), ["val", "test"]),
        (("Training", "PublicTest", "PrivateTest"), ["train", "val", "test"]),
        (("private_test",), ["test"]),
        (("",), [""]),
    ],
)
def test_parts_in_any_combination_become_the_official_split(
    tmp_path: Path, folders: tuple[str, ...], parts: list[str]
) -> None:
    put(tmp_path, [f"{folder}/{name}/1.jpg".lstrip("/") for folder in folders for name in ("happy", "sad")])
    faces = Folder().ingest(tmp_path).faces
    assert sorted(faces["source_split"]) == sorted(parts * 2)
    tops = [image.split("/")[0] if parts != [""] else "" for image in faces["image"]]
    assert set(zip(tops, faces["source_split"], strict=True)) == set(zip(folders, parts, strict=True))


def test_a_face_is_the_whole_photo_and_can_be_read_by_its_name(tmp_path: Path) -> None:
    put(tmp_path, ["train/happy/a b.png", "train/happy/ü\n'\"%,;.jpeg", "train/sad/deep/er/c.JPG"])
    ingested = Folder().ingest(tmp_path)
    assert ingested.problems.empty
    assert (ingested.faces[["top", "left", "right", "bottom"]] == WHOLE_PHOTO).all(axis=None)
    assert ingested.faces["confidence"].isna().all()
    assert (ingested.faces["image"] == ingested.faces["face_id"]).all()
    photos = Folder().photos(tmp_path, tmp_path / "unused")
    for name in ingested.faces["image"]:
        assert photos.read(name) == (tmp_path / name).read_bytes()


def test_one_name_in_two_classes_is_two_faces_and_photos_of_one_class_may_be_copies(tmp_path: Path) -> None:
    put(tmp_path, ["train/happy/Training_1.jpg", "train/sad/Training_1.jpg"])
    found = {f"train/{name}/Training_1.jpg": name for name in ("happy", "sad")}
    assert labels(Folder().ingest(tmp_path)) == found
    (tmp_path / "train/happy/2.jpg").write_bytes((tmp_path / "train/happy/Training_1.jpg").read_bytes())
    assert Folder().ingest(tmp_path).problems.empty


def test_class_names_say_what_other_folders_mean(tmp_path: Path) -> None:
    put(tmp_path, ["Wut/1.jpg", "angry/2.jpg", "froh/3.jpg", "contempt/4.jpg", "1/5.jpg"])
    options = {"wut": "anger", "froh": "happy", "contempt": None, "1": "surprise"}
    ingested = Folder(class_names=options).ingest(tmp_path)
    meant = {"Wut/1.jpg": "angry", "angry/2.jpg": "angry", "froh/3.jpg": "happy", "1/5.jpg": "surprise"}
    assert labels(ingested) == meant
    assert problems(ingested) == {"contempt/4.jpg": "left_out"}


def test_a_folder_of_contempt_makes_eight_classes(tmp_path: Path) -> None:
    put(tmp_path, ["train/happy/1.jpg", "test/Contempt/2.jpg", "test/neutral/3.jpg"])
    ingested = Folder().ingest(tmp_path)
    assert ingested.classes == (*EXPRESSIONS, "contempt")
    assert sorted(ingested.faces["label"]) == [3, 6, 7]
    left_out = Folder(class_names={"contempt": None}).ingest(tmp_path)
    assert left_out.classes == EXPRESSIONS and sorted(left_out.faces["label"]) == [3, 6]


def test_a_part_can_be_left_out(tmp_path: Path) -> None:
    put(tmp_path, ["train/happy/1.jpg", "test/2.jpg", "test/3.jpg"])
    ingested = Folder(class_names={"test": None}).ingest(tmp_path)
    assert problems(ingested) == {"test/2.jpg": "left_out", "test/3.jpg": "left_out"}


def test_formats_are_known_by_the_ends_of_their_names(tmp_path: Path) -> None:
    ends = ["jpg", "jpeg", "jpe", "jfif", "mpo", "png", "bmp", "webp", "tif", "tiff", "gif", "ppm", "pgm", "pbm"]
    put(tmp_path, [f"happy/a.{end}" for end in (*ends, "JPG")])
    assert len(Folder().ingest(tmp_path).faces) == len(ends) + 1
    documented = (Path(__file__).parents[2] / "docs/howto/own-data.md").read_text()
    assert all(f"`.{end}`" in documented for end in ends)


NUMBERED = {  # as their publishers write it
    "fer2013": ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"),
    "affectnet": ("neutral", "happy", "sad", "surprise", "fear", "disgust", "angry", "contempt"),
    "rafdb": ("", "surprise", "fear", "disgust", "happy", "sad", "angry", "neutral"),
}


@pytest.mark.parametrize("numbering", NUMBERED)
def test_numbers_mean_what_the_named_data_set_means_by_them(tmp_path: Path, numbering: str) -> None:
    names = {number: name for number, name in enumerate(NUMBERED[numbering]) if name}
    put(tmp_path, [f"train/{number}/{i}.jpg" for number in names for i in range(number + 1)])
    options = {"numbering": numbering}
    ingested = get_source(DataConfig("mine", "folder", "data/mine", options=options)).ingest(tmp_path)
    faces = ingested.faces
    found = {image.split("/")[1]: ingested.classes[k] for image, k in zip(faces["image"], faces["label"], strict=True)}
    assert found == {str(number): name for number, name in names.items()}
    assert ingested.notes == tuple(f"train/{number}/ is {name}: {number + 1:,} faces" for number, name in names.items())


@pytest.mark.parametrize(
    ("files", "says"),
    [
        (["3/1.jpg", "happy/2.jpg"], r"3/ and happy/ in .* mean the same class, happy"),
        (["0/1.jpg", "7/1.jpg"], r"holds 7/, which fer2013 .* does not have; .*class_names: \{7: happy\}"),
        (["happy/1.jpg"], r"numbering: fer2013: there is no numbered folder"),
    ],
)
def test_a_numbering_that_does_not_fit_is_refused(tmp_path: Path, files: list[str], says: str) -> None:
    put(tmp_path, files)
    refused(Folder(numbering="fer2013"), tmp_path, says)


@pytest.mark.parametrize(
    ("files", "class_names", "says"),
    [
        (["angry/1.jpg", "wut/2.jpg"], {}, r"holds wut/, which is no known expression; .*class_names: \{wut: happy\}"),
        (["angry/1.jpg", "wut/2.jpg", "x/3.jpg"], {}, r"holds wut/, x/, which are no known"),
        (["anger/1.jpg", "angry/2.jpg"], {}, r"anger/ and angry/ in .* mean the same class, angry; join.*\{angry: a"),
        (["sad/1.jpg", "Sad/2.jpg"], {}, r"Sad/ and sad/ in .* mean the same class, sad"),
        (["val/sad/1.jpg", "valid/sad/2.jpg"], {}, r"val/ and valid/ in .* mean the same part, val; join"),
        (
            [f"{number}/1.jpg" for number in range(7)],
            {},
            r"holds 0/, .*, 6/, and data sets number expressions differently; .* numbering: fer2013 \(0 angry, "
            r".*\), affectnet \(0 neutral, .*\), rafdb \(1 surprise, .*\); or .* class_names: \{0: happy\}",
        ),
        ([f"{number}/1.jpg" for number in range(8)], {"7": "contempt"}, r"holds 0/, .*, 6/, and data sets number"),
        (["train/sad/1.jpg", "sad/2.jpg"], {}, r"sad is beside parts; .*move it into one"),
        (["train/sad/1.jpg", "more/2.jpg"], {}, r"more is beside parts; .*class_names"),
        (["sad/train/1.jpg", "happy/train/1.jpg"], {}, r"happy/train, a part or class, lies in class happy/"),
        (["sad/happy/1.jpg"], {}, r"sad/happy, a part or class, lies in class sad/; the order is"),
        (["fer/train/sad/1.jpg"], {}, r"holds fer/, which is no .*; fer/ holds train/: move what is in it up to "),
        (["fer/photos/1.jpg", "x.jpg"], {}, r"holds fer/, which is no known expression"),
        (["1.jpg"], {}, r"holds no class folder such as angry/ or train/angry/; it holds no folder"),
        (["train/sad/1.jpg", "test/1.jpg"], {}, r"test holds no class folder such as sad/; .*class_names"),
        (["sad/1.txt"], {}, r"no usable photo \(1 were set aside; the first: sad/1.txt: the name has no ending"),
        (["sad/1.jpg"], {"sda": "happy"}, r"class_names: sda: there is no such folder in"),
    ],
)
def test_what_could_be_misunderstood_is_refused(
    tmp_path: Path, files: list[str], class_names: dict[str, str | None], says: str
) -> None:
    put(tmp_path, files)
    refused(Folder(class_names=class_names), tmp_path, says)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"class_names": {"wut": "angri"}}, r"mine: options: class_names: wut: 'angri' is no .*; did you mean angry\?"),
        ({"class_names": ["wut"]}, r"options: a data set needs 2 to 100 classes, not 1 \(wut\)"),
        (
            {"class_names": 3},
            r"options: class_names must be lines of `name: value`, not 3\.\n.*must be a valid list, not 3",
        ),
        ({"class_names": ["a", "b"], "numbering": "rafdb"}, r"numbering says what numbers mean, and so does a list"),
        ({"class_names": {"0": "a", "1": "b"}, "numbering": "rafdb"}, r"rafdb numbers the expressions, and class_na"),
        ({"conflicting_labels": "drop"}, r"conflicting_labels must be 'quarantine' or 'keep', not 'drop'"),
        ({"classes": {}}, r"options: there is no key .classes. .*class_names, numbering, conflicting_labels"),
        ({"numbering": "ckplus"}, r"options: numbering must be .*'fer2013', 'affectnet' or 'rafdb', not 'ckplus'"),
    ],
)
def test_wrong_options_name_the_data_set(options: dict[str, object], says: str) -> None:
    with pytest.raises(UserError, match=says):
        get_source(DataConfig(name="mine", source="folder", path="data/mine", options=options))


def test_every_file_is_a_face_or_a_problem(tmp_path: Path) -> None:
    put(tmp_path, ["train/sad/1.jpg", "train/happy/2.jpg", "test/sad/3.jpg"])
    odd = ["train/sad/Thumbs.db", "train/sad/.DS_Store", "train/happy/list.txt", "train/happy/._2.jpg", "README.md"]
    put(tmp_path, [*odd, "train/5.jpg", "train/happy/photo", "__MACOSX/train/1.jpg", ".git/a", ".git/b/c"])
    (tmp_path / "test/disgust").mkdir()
    os.mkfifo(tmp_path / "train/sad/pipe.jpg")
    ingested = Folder().ingest(tmp_path)
    assert sorted(labels(ingested)) == ["test/sad/3.jpg", "train/happy/2.jpg", "train/sad/1.jpg"]
    not_photos = [*odd, "train/happy/photo", "train/sad/pipe.jpg", "__MACOSX", ".git"]
    others = {"train/5.jpg": "no_class", "test/disgust": "empty_folder"}
    assert problems(ingested) == dict.fromkeys(not_photos, "not_a_photo") | others
    by_path = ingested.problems.set_index("where")
    assert by_path.loc[".git", "detail"] == "a hidden folder"
    assert by_path.loc["train/happy/list.txt", "label"] == "happy"
    assert by_path.loc["test/disgust", "label"] == "disgust"


def test_links_that_lead_out_are_set_aside_and_linked_folders_refused(tmp_path: Path) -> None:
    root = tmp_path / "data"
    put(root, ["sad/1.jpg", "happy/1.jpg"])
    (tmp_path / "secret.jpg").write_bytes(photo(seed=9))
    (root / "sad/out.jpg").symlink_to(tmp_path / "secret.jpg")
    (root / "sad/gone.jpg").symlink_to(root / "sad/nothing.jpg")
    (root / "sad/within.jpg").symlink_to("1.jpg")
    ingested = Folder().ingest(root)
    assert problems(ingested) == {"sad/out.jpg": "link_outside", "sad/gone.jpg": "missing_photo"}
    assert "sad/within.jpg" in labels(ingested)
    for link in ("sad/loop", "fear"):
        (root / link).symlink_to(root / "happy")
        refused(Folder(), root, rf"{link} is a link to a folder; replace it by the folder")
        (root / link).unlink()


def test_a_linked_data_set_is_read(tmp_path: Path) -> None:
    put(tmp_path / "there", ["sad/1.jpg", "happy/1.jpg"])
    (tmp_path / "here").symlink_to(tmp_path / "there")
    assert len(Folder().ingest(tmp_path / "here").faces) == 2


def test_names_that_are_no_text_are_set_aside(tmp_path: Path) -> None:
    put(tmp_path, ["sad/1.jpg"])
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/sad/\xff.jpg")).write_bytes(photo(seed=3))
    (tmp_path / "sad" / "..\\..\\x.jpg").write_bytes(photo(seed=4))
    ingested = Folder().ingest(tmp_path)
    assert problems(ingested) == {"sad/\\udcff.jpg": "malformed_name", "sad/..\\..\\x.jpg": "malformed_name"}
    ingested.problems.to_csv(tmp_path / "problems.csv")  # as the stage writes it


def test_a_photo_under_two_classes_is_set_aside_everywhere(tmp_path: Path) -> None:
    put(tmp_path, ["train/sad/1.jpg", "train/fear/2.jpg", "test/happy/3.jpg", "test/sad/4.jpg"])
    for name in ("train/sad/5.jpg", "test/fear/6.jpg", "test/fear/7.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes((tmp_path / "test/happy/3.jpg").read_bytes())
    ingested = Folder().ingest(tmp_path)
    assert sorted(labels(ingested)) == ["test/sad/4.jpg", "train/fear/2.jpg", "train/sad/1.jpg"]
    copies = ["test/fear/6.jpg", "test/fear/7.jpg", "test/happy/3.jpg", "train/sad/5.jpg"]
    assert problems(ingested) == dict.fromkeys(copies, "conflicting_labels")
    row = ingested.problems.set_index("where").loc["train/sad/5.jpg"]
    assert (row["label"], row["face_id"]) == ("sad", "train/sad/5.jpg")
    assert row["detail"] == "the same photo as test/fear/6.jpg, test/fear/7.jpg, test/happy/3.jpg, under another class"
    kept = Folder(conflicting_labels="keep").ingest(tmp_path)
    assert len(kept.faces) == 7 and kept.problems.empty


def test_faces_of_whole_photographs_are_detected_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIEN_STATE", str(tmp_path / "state"))
    root = tmp_path / "data"
    picture, box = portrait()
    small = cv2.resize(picture, None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA)
    both = np.zeros((picture.shape[0], picture.shape[1] + small.shape[1], 3), np.uint8)
    both[: small.shape[0], : small.shape[1]] = small
    both[:, small.shape[1] :] = picture
    files = {"happy/one.png": encode(picture, "PNG"), "sad/two.png": encode(both, "PNG"), "sad/none.jpg": photo()}
    for name, data in {**files, "fear/broken.png": files["happy/one.png"][:-900]}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    largest = Folder(faces="detect").ingest(root)
    assert problems(largest) == {"fear/broken.png": "truncated", "sad/none.jpg": "no_face"}
    assert largest.faces["face_id"].tolist() == ["happy/one.png:0", "sad/two.png:0"]
    edges = largest.faces[["top", "left", "right", "bottom"]].to_numpy().tolist()
    assert overlap(Box(*edges[0]), box) > 0.4
    moved = Box(box.top, box.left + small.shape[1], box.right + small.shape[1], box.bottom)
    assert overlap(Box(*edges[1]), moved) > 0.4
    assert largest.faces["confidence"].between(70, 100).all()  # above the shipped filter of 30
    monkeypatch.setattr(YuNetDetector, "detect", None)  # a second search would fail
    everyone = Folder(faces="detect", faces_per_photo="all").ingest(root)
    assert everyone.faces["face_id"].tolist() == ["happy/one.png:0", "sad/two.png:0", "sad/two.png:1"]


def own(root: Path, class_names: Any) -> tuple[tuple[str, ...], dict[str, str]]:
    """The classes, and each photo's class by its first folder."""
    ingested = Folder(class_names=class_names).ingest(root)
    faces = ingested.faces
    tops = faces["image"].str.split("/").str[0]
    return ingested.classes, {top: ingested.classes[k] for top, k in zip(tops, faces["label"], strict=True)}


def test_folders_of_other_names_are_classes_of_their_own(tmp_path: Path) -> None:
    put(tmp_path, ["train/engaged/1.jpg", "train/Bored/2.jpg", "test/confused/3.jpg", "test/bored/4.jpg"])
    ingested = Folder().ingest(tmp_path)
    assert ingested.classes == ("bored", "confused", "engaged")  # as torchvision's ImageFolder sorts them
    assert ingested.notes == ("The classes are the folders' own names, sorted: bored, confused, engaged.",)
    by_image = {"train/engaged/1.jpg": 2, "train/Bored/2.jpg": 0, "test/confused/3.jpg": 1, "test/bored/4.jpg": 0}
    assert ingested.faces.set_index("image")["label"].to_dict() == by_image


@pytest.mark.parametrize(
    ("folders", "class_names", "classes", "meant"),
    [
        (["bored", "engaged"], ["engaged", "bored"], ["engaged", "bored"], ["bored", "engaged"]),
        (["0", "2"], ["engaged", "bored", "tired"], ["engaged", "bored", "tired"], ["engaged", "tired"]),
        (["1", "2"], {"1": "zest", "2": "bored"}, ["zest", "bored"], ["zest", "bored"]),
        (["bored", "x", "zest"], {"x": "bored", "zest": "zest"}, ["bored", "zest"], ["bored", "bored", "zest"]),
        (["Anger", "unhappy"], ["unhappy", "angry"], ["unhappy", "angry"], ["angry", "unhappy"]),
        (["happy", "unhappy"], {"unhappy": "unhappy", "happy": "happy"}, ["unhappy", "happy"], ["happy", "unhappy"]),
        (["bored", "engaged", "junk"], {"junk": None}, ["bored", "engaged"], ["bored", "engaged"]),
    ],
)
def test_class_names_are_the_vocabulary(
    tmp_path: Path, folders: list[str], class_names: Any, classes: list[str], meant: list[str]
) -> None:
    put(tmp_path, [f"{folder}/1.jpg" for folder in folders])
    expected = dict(zip(folders, meant, strict=False))
    assert own(tmp_path, class_names) == (tuple(classes), expected)


@pytest.mark.parametrize(
    ("folders", "class_names", "says"),
    [
        (["hapy", "bored"], {}, r"hapy/ in .* is almost happy/: rename it, or .*class_names"),
        (["happy", "bored"], {}, r"holds bored/, which is no known expression; .*or name all classes.*class_names: \["),
        (["bored", "tired"], ["bored", "tried"], r"holds tired/, which is none of its classes \(bored, tried\); map"),
        (["0", "1", "2"], ["bored", "tired"], r"holds 2/, which is none of its classes \(bored, tired\)"),
        (["a", "b", "0"], {}, r"data sets number expressions differently; .*: class_names: \[bored, engaged\]"),
        (["left", "up"], {}, r"'left' cannot be the name of a class, because mien has a column of that name; say by"),
        (["ck/happy", "jaffe/sad"], {}, r"holds ck/, jaffe/, which are no .*; ck/ holds happy/: move"),
    ],
)
def test_a_mistyped_expression_never_becomes_a_class(
    tmp_path: Path, folders: list[str], class_names: Any, says: str
) -> None:
    put(tmp_path, [f"{folder}/1.jpg" for folder in folders])
    with pytest.raises(UserError, match=says):
        own(tmp_path, class_names)
