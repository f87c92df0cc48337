"""Web server: the page and its routes."""

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

import gradio as gr
import uvicorn
from fastapi import FastAPI

from mien.app.answers import Answerer
from mien.app.api import add_routes
from mien.app.firewall import Gate
from mien.app.named_files import NamedFiles
from mien.app.page import build_page
from mien.app.sessions import forget
from mien.app.theme import page_theme
from mien.app.uploads import upload_folder
from mien.base.errors import UserError

WORDS: Final = {"upload_text.drop_file": "Drop a file here", "upload_text.click_to_upload": "choose one"}
CSS: Final = Path(__file__).parent / "page.css"


@contextmanager
def application(answerer: Answerer) -> Iterator[Gate]:
    """The whole application, ready for a server, while the block lasts."""
    limits = answerer.limits
    with upload_folder(limits.keep_seconds) as uploads:
        app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
        add_routes(app, answerer)
        page = build_page(answerer, uploads)
        most = max(answerer.photos.max_megabytes, limits.video_megabytes)
        gr.mount_gradio_app(
            app,
            page,
            path="/",
            show_error=False,
            footer_links=[],
            run_history=False,
            max_file_size=round(most * 1e6),
            ssr_mode=False,
            enable_monitoring=False,
            pwa=False,
            mcp_server=False,
            theme=page_theme(),
            css_paths=CSS,
            i18n=gr.I18n(
                en={
                    "upload_text.drop_file": "Drop a file here",
                    "upload_text.click_to_upload": "choose one",
                    "common.or": "or",
                }
            ),
        )
        yield Gate(NamedFiles(app, uploads), limits, answerer.photos.max_megabytes, uploads, partial(forget, page))


def serve(answerer: Answerer, host: str, port: int, started: Callable[[str], None]) -> None:
    """Serve the page until somebody stops it; `started` is told its address.

    Raises:
        UserError: the address cannot be used.
    """
    with application(answerer) as app, _listening(host, port) as there:
        started(f"http://{host}:{there.getsockname()[1]}")
        uvicorn.Server(settings_for(app)).run(sockets=[there])


def settings_for(app: Gate) -> uvicorn.Config:
    """How the application is served: without a record of visitors."""
    return uvicorn.Config(
        app,
        port=0,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=3,
    )


def _listening(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port), backlog=128)
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else error
        raise UserError(f"{host}:{port} cannot be used ({why}); choose another --port.") from error
