"""The places of live cameras: free again as soon as a browser has gone."""

import math

import gradio as gr


def free_cameras(page: gr.Blocks, session: str) -> None:
    """End the live cameras of a browser that closed its stream of answers.

    Gradio itself keeps a camera's place until its time is over, and waits for a picture that nobody sends; this
    does what its own address for the Stop button does.
    """
    for event in list(page._queue.event_ids_to_events.values()):
        if event.session_hash == session and event.streaming:
            event.run_time = math.inf
            event.closed = True
            event.signal.set()
