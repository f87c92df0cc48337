"""The source `folder` on class folders as people have them."""

from collections.abc import Iterable
from pathlib import Path

import pytest

from mien.base.classes import EXPRESSIONS
from mien.runtime.cut import WHOLE_PHOTO
from mien.sources.folder import Folder
from mien.sources.table import Ingested
from tests.photosets import encode, photo, picture

SPELT = {
    "public copies": ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"),
    "nouns": ("Anger", "Disgust", "Fear", "Happiness", "Sadness", "Surprise", "Neutral"),
    "adjectives": ("ANGRY", "DISGUSTED", "FEARFUL", "HAPPY", "SAD", "SURPRISED", "NEUTRAL"),
    "numbers": tuple("0123456"),
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


def test_one_name_in_two_classes_is_two_faces(tmp_path: Path) -> None:
    put(tmp_path, ["train/happy/Training_1.jpg", "train/sad/Training_1.jpg"])
    assert labels(Folder().ingest(tmp_path)) == {
        "train/happy/Training_1.jpg": "happy",
        "train/sad/Training_1.jpg": "sad",
    }


def test_class_names_say_what_other_folders_mean(tmp_path: Path) -> None:
    put(tmp_path, ["Wut/1.jpg", "angry/2.jpg", "froh/3.jpg", "contempt/4.jpg", "1/5.jpg"])
    options = {"wut": "anger", "froh": "happy", "contempt": None, "1": "surprise"}
    ingested = Folder(class_names=options).ingest(tmp_path)
    assert labels(ingested) == {
        "Wut/1.jpg": "angry",
        "angry/2.jpg": "angry",
        "froh/3.jpg": "happy",
        "1/5.jpg": "surprise",
    }
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


def test_photos_of_one_class_may_be_copies(tmp_path: Path) -> None:
    put(tmp_path, ["train/happy/1.jpg", "train/sad/1.jpg"])
    (tmp_path / "train/happy/2.jpg").write_bytes((tmp_path / "train/happy/1.jpg").read_bytes())
    assert Folder().ingest(tmp_path).problems.empty


def test_formats_are_known_by_the_ends_of_their_names(tmp_path: Path) -> None:
    put(tmp_path, ["happy/1.jpg"])
    for end, form in {"png": "PNG", "webp": "WEBP", "bmp": "BMP", "TIF": "TIFF", "gif": "GIF", "ppm": "PPM"}.items():
        (tmp_path / f"happy/a.{end}").write_bytes(encode(picture(), form))
    assert len(Folder().ingest(tmp_path).faces) == 7
