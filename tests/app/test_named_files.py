"""What a visitor names instead of sending it is neither read nor fetched."""

import socket
import threading
from pathlib import Path

import pytest

from tests.app.asking import ask, file_data, shown, upload


@pytest.mark.parametrize("of", ["mien-image", "mien-camera"])
def test_a_photo_of_the_server_is_not_shown_to_who_names_its_path(
    address: str, photo: bytes, tmp_path: Path, of: str
) -> None:
    (tmp_path / "private.jpg").write_bytes(photo)
    (tmp_path / "link.jpg").symlink_to(tmp_path / "private.jpg")
    (sent,) = upload(address, "face.jpg", photo).json()
    around = Path(sent).parent / ".." / ".." / ".." / tmp_path.relative_to("/") / "private.jpg"
    for path in (tmp_path / "private.jpg", tmp_path / "link.jpg", around, "/dev/zero", "x" * 5000, "a\0b"):
        for value in (file_data(str(path)), {"a": [[file_data(str(path))]]}, {"path": str(path)}):
            assert ask(address, of, value) == (404, {"error": "There is no such upload."})
    assert "<article" in shown(ask(address, "mien-image", file_data(sent))[1])


def test_an_address_is_not_fetched(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(1)

        def listen() -> None:
            try:
                server.accept()[0].close()
                asked.set()
            except TimeoutError:
                pass

        listener = threading.Thread(target=listen)
        listener.start()
        from gradio import processing_utils

        async def fetch(url: str, cache_dir: str) -> str:
            asked.set()
            raise OSError(url)

        monkeypatch.setattr(processing_utils, "async_ssrf_protected_download", fetch)
        status, _ = ask(address, "mien-image", file_data(f"http://127.0.0.1:{server.getsockname()[1]}/x.jpg"))
        listener.join()
    assert status == 404 and not asked.is_set()
