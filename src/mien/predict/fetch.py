"""A detector's file from its publisher or from a copy of it: checked, then put in its place whole."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from typing import Final
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

from mien.errors import UserError
from mien.predict.detector_files import FILES, DetectorFile, kept_at
from mien.written_whole import written_whole

PATIENCE: Final = 30.0  # seconds without a byte
FROM_A_FILE: Final = "`--from FILE` takes it from a file that was fetched elsewhere."


def fetch(detector: str, url: str | None = None) -> Path:
    """Fetch a detector's file over the network into mien's cache; the place where it now is.

    Args:
        detector: lbp or yunet.
        url: another place than the publisher's.

    Raises:
        UserError: there is no network, the publisher no longer has the file, or what came is another.
    """
    file = FILES[detector]
    return _put(detector, _download(url or file.url, file), url or file.url)


def take_from(detector: str, path: Path) -> Path:
    """Copy a detector's file into mien's cache; the place where it now is.

    Raises:
        UserError: there is no such file, or it is another.
    """
    try:
        return _put(detector, path.read_bytes(), str(path))
    except OSError as error:
        raise UserError(f"{error.filename or path}: cannot be used: {error.strerror}.") from error


def is_published(path: Path, detector: str) -> bool:
    """Whether a file is the one that the detector's publisher gives out.

    Raises:
        OSError: it cannot be read.
    """
    return hashlib.sha256(path.read_bytes()).hexdigest() == FILES[detector].sha256


def _download(url: str, file: DetectorFile) -> bytes:
    """At most a byte more than the file has, so that a wrong answer of any length is told by its digest."""
    with _in_a_sentence(url):
        with urlopen(url, timeout=PATIENCE) as answer:
            announced = int(answer.headers.get("Content-Length") or 0)
            data: bytes = answer.read(file.size + 1)
        if len(data) < min(announced, file.size):
            raise UserError(f"{url}: the download broke off after {len(data):,} of {announced:,} bytes; try again.")
    return data


@contextmanager
def _in_a_sentence(url: str) -> Iterator[None]:
    try:
        yield
    except HTTPError as error:
        raise UserError(f"{url}: the server answered {error.code} ({error.reason}); {FROM_A_FILE}") from error
    except URLError as error:
        raise UserError(f"{url}: cannot be reached ({_why(error.reason)}); {FROM_A_FILE}") from error
    except (HTTPException, OSError) as error:
        raise UserError(f"{url}: the download broke off ({_why(error)}); try again.") from error


def _why(reason: object) -> str:
    return getattr(reason, "strerror", None) or str(reason) or type(reason).__name__


def _put(detector: str, data: bytes, where: str) -> Path:
    file, place = FILES[detector], kept_at(detector)
    found = hashlib.sha256(data).hexdigest()
    if found != file.sha256:
        raise UserError(
            f"{where}: is not {file.name} as it was published: its SHA-256 begins with {found[:12]}, "
            f"that of the published file with {file.sha256[:12]}; nothing was kept."
        )
    try:
        with written_whole(place) as part:
            part.write_bytes(data)
    except OSError as error:
        raise UserError(f"{place.parent}: cannot be written: {error.strerror}.") from error
    return place
