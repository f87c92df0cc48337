"""A page that several tests ask, over a small network that learnt from drawings."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from mien.app.answers import Answerer
from tests.app.serving import serving
from tests.inference.conftest import jpeg, portrait, write_model


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder with a model, whose card is wider than a phone."""
    folder = write_model(tmp_path_factory.mktemp("model"), drawn=True)
    wide = " | ".join(f"column{n}" for n in range(20))
    table = f"| {wide} |\n|{'---|' * 20}\n| {wide} |\n"
    hostile = "<script>document.title = 'x'</script> [x](javascript:alert(1)) ![x](http://example.org/x.png)"
    (folder / "card.md").write_text(f"# Model card: a test\n\n`{'0123456789' * 9}`\n\n{table}\n\n{hostile}")
    return str(folder)


@pytest.fixture(scope="session")
def page(model: str) -> Iterator[tuple[str, Answerer]]:
    """The address of a page with small limits that no test needs to exceed by much, and what answers behind it."""
    with serving(model, frame_megabytes=0.5, video_megabytes=2.0) as served:
        yield served


@pytest.fixture(scope="session")
def address(page: tuple[str, Answerer]) -> str:
    """Of that page."""
    return page[0]


@pytest.fixture(scope="session")
def photo() -> bytes:
    """A JPEG with one face that the cascade finds."""
    return jpeg(portrait()[0])


@pytest.fixture(scope="session")
def photo_file(photo: bytes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That photo as a file."""
    file = tmp_path_factory.mktemp("photo") / "portrait.jpg"
    file.write_bytes(photo)
    return file
