"""The page as a real server on a port of this machine, while a test needs it."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

from mien.app.answers import Answerer
from mien.app.limits import AppConfig
from mien.app.server import application, settings_for
from mien.inference.address import CurrentModel
from mien.sources.detect import PredictConfig, build_detector


@contextmanager
def serving(said: str, *, photos: PredictConfig | None = None, **limits: Any) -> Iterator[tuple[str, Answerer]]:
    """The address of a page over the model that is said, and what answers behind it."""
    answerer = Answerer(
        CurrentModel(said), build_detector(PredictConfig()), photos or PredictConfig(), AppConfig(**limits)
    )
    with application(answerer) as app:
        server = uvicorn.Server(settings_for(app))
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        while not server.started:
            assert thread.is_alive(), "the server did not start"
            time.sleep(0.01)
        try:
            yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}", answerer
        finally:
            server.should_exit = True
            thread.join()
