import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from mien.base.errors import UserError
from mien.crop.cropping import CropConfig, crop_faces
from mien.crop.packed import open_faces
from mien.runtime.cut import Box, cut_face
from mien.runtime.decode import decode_photo
from mien.sources.photos import FolderPhotos, PhotoMissing
from mien.sources.source import faces_table, problems_table
from tests.photosets import encode, photo, picture, stored

CONFIG = CropConfig(size=16, workers=2)


class Shelf:
    """Photos in memory; counts how often each is read."""

    def __init__(self, photos: dict[str, bytes]) -> None:
        self.photos = photos
        self.reads: list[str] = []
        self.lock = threading.Lock()

    def read(self, image: str) -> bytes:
        with self.lock:
            self.reads.append(image)
        if image not in self.photos:
            raise PhotoMissing(f"{image} is not there")
        return self.photos[image]


def table(rows: list[tuple[str, tuple[int, int, int, int], float, int]]) -> pd.DataFrame:
    """Faces from image, box (top, left, right, bottom), confidence and label."""
    images, boxes, confidences, labels = zip(*rows, strict=True)
    edges = dict(zip(("top", "left", "right", "bottom"), zip(*boxes, strict=True), strict=True))
    return faces_table(
        {
            "face_id": [f"{image}:{i}" for i, image in enumerate(images)],
            "image": list(images),
            **{name: list(values) for name, values in edges.items()},
            "confidence": list(confidences),
            "label": list(labels),
        }
    )


def quarantined(out: Path) -> dict[str, str]:
    rows = pd.read_csv(out / "quarantine.csv", keep_default_na=False)
    return dict(zip(rows["face_id"], rows["reason"], strict=True))


def test_each_photo_is_decoded_once_and_the_order_is_the_tables(tmp_path: Path) -> None:
    shelf = Shelf({f"{name}.jpg": photo(seed=i) for i, name in enumerate("zyxwv")})
    rows = [(f"{name}.jpg", (i, 10, 50, 40 + i), 50.0, i % 7) for i, name in enumerate("zyxzwvzy")]
    counts = crop_faces(table(rows), shelf, CONFIG, tmp_path)
    assert sorted(shelf.reads) == sorted(shelf.photos)
    packed = open_faces(tmp_path)
    assert packed.index["face_id"].tolist() == [f"{'zyxzwvzy'[i]}.jpg:{i}" for i in (0, 3, 6, 1, 7, 2, 4, 5)]
    assert packed.index["row"].tolist() == list(range(8))
    assert (counts.faces, counts.photos) == (8, 5)
    for row in packed.index.itertuples():
        whole = decode_photo(shelf.photos[row.image], max_megapixels=1)
        box = Box(row.top, row.left, row.right, row.bottom)
        assert (packed.pixels[row.row] == cut_face(whole, box, CONFIG.cut)).all()
        assert row.face_size == box.shorter_side


