"""`mien app`: the champion as a web page."""

import os
from typing import Annotated, Final

import typer

from mien.cli.output import say
from mien.cli.workspace import find_root, registered_model

PORT: Final = 7860
NO_MODEL: Final = 2
# Gradio and what it brings ask their makers for versions and count visits unless told not to.
SILENT: Final = {"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}


def add_to(app: typer.Typer) -> None:
    """Make the command known."""
    app.command("app")(serve_page)


def serve_page(
    model: Annotated[
        str | None, typer.Option(metavar="URI|FOLDER", help="models:/NAME@ALIAS, models:/NAME/3, or build/train.")
    ] = None,
    data: Annotated[
        str | None, typer.Option(metavar="NAME", help="Use the champion of this data set, not params.yaml's.")
    ] = None,
    host: Annotated[str, typer.Option(help="0.0.0.0 lets other machines in: see docs/APP.md first.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes any that is free.")] = PORT,
) -> None:
    """Serve a web page that says the expressions in photos, before a camera and in videos.

    It answers with the champion, and takes up a newly promoted one without a restart. Limits: conf/app.yaml.
    """
    os.environ.update(SILENT)
    from mien.base.errors import UserError
    from mien.base.settings import settings_of_use
    from mien.inference.address import NoSuchModel
    from mien.tracking.store import use_store

    root = find_root()
    use_store(root)
    limits, photos = settings_of_use(root, "app"), settings_of_use(root, "predict")
    try:
        from mien.app.answers import Answerer
        from mien.app.server import serve
    except ModuleNotFoundError as error:
        raise UserError(f"the page needs {error.name}; `pip install -c constraints.txt '.[app]'` brings it.") from error
    from mien.inference.current import CurrentModel
    from mien.inference.detectors import build_detector

    uri = model or f"models:/{registered_model(root, data)}@champion"
    try:
        current = CurrentModel(uri, every=limits.follow_seconds)
    except NoSuchModel as error:
        say(f"mien: {error} `make repro` trains and promotes one; --model FOLDER takes one from files.")
        raise typer.Exit(NO_MODEL) from error
    with current:
        answerer = Answerer(current, build_detector(photos), photos, limits)
        serve(answerer, host, port, lambda address: say_ready(current.model.says, address, photos.detector))


def say_ready(model: str, address: str, detector: str) -> None:
    """Say on stderr that the page is there, and where finding faces will be slow."""
    say(f"mien: {model} answers at {address}")
    if detector == "haar":
        say(
            "mien: faces are found by the Haar cascade, twenty times as slow as YuNet: for many visitors, "
            "write `detector: yunet` in conf/predict.yaml."
        )
