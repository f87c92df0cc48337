"""Small ExpW-shaped data sets for tests: real JPEGs, real 7z archives."""

import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import py7zr
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from mien.base.errors import UserError
from mien.sources.source import Source

STORED: Final = {  # by EXIF orientation: how a camera that was held so stores an upright photo
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
LOSSY: Final = 4.0  # mean distance of a value from the original's


def picture(height: int = 80, width: int = 100, seed: int = 0, blur: float = 6) -> np.ndarray:
    """A smooth random picture, (H, W, 3) uint8 RGB; every seed gives another."""
    noise = np.random.default_rng(seed).random((height, width, 3)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), blur)
    return np.asarray(cv2.normalize(smooth, None, 0, 255, cv2.NORM_MINMAX)).astype(np.uint8)


def refused(source: Source, folder: Path, says: str) -> None:
    """What a source says of a folder that is no data set of its kind."""
    with pytest.raises(UserError, match=says):
        source.ingest(folder)


def thumbnails_of(faces: Iterable[np.ndarray]) -> np.ndarray:
    """Faces (H, W, C) uint8 as ingest writes their thumbnails, (N, 32, 32) uint8 grey."""
    grey = (cv2.cvtColor(face, cv2.COLOR_RGB2GRAY) if face.shape[2] == 3 else face for face in faces)
    return np.stack([cv2.resize(face, (32, 32), interpolation=cv2.INTER_AREA) for face in grey])


def encode(image: np.ndarray | Image.Image, form: str = "JPEG", **options: Any) -> bytes:
    """A picture as a file of that format."""
    whole = image if isinstance(image, Image.Image) else Image.fromarray(image)
    file = io.BytesIO()
    whole.save(file, form, **options)
    return file.getvalue()


def photo(height: int = 80, width: int = 100, seed: int = 0) -> bytes:
    """A JPEG file."""
    return encode(picture(height, width, seed), quality=95)


def stored(photo: np.ndarray | Image.Image, form: str, mode: str = "", orientation: int = 0, **options: Any) -> bytes:
    """A photo in a mode of Pillow's; with an orientation, as a camera that was held so stores it."""
    image = photo if isinstance(photo, Image.Image) else Image.fromarray(photo)
    if orientation:
        options["exif"] = Image.Exif()
        options["exif"][0x0112] = orientation
        image = image.transpose(STORED[orientation]) if orientation in STORED else image
    image = image.convert(mode) if mode else image
    if options.pop("animated", False):
        options |= {"save_all": True, "append_images": [image.point(lambda value: 255 - value)]}
    return encode(image, form, **options)


def late_exif(png: bytes) -> bytes:
    """A PNG with its EXIF moved behind its pixels."""
    at = png.index(b"eXIf") - 4
    after = at + 12 + int.from_bytes(png[at : at + 4], "big")
    end = png.rindex(b"IEND") - 4
    return png[:at] + png[after:end] + png[at:after] + png[end:]


