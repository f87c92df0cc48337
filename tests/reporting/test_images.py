from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from mien.base.classes import EXPRESSIONS
from mien.crop.packed import PackedFaces
from mien.reporting.images import COLUMNS, GAP, MOST, TITLE, contact_sheet, face_jpeg, face_png, write_contact_sheets
from mien.runtime.spec import CutSpec

STEP = 16 + GAP


def test_every_class_has_a_readable_sheet_with_its_own_faces(tmp_path: Path) -> None:
    labels = np.array([0] * 130 + [3] * 7, np.int8)
    pixels = np.repeat(np.arange(137, dtype=np.uint8), 16 * 16).reshape(137, 16, 16, 1)
    packed = PackedFaces(pixels, pd.DataFrame({"label": labels}), CutSpec(48, "grey"), EXPRESSIONS, "d")
    write_contact_sheets(packed, tmp_path)
    written = [tmp_path / f"contact_{name}.png" for name in EXPRESSIONS]
    assert sorted(tmp_path.iterdir()) == sorted(written)
    angry, happy = (np.asarray(Image.open(written[i])) for i in (0, 3))
    assert angry.shape == (TITLE + MOST // COLUMNS * STEP + GAP, COLUMNS * STEP + GAP, 3)
    shown = [angry[TITLE + p // COLUMNS * STEP + 5, GAP + p % COLUMNS * STEP + 5, 0] for p in range(MOST)]
    assert shown[0] == 0 and shown[-1] == 129 and (np.diff(shown) > 0).all()
    assert [happy[TITLE + 5, GAP + p * STEP + 5, 0] for p in range(7)] == list(range(130, 137))
    assert (happy[:TITLE] < 128).any()  # the title
    assert (np.asarray(Image.open(written[1]))[:TITLE] < 128).any()  # "disgust: no faces"


def test_rgb_stays_rgb() -> None:
    red = np.zeros((1, 16, 16, 3), np.uint8)
    red[..., 0] = 255
    sheet = np.asarray(contact_sheet(red, np.array([0]), "happy"))
    assert sheet[TITLE + 5, GAP + 5].tolist() == [255, 0, 0]


@pytest.mark.parametrize("channels", [1, 3])
def test_encoded_faces_show_the_same_pixels(channels: int) -> None:
    face = np.zeros((8, 8, channels), np.uint8)
    face[:, :4, 0] = 200
    flags = cv2.IMREAD_COLOR_RGB if channels == 3 else cv2.IMREAD_GRAYSCALE
    png, jpeg = (cv2.imdecode(np.frombuffer(data, np.uint8), flags) for data in (face_png(face), face_jpeg(face, 95)))
    assert png is not None and jpeg is not None
    assert (png.reshape(face.shape) == face).all()
    assert np.abs(jpeg.reshape(face.shape).astype(int) - face).max() < 60
