"""The embedded sample: its shape, its faults, and that its bytes repeat."""

import hashlib
import io
from collections import Counter
from importlib.metadata import version
from pathlib import Path

import cv2
import multivolumefile
import numpy as np
import py7zr
import pytest

from mien.base.classes import N_EXPRESSIONS
from mien.base.errors import UserError
from tools.sample import dataset
from tools.sample.archive import write_volumes
from tools.sample.dataset import draw_file, draw_sample
from tools.sample.photo import draw_photo

# Of 60 photos with seed 7. When the drawing changes on purpose, draw the sample again, `dvc add` it
# and put the new value here; when it changes by itself, data.dvc no longer says what a clone draws.
# The digest guards every line of the drawing.
DIGEST = "aa10f5fac97ddedf11bab4dddd72403b145bc5ce0eba989dbb2678916edcabc1"
PINNED = {"numpy": "2.4.6", "opencv-python-headless": "4.14.0.94", "py7zr": "1.1.4"}


def unpack(folder: Path) -> dict[str, bytes]:
    factory = py7zr.io.BytesIOFactory(1 << 24)
    with multivolumefile.open(folder / "origin.7z", "rb") as file, py7zr.SevenZipFile(file) as archive:
        archive.extractall(factory=factory)
    return {name: product.read() for name, product in factory.products.items()}


def rows(folder: Path) -> list[list[str]]:
    return [line.split(" ") for line in (folder / "label.lst").read_text().splitlines()]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def decode(data: bytes) -> np.ndarray | None:
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drawn") / "deep" / "sample"
    draw_sample(folder, photos=60, workers=2)
    return folder


def test_another_seed_draws_other_labels(small: Path, tmp_path: Path) -> None:
    draw_sample(tmp_path / "other", photos=60, workers=1, seed=8)
    assert contents(tmp_path / "other")["label.lst"] != contents(small)["label.lst"]


def test_bytes_are_those_that_data_dvc_was_made_from(small: Path) -> None:
    if (installed := {name: version(name) for name in PINNED}) != PINNED:
        pytest.skip(f"the bytes are promised for {PINNED}, here are {installed}")
    digest = hashlib.sha256()
    for name, data in sorted(contents(small).items()):
        digest.update(name.encode() + data)
    assert digest.hexdigest() == DIGEST


@pytest.mark.parametrize("labels", [[], [7], [0, -1]])
def test_labels_that_are_none_are_refused(labels: list[int]) -> None:
    with pytest.raises(ValueError, match="EXPRESSIONS"):
        draw_photo(np.random.default_rng(0), labels)


def test_photos_of_the_archive_are_those_of_the_list(small: Path) -> None:
    files = unpack(small)
    assert len(files) == 60
    assert set(files) == {f"origin/{row[0]}" for row in rows(small)}
    assert {path.name for path in small.iterdir()} == {"origin.7z.001", "label.lst", "readme.txt"}


def test_volumes_are_cut_and_read_back(tmp_path: Path) -> None:
    files = [(f"origin/{i}.jpg", bytes([i]) * 700) for i in range(5)]
    write_volumes(tmp_path / "origin.7z", files, 1000)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names[:2] == ["origin.7z.001", "origin.7z.002"]
    assert [(tmp_path / name).stat().st_size for name in names[:-1]] == [1000] * (len(names) - 1)
    assert unpack(tmp_path) == dict(files)


def test_archive_holds_no_time_of_writing(tmp_path: Path) -> None:
    write_volumes(tmp_path / "a.7z", [("x.jpg", b"x")], 1 << 20)
    with py7zr.SevenZipFile(io.BytesIO((tmp_path / "a.7z.001").read_bytes())) as archive:
        assert [str(info.creationtime)[:10] for info in archive.list()] == ["2020-01-01"]


def test_rows_are_expw_rows(small: Path) -> None:
    for row in rows(small):
        top, left, right, bottom = map(int, row[2:6])
        assert right - left == bottom - top > 20  # ExpW's boxes are square
        assert 0 <= float(row[6]) < 145
        assert 0 <= int(row[7]) < N_EXPRESSIONS
    numbered = Counter(row[0] for row in rows(small))
    assert max(numbered.values()) > 1
    assert {(row[0], int(row[1])) for row in rows(small)} == {
        (name, i) for name, n in numbered.items() for i in range(n)
    }


