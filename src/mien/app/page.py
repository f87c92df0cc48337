"""Gradio page: photo, camera or video in, faces with probabilities out."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import gradio as gr

from mien.app.answers import Answerer
from mien.app.uploads import Uploads
from mien.app.visitor import Visitor

HERE: Final = Path(__file__).parent
LIVE_EVERY: Final = 0.4  # seconds between two pictures of a camera
Event = dict[str, Any]


def build_page(answerer: Answerer, uploads: Uploads) -> gr.Blocks:
    """The page over a model and its limits; it calls nobody."""
    limits, photos, visitor = answerer.limits, answerer.photos, Visitor(answerer, uploads)
    page: gr.Blocks = gr.Blocks(title="mien", analytics_enabled=False)
    with page:
        head = gr.HTML(_part("head.html"), js_on_load=_part("head.js"), elem_id="mien-head", apply_default_css=False)
        with gr.Tabs(elem_id="mien-ways"):
            with gr.Tab("Photo"):
                _drop(f"A photo with faces, at most {photos.max_megabytes:g} MB", "image", visitor.photo)
            with gr.Tab("Camera"):
                _camera(visitor, answerer)
            with gr.Tab("Video"):
                most = f"at most {limits.video_seconds:g} seconds and {limits.video_megabytes:g} MB"
                _drop(f"A video with faces, {most}", "video", visitor.video)
        with gr.Accordion("About this model", open=False, elem_id="mien-card"):
            card = gr.Markdown(visitor.card(), latex_delimiters=[])
        gr.HTML(_part("foot.html"), elem_id="mien-foot", apply_default_css=False)
        gr.on([page.load, head.input], visitor.card, outputs=card, show_progress="hidden", api_visibility="private")
    page.state_session_capacity = limits.queue  # of visitors who never listen; see sessions.py for the others
    page.queue(max_size=limits.queue, default_concurrency_limit=limits.at_once)
    return page


def _drop(label: str, kind: str, answer: Callable[[Event | None], tuple[str, None]]) -> None:
    """A place for a file, and its answer below; the place is free again at once."""
    place = gr.File(label=label, file_types=[kind], height=190, elem_id=f"mien-{kind}", elem_classes="mien-drop")
    shown = gr.HTML(elem_classes="mien-shown", apply_default_css=False)
    place.upload(
        answer,
        place,
        [shown, place],
        preprocess=False,  # the bytes are decoded within limits, by mien's own decoder
        show_progress="minimal",
        show_progress_on=shown,
        api_visibility="private",
    )


def _camera(visitor: Visitor, answerer: Answerer) -> None:
    limits = answerer.limits
    place = gr.Image(
        sources=["webcam"],
        streaming=True,
        show_label=False,
        height=330,
        webcam_options=gr.WebcamOptions(constraints={"video": {"width": {"ideal": 640}, "height": {"ideal": 480}}}),
        buttons=[],
        elem_id="mien-camera",
        type="filepath",
    )
    shown = gr.HTML(elem_classes="mien-shown", apply_default_css=False)
    place.stream(
        visitor.frame,
        place,
        shown,
        preprocess=False,
        stream_every=LIVE_EVERY,
        time_limit=limits.camera_seconds,
        concurrency_limit=limits.cameras,
        show_progress="hidden",
        api_visibility="private",
    )


def _part(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")