def awkward(photo: np.ndarray) -> dict[str, tuple[bytes, np.ndarray | str, float]]:
    """A photo (H, W, 3) RGB in the forms that people have, and files that are none, by the names of the files.

    Of each its bytes, what a viewer shows (what is transparent lies on white) or why it is refused, and by how much a
    value of what is shown may differ on average.
    """
    bgr, grey = cv2.cvtColor(photo, cv2.COLOR_RGB2BGR), np.asarray(Image.fromarray(photo).convert("L"))
    greys, black = (
        np.dstack([grey] * 3),
        np.dstack([np.asarray(Image.fromarray(photo).convert("1"))] * 3) * np.uint8(255),
    )
    few = Image.fromarray(photo).quantize(16)
    colours = np.asarray(few.convert("RGB"))
    hole = np.where((np.asarray(few) == 3)[..., None], np.uint8(255), colours)
    alpha = np.full(grey.shape, 255, np.uint8)
    alpha[: len(grey) // 8], alpha[:, : grey.shape[1] // 8] = 0, 128
    glass = Image.fromarray(np.dstack([photo, alpha]))
    share = alpha[..., None] / 255
    on_white = np.round(photo * share + 255 * (1 - share)).astype(np.uint8)
    grey_on_white = np.round(greys * share + 255 * (1 - share)).astype(np.uint8)
    deep, wide = bgr.astype(np.uint16) * 257, grey.astype(np.uint16) * 257
    xmp = '<rdf:RDF><rdf:Description tiff:Orientation="6"/></rdf:RDF>'  # Pillow heeds it, viewers do not
    info = PngInfo()
    info.add_itxt("XML:com.adobe.xmp", xmp)
    whole, png = stored(photo, "JPEG", quality=90), stored(photo, "PNG")
    height, width = grey.shape
    lossy = {
        **{f"orientation {n}.jpg": stored(photo, "JPEG", orientation=n) for n in range(1, 10)},
        **{f"turned.{form.lower()}": stored(photo, form, orientation=6) for form in ("WEBP", "MPO")},
        "turned animation.webp": stored(photo, "WEBP", orientation=6, animated=True),
        "xmp.jpg": stored(photo, "JPEG", xmp=xmp.encode()),
        "plain.jpg": whole,
        "fine.jpg": stored(photo, "JPEG", quality=95, subsampling=0),
        "progressive.jpg": stored(photo, "JPEG", progressive=True),
        "tail.jpg": whole + b"bytes after the end",
        "CMYK.jpg": stored(photo, "JPEG", "CMYK"),
        "animation.webp": stored(photo, "WEBP", animated=True),
        "lossy.webp": stored(photo, "WEBP", quality=80),
        "two\nlines, ärger #1 100%20.JPG": whole,
        "no ending": whole,
    }
    exact = {
        **{f"turned.{form.lower()}": stored(photo, form, orientation=6) for form in ("PNG", "TIFF")},
        **{f"orientation {n}.png": stored(photo, "PNG", orientation=n) for n in range(1, 10)},
        "turned late.png": late_exif(stored(photo, "PNG", orientation=8)),
        "turned animation.png": stored(photo, "PNG", orientation=6, animated=True),
        "xmp.png": stored(photo, "PNG", pnginfo=info),
        "plain.png": png,
        "RGBA.png": stored(photo, "PNG", "RGBA"),
        "sixteen.png": cv2.imencode(".png", deep)[1].tobytes(),
        "sixteen.tif": cv2.imencode(".tif", deep)[1].tobytes(),
        **{f"animation.{form.lower()}": stored(photo, form, animated=True) for form in ("PNG", "TIFF")},
        "plain.bmp": stored(photo, "BMP"),
        "plain.ppm": stored(photo, "PPM"),
        "packed.tif": stored(photo, "TIFF", compression="tiff_lzw"),
        "cmyk.tif": stored(photo, "TIFF", "CMYK"),
    }
    others: dict[str, tuple[bytes, np.ndarray | str, float]] = {
        "coarse.jpg": (stored(photo, "JPEG", quality=20), photo, 2 * LOSSY),
        "L.jpg": (stored(photo, "JPEG", "L"), greys, LOSSY),
        "animation.gif": (stored(photo, "GIF", animated=True), photo, 3 * LOSSY),
        **{f"L.{form.lower()}": (stored(photo, form, "L"), greys, 0) for form in ("PNG", "TIFF", "BMP")},
        "LA.png": (stored(photo, "PNG", "LA"), greys, 0),
        "grey.pgm": (encode(grey, "PPM"), greys, 0),
        "ten bits.pgm": (b"P5 %d %d 1023\n" % (width, height) + (grey * 4.0117647).astype(">u2").tobytes(), greys, 0),
        "ten bits.ppm": (b"P6 %d %d 1023\n" % (width, height) + (photo * 4.0117647).astype(">u2").tobytes(), photo, 1),
        "no frame first.png": (stored(photo, "PNG", animated=True, default_image=True), 255 - photo, 0),
        "grey sixteen key.png": (encode(Image.fromarray(wide), "PNG", transparency=5), greys, 0),
        "sixteen greys.pgm": (b"P5 %d %d 15\n" % (width, height) + (grey // 17).tobytes(), greys // 17 * 17, 0),
        "grey sixteen.png": (cv2.imencode(".png", wide)[1].tobytes(), greys, 0),
        "grey sixteen.tif": (encode(Image.fromarray(wide), "TIFF"), greys, 0),
        **{f"1.{form.lower()}": (stored(photo, form, "1"), black, 0) for form in ("PNG", "GIF", "BMP", "PPM")},
        "fax.tif": (stored(photo, "TIFF", "1", compression="group4"), black, 0),
        "white is zero.tif": (stored(photo, "TIFF", "L", tiffinfo={262: 0}), greys, 0),
        **{f"palette.{form.lower()}": (encode(few, form), colours, 0) for form in ("PNG", "GIF", "BMP", "TIFF")},
        **{f"transparent colour.{f.lower()}": (encode(few, f, transparency=3), hole, 0) for f in ("PNG", "GIF")},
        "transparent LA.png": (stored(glass, "PNG", "LA"), grey_on_white, 0),
        "transparent.png": (encode(glass, "PNG"), on_white, 0),
        "transparent.tif": (encode(glass, "TIFF"), on_white, 0),
        "transparent.webp": (encode(glass, "WEBP", lossless=True), on_white, 0),
        "transparent animation.webp": (stored(glass, "WEBP", animated=True, lossless=True), on_white, 0),
        "transparent animation.png": (stored(glass, "PNG", animated=True), on_white, 0),
        "transparent turned.png": (stored(glass, "PNG", orientation=6), on_white, 0),
        "transparent turned.tif": (stored(glass, "TIFF", orientation=6), on_white, 0),
        "floats.tif": (stored(grey.astype(np.float32), "TIFF"), "undecodable", 0),
        "floats.ppm": (stored(grey.astype(np.float32), "PPM"), "undecodable", 0),
        "half.jpg": (whole[: len(whole) // 2], "truncated", 0),
        "nearly whole.jpg": (whole[: len(whole) * 99 // 100], "truncated", 0),
        "half.png": (png[: len(png) // 2], "truncated", 0),
        "half.webp": (lossy["lossy.webp"][: len(lossy["lossy.webp"]) // 2], "truncated", 0),
        "half.gif": (encode(few, "GIF")[:900], "truncated", 0),
        "bomb.ppm": (b"P6 100000 100000 255\n" + bytes(99), "too_large", 0),
        "empty.jpg": (b"", "empty_file", 0),
        "zeros.jpg": (bytes(1000), "not_an_image", 0),
        "page.jpg": (b"<html>404</html>" * 9, "not_an_image", 0),
    }
    exactly = {name: (data, photo, 0.0) for name, data in exact.items()}
    return {name: (data, photo, LOSSY) for name, data in lossy.items()} | exactly | others


def write_labels(folder: Path, rows: Iterable[str]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    labels = folder / "label.lst"
    labels.write_text("".join(f"{row}\n" for row in rows))
    return labels


def write_photos(folder: Path, photos: Mapping[str, bytes]) -> None:
    (folder / "origin").mkdir(parents=True, exist_ok=True)
    for name, data in photos.items():
        (folder / "origin" / name).write_bytes(data)


def write_archive(folder: Path, photos: Mapping[str, bytes], volume: int = 0) -> list[Path]:
    """`origin.7z`, or its volumes of `volume` bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    whole = folder / "origin.7z"
    with py7zr.SevenZipFile(whole, "w") as archive:
        for name, data in photos.items():
            archive.writestr(data, f"origin/{name}")
    return split_archive(whole, volume) if volume else [whole]


def split_archive(whole: Path, volume: int) -> list[Path]:
    data = whole.read_bytes()
    whole.unlink()
    files = []
    for number, start in enumerate(range(0, len(data), volume), start=1):
        files.append(whole.with_name(f"{whole.name}.{number:03d}"))
        files[-1].write_bytes(data[start : start + volume])
    return files