def test_every_kind_of_fault_occurs(small: Path) -> None:
    files = {name.removeprefix("origin/"): decode(data) for name, data in unpack(small).items()}
    unreadable = [name for name, photo in files.items() if photo is None]
    assert len(unreadable) == 1
    assert all(float(row[6]) > 30 for row in rows(small) if row[0] in unreadable)
    outside = 0
    for name, _, top, left, right, bottom, *_ in rows(small):
        photo = files[name]
        if photo is not None:
            height, width = photo.shape[:2]
            outside += int(top) < 0 or int(left) < 0 or int(right) > width or int(bottom) > height
    assert outside >= 1
    assert max(Counter(unpack(small).values()).values()) == 2  # one photo under two names
    assert 0.05 < np.mean([float(row[6]) < 30 for row in rows(small)]) < 0.25
    assert len({row[7] for row in rows(small)}) == N_EXPRESSIONS


def test_near_copy_is_the_same_photo_in_other_bytes() -> None:
    number = dataset.NEAR_COPY[1]
    first, second = draw_file(number - 1, 7), draw_file(number, 7)
    assert first.name != second.name and first.data != second.data
    one, two = decode(first.data), decode(second.data)
    assert one is not None and two is not None
    assert np.corrcoef(one.ravel(), two.ravel())[0, 1] > 0.99
    assert [face.box for face in first.faces] == [face.box for face in second.faces]


def test_names_do_not_betray_the_labels() -> None:
    files = [draw_file(number, 7) for number in range(0, 120, 2)]
    words = {word: label for label, pair in enumerate(dataset.WORDS) for word in pair}
    fits = np.mean([words[file.name.split("_")[0]] == file.faces[0].label for file in files])
    assert 0.35 < fits < 0.8


def test_boxes_hold_faces_in_the_order_that_the_list_says(small: Path) -> None:
    """OpenCV's cascade, which knows nothing of the drawing, finds a face in the middle of most boxes."""
    cascade = cv2.CascadeClassifier(cv2.data.haarcascades + "haarcascade_frontalface_alt2.xml")
    files = unpack(small)
    found = []
    for name, _, top, left, right, bottom, confidence, _ in rows(small):
        photo = decode(files[f"origin/{name}"])
        if photo is None or float(confidence) < 30:
            continue
        middle, reach = ((int(left) + int(right)) / 2, (int(top) + int(bottom)) / 2), (int(right) - int(left)) / 4
        faces = cascade.detectMultiScale(cv2.cvtColor(photo, cv2.COLOR_BGR2GRAY), 1.1, 3)
        found.append(any(max(abs(x + w / 2 - middle[0]), abs(y + h / 2 - middle[1])) < reach for x, y, w, h in faces))
    assert np.mean(found) > 0.8


def test_a_folder_that_is_there_is_left_alone_and_too_few_photos_are_refused(small: Path, tmp_path: Path) -> None:
    before = contents(small)
    with pytest.raises(UserError, match="exists"):
        draw_sample(small, photos=60)
    assert contents(small) == before
    with pytest.raises(UserError, match="at least 40"):
        draw_sample(tmp_path / "sample", photos=39)


def test_a_broken_run_leaves_no_folder_and_the_next_one_is_whole_with_any_number_of_processes(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(base: Path, *_: object) -> None:
        base.with_name("origin.7z.999").write_bytes(b"half")
        raise OSError("No space left on device")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space"):
        patch.setattr(dataset, "write_volumes", full_disk)
        draw_sample(tmp_path / "sample", photos=60, workers=1)
    assert not (tmp_path / "sample").exists()
    draw_sample(tmp_path / "sample", photos=60, workers=1)
    assert contents(tmp_path / "sample") == contents(small)
    assert [path.name for path in tmp_path.iterdir()] == ["sample"]
