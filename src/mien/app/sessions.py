"""Gradio sessions: what Gradio stores of a visitor, and its deletion."""

import math

import gradio as gr


def forget(page: gr.Blocks, session: str) -> None:
    """Forget a visitor whose stream of answers has ended.

    Gradio keeps the last values of every session, here the pictures in an answer, for up to 10,000 sessions; this
    page needs none of them. It also keeps a camera's place until its time is over, and waits for a picture that
    nobody sends: this ends it as Gradio's own address for the Stop button does.
    """
    for event in list(page._queue.event_ids_to_events.values()):
        if event.session_hash == session and event.streaming:
            event.run_time = math.inf
            event.closed = True
            event.signal.set()
    page.state_holder.session_data.pop(session, None)
    page.state_holder.time_last_used.pop(session, None)
