"""What a photo of 100 megapixels, and a bomb, cost to decode: seconds and peak memory, each in a process of its own.

python -m benchmarks.hard_photos

Prints a table in Markdown. The pictures are noise of 100 x 100 blocks, and one even colour for the small files.
"""

import io
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from pathlib import Path
from typing import Any, Final

SIDE: Final = 10_000


def main() -> None:
    """Write the photos, decode each in a process of its own, and print what it took."""
    print("| photo | file, MB | answer | seconds | peak memory, MB |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for name, data in photos().items():
            file = Path(folder) / "photo"
            file.write_bytes(data)
            command = [sys.executable, "-m", "benchmarks.hard_photos", str(file)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            print(f"| {name} | {len(data) / 1e6:.2f} | {done.stdout.strip()} |", flush=True)


def photos() -> dict[str, bytes]:
    """Files by what they are called in the table."""
    import numpy as np
    from PIL import Image

    noise = np.random.default_rng(0).integers(0, 255, (100, 100, 3), dtype=np.uint8)
    fax = Image.new("1", (3 * SIDE, 3 * SIDE))
    busy = Image.fromarray(noise).resize((SIDE, SIDE))
    plain = Image.new("RGB", (SIDE, SIDE), (90, 120, 30))
    return {
        "JPEG": file_of(busy, "JPEG", quality=85),
        "JPEG, progressive": file_of(busy, "JPEG", quality=85, progressive=True),
        "PNG": file_of(plain, "PNG"),
        "WebP": file_of(plain, "WEBP", quality=1, method=0),
        "GIF": file_of(plain.convert("P"), "GIF"),
        "TIFF": file_of(plain, "TIFF", compression="tiff_adobe_deflate"),
        "PNG that says 2,147,483,647 x 2,147,483,647": png_that_says(2**31 - 1, 2**31 - 1),
        "PNG that says 100 megapixels and holds none": png_that_says(SIDE, SIDE),
        "PNG with a chunk that says 4 GB": png_that_says(10, 10, length=2**32 - 1),
        "TIFF of 900 megapixels in fax code": file_of(fax, "TIFF", compression="group4"),
    }


def file_of(image: Any, form: str, **options: Any) -> bytes:
    """A picture as a file."""
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def png_that_says(width: int, height: int, length: int | None = None) -> bytes:
    """A PNG of that size by its header, with next to no pixels; its second chunk says `length`."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(99))
    chunks = (
        (b"IHDR", header, len(header)),
        (b"IDAT", pixels, len(pixels) if length is None else length),
        (b"IEND", b"", 0),
    )
    body = b"".join(struct.pack(">I", n) + kind + b + struct.pack(">I", zlib.crc32(kind + b)) for kind, b, n in chunks)
    return b"\x89PNG\r\n\x1a\n" + body


def decode(file: Path) -> str:
    """The answer, the seconds and the peak memory beyond that of the imports, as cells of the table."""
    from mien.inference.detectors import PredictConfig
    from mien.runtime.decode import UnreadablePhoto, decode_photo

    data, before, begun = file.read_bytes(), peak(), time.perf_counter()
    try:
        photo = decode_photo(
            data, colour="rgb", max_megapixels=PredictConfig().max_megapixels, apply_exif_rotation=True
        )
        answer = f"{photo.shape[1]} x {photo.shape[0]}"
    except UnreadablePhoto as error:
        answer = f"refused: {error.detail}"
    return f"{answer} | {time.perf_counter() - begun:.2f} | {peak() - before}"


def peak() -> int:
    """The most memory that this process has had, in MB; Linux only, as `getrusage` counts the parent's too."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) // 1024


if __name__ == "__main__":
    if sys.argv[1:]:
        print(decode(Path(sys.argv[1])))
    else:
        main()