def test_one_worker_and_many_write_the_same_bytes(tmp_path: Path) -> None:
    shelf = Shelf({f"{i}.jpg": photo(seed=i) for i in range(40)})
    faces = table([(f"{i % 40}.jpg", (0, 0, 30 + i % 9, 30), 50.0, i % 7) for i in range(90)])
    for name, workers in (("one", 1), ("many", 5)):
        (tmp_path / name).mkdir()
        crop_faces(faces, shelf, replace(CONFIG, workers=workers), tmp_path / name)
    for name in ("faces.npy", "index.parquet", "quarantine.csv", "crop.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "many" / name).read_bytes()


def test_every_bad_photo_stands_in_quarantine_with_its_reason(tmp_path: Path) -> None:
    data = photo(200, 300, seed=3)
    good = {"good.jpg": photo(), "turned.jpg": stored(picture(), "JPEG", orientation=6)}
    bad = {
        "empty_file": b"",
        "truncated": data[: len(data) // 2],
        "not_an_image": b"GIF, it says\n" * 20,
        "too_large": encode(Image.new("1", (4000, 300)), "PNG"),
        "undecodable": encode(Image.fromarray(picture()[..., 0].astype(np.float32)), "TIFF"),
    }
    names = [*good, *bad, "missing_photo"]
    faces = table([(name, (5, 5, 40, 40), 50.0, 0) for name in names])
    outside = table([("good.jpg", (5, 100, 130, 40), 50.0, 1)]).assign(face_id="outside")
    table_of_all = pd.concat([faces, outside], ignore_index=True)
    counts = crop_faces(table_of_all, Shelf(good | bad), replace(CONFIG, max_megapixels=1), tmp_path)
    assert open_faces(tmp_path).index["image"].tolist() == list(good)
    reasons = {name: name for name in (*bad, "missing_photo")} | {"outside": "box_outside"}
    assert {key.split(":")[0]: reason for key, reason in quarantined(tmp_path).items()} == reasons
    assert counts.dropped["box_outside"] == {"disgust": 1}
    assert counts.dropped["truncated"] == {"angry": 1}


def test_a_box_that_leaves_the_photo_is_clamped_and_counted(tmp_path: Path) -> None:
    rows = [
        ("a.jpg", (-5, -3, 50, 60), 50.0, 0),
        ("a.jpg", (10, 10, 110, 85), 50.0, 1),
        ("a.jpg", (1, 1, 9, 9), 50.0, 2),
    ]
    counts = crop_faces(table(rows), Shelf({"a.jpg": photo(80, 100)}), CONFIG, tmp_path)
    boxes = open_faces(tmp_path).index[["top", "left", "right", "bottom"]].to_numpy().tolist()
    assert boxes == [[0, 0, 50, 60], [10, 10, 100, 80], [1, 1, 9, 9]]
    assert counts.clamped == 2


def test_the_filter_keeps_what_is_above_it_and_what_has_no_confidence(tmp_path: Path) -> None:
    confidences = [30.0, 30.5, float("nan"), 2.0]
    faces = table([("a.jpg", (0, 0, 40, 40 + i), c, 0) for i, c in enumerate(confidences)])
    crop_faces(faces, Shelf({"a.jpg": photo()}), CONFIG, tmp_path)
    assert open_faces(tmp_path).index["face_id"].tolist() == ["a.jpg:1", "a.jpg:2"]
    assert quarantined(tmp_path) == {"a.jpg:0": "low_confidence", "a.jpg:3": "low_confidence"}


def test_no_face_above_the_filter_names_threshold_and_counts_and_no_readable_photo_the_reasons(tmp_path: Path) -> None:
    faces = table([("a.jpg", (0, 0, 40, 40), 10.0 + i, 0) for i in range(11)])
    with pytest.raises(UserError, match=r"none of 11 faces .* min_confidence 30: the highest is 20"):
        crop_faces(faces, Shelf({"a.jpg": photo()}), CONFIG, tmp_path)
    with pytest.raises(UserError, match=r"none of 11 faces could be cut: 11 missing_photo"):
        crop_faces(faces, Shelf({}), replace(CONFIG, min_confidence=0), tmp_path)


def test_the_sample_is_drawn_after_the_filter_and_by_its_seed(tmp_path: Path) -> None:
    faces = table([("a.jpg", (0, i, 40 + i, 40), 25.0 + i, 0) for i in range(30)])
    drawn = []
    for seed in (1, 1, 2):
        crop_faces(faces, Shelf({"a.jpg": photo()}), replace(CONFIG, max_rows=10, sample_seed=seed), tmp_path)
        drawn.append(open_faces(tmp_path).index["face_id"].tolist())
    reasons = list(quarantined(tmp_path).values())
    assert len(drawn[0]) == 10 and drawn[0] == drawn[1] != drawn[2]
    assert reasons.count("low_confidence") == 6 and reasons.count("not_sampled") == 14


def test_the_sources_problems_are_passed_on(tmp_path: Path) -> None:
    row = {"where": "label.lst:7", "reason": "malformed_row", "detail": "x"}
    problems = problems_table([row | dict.fromkeys(("face_id", "image", "label"), "")])
    faces = table([("a.jpg", (0, 0, 40, 40), 50.0, 3)])
    counts = crop_faces(faces, Shelf({"a.jpg": photo()}), CONFIG, tmp_path, problems=problems)
    rows = pd.read_csv(tmp_path / "quarantine.csv", keep_default_na=False)
    assert rows[["where", "reason"]].to_numpy().tolist() == [["label.lst:7", "malformed_row"]]
    assert counts.dropped == {"malformed_row": {"unknown": 1}}
    assert counts.table().to_numpy().tolist()[3] == ["happy", "kept", 1]
    assert ["unknown", "malformed_row", 1] in counts.table().to_numpy().tolist()


def test_the_digest_changes_with_pixels_labels_and_ids(tmp_path: Path) -> None:
    base = table([("a.jpg", (0, 0, 40, 40), 50.0, 0), ("a.jpg", (0, 0, 50, 40), 50.0, 1)])
    swapped = base.assign(label=[1, 0]).astype({"label": "int8"})
    variants = [(base, 1), (base, 1), (base, 2), (swapped, 1), (base.assign(face_id=["p", "q"]), 1)]
    digests = []
    for faces, seed in variants:
        crop_faces(faces, Shelf({"a.jpg": photo(seed=seed)}), CONFIG, tmp_path)
        digests.append(open_faces(tmp_path).digest)
    assert digests[0] == digests[1] and len(set(digests)) == 4


def test_files_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    crop_faces(table([("a.jpg", (0, 0, 40, 40), 50.0, 0)]), Shelf({"a.jpg": photo()}), CONFIG, tmp_path)
    np.save(tmp_path / "faces.npy", np.zeros((3, 16, 16, 3), np.uint8))
    with pytest.raises(UserError, match=r"3 faces and 1 index rows, and crop\.json says 1"):
        open_faces(tmp_path)
    (tmp_path / "index.parquet").unlink()
    with pytest.raises(UserError, match=r"index\.parquet is missing; `dvc repro crop`"):
        open_faces(tmp_path)


def test_a_folder_of_photos_serves_and_grey_faces_have_one_channel(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(photo())
    face, grey = table([("a.jpg", (0, 0, 40, 40), 50.0, 6)]), replace(CONFIG, colour="grey")
    assert crop_faces(face, FolderPhotos(tmp_path), grey, tmp_path).kept["neutral"] == 1
    assert open_faces(tmp_path).pixels.shape == (1, 16, 16, 1)
