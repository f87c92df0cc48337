"""What a video's faces said when: a table, and a picture of it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from mien.predict.detection import Detection
from mien.video.track import Track

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

COLUMNS: Final = ["frame", "time", "track", "top", "left", "right", "bottom", "score", "label", "unsure"]
PLOTTED: Final = 6  # tracks, the longest ones
GAP: Final = 0.5  # seconds without a face, from which its line is broken


class Timeline:
    """A row for each face of each frame."""

    def __init__(self, classes: Sequence[str], unsure_below: float) -> None:
        self.classes = list(classes)
        self._unsure_below = unsure_below
        self._rows: list[list[Any]] = []

    def add(self, frame: int, time: float, found: Detection, raw: np.ndarray, track: Track) -> tuple[str, float, bool]:
        """Note a face; its label, that label's smoothed probability, and whether it is unsure."""
        smooth = track.probabilities
        label, share = self.classes[int(smooth.argmax())], float(smooth.max())
        unsure = share < self._unsure_below
        where = [frame, round(time, 6), track.number, *found.box, found.score, label, unsure]
        self._rows.append([*where, *smooth.round(6).tolist(), *raw.round(6).tolist()])
        return label, share, unsure

    def table(self) -> "pd.DataFrame":
        """`frame` from 0, `time` in seconds, `track`, the box, the detector's score, `label`, `unsure`, and of each
        class its smoothed probability (`happy`) and that of the frame alone (`happy_raw`)."""
        import pandas as pd

        return pd.DataFrame(self._rows, columns=[*COLUMNS, *self.classes, *(f"{name}_raw" for name in self.classes)])


def timeline_figure(table: "pd.DataFrame", classes: Sequence[str], title: str, seconds: float) -> bytes:
    """A PNG: of each of the longest tracks the smoothed probabilities over time."""
    from mien.evaluation.style import LIGHT, drawing, headline, png

    tracks = table["track"].value_counts().head(PLOTTED).index.sort_values().tolist()
    with drawing(LIGHT, 12, 2.2 + 2.4 * max(len(tracks), 1)) as figure:
        panels = figure.subplots(max(len(tracks), 1), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
        for axes, track in zip(panels, tracks, strict=False):
            _plot_track(axes, table[table["track"] == track], classes)
            axes.set_ylabel(f"face {track}")
        shown = len(tracks)
        n = table["track"].nunique()
        which = f"{n} face{'s' * (n != 1)}" if n == shown else f"the {shown} faces seen longest, of {n}"
        headline(panels[0], title, f"Smoothed probability of each expression over time, {which}")
        panels[0].set_ylim(0, 1)
        panels[0].set_xlim(0, max(seconds, 1e-3))
        panels[-1].set_xlabel("seconds")
        if tracks:
            handles, names = panels[0].get_legend_handles_labels()
            figure.legend(handles, names, loc="outside lower center", ncols=min(len(names), 8))
        return png(figure)


def _plot_track(axes: "Axes", rows: "pd.DataFrame", classes: Sequence[str]) -> None:
    from mien.predict.annotate import COLOURS, OTHER

    time = rows["time"].to_numpy()
    breaks = np.flatnonzero(np.diff(time) > GAP) + 1
    for name in classes:
        shares = np.insert(rows[name].to_numpy(float), breaks, np.nan)
        axes.plot(
            np.insert(time, breaks, np.nan), shares, color=_line(COLOURS.get(name, OTHER)), label=name, linewidth=2
        )
    axes.grid(axis="y")


def _line(colour: str) -> str:
    """Yellow and light grey are too pale for a line on white."""
    return {"#f0e442": "#b8a800", "#c8c8c8": "#66707d"}.get(colour, colour)
