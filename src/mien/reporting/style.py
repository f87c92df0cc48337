"""Figure style for light and dark pages, byte-identical on every run."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import matplotlib
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.typing import RcKeyType

SHEET: Final = matplotlib.rc_params_from_file(Path(__file__).with_name("figures.mplstyle"), use_default_template=False)
DOTTED: Final[dict[str, Any]] = {"linewidth": 1.4, "linestyle": (0, (2, 3))}  # of a line that the eye compares with


@dataclass(frozen=True)
class Theme:
    """Colours of a page. The three series are those of Okabe & Ito (2008): apart for every colour vision."""

    paper: str
    ink: str
    muted: str
    grid: str
    first: str
    second: str
    third: str

    def on(self, shade: float) -> str:
        """The colour of text on a shade (0 to 1) of the ramp: white or black, whichever is clearer."""
        red, green, blue, _ = self.ramp(shade)
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (red, green, blue)]
        luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]  # WCAG 2.1
        return "#ffffff" if 1.05 / (luminance + 0.05) > (luminance + 0.05) / 0.05 else "#000000"

    @property
    def ramp(self) -> LinearSegmentedColormap:
        """From the paper to the first series: more ink is more."""
        return LinearSegmentedColormap.from_list("ramp", [self.paper, self.first])


LIGHT: Final = Theme("#ffffff", "#1c2127", "#66707d", "#e3e6ea", "#0072b2", "#d55e00", "#009e73")
DARK: Final = Theme("#171a1f", "#e8eaed", "#9aa4b0", "#30353d", "#56b4e9", "#e69f00", "#35c596")


@contextmanager
def drawing(theme: Theme, width: float, height: float) -> Iterator[Figure]:
    """A figure of so many inches; what is drawn within the block has the theme's look."""
    used: dict[str, tuple[RcKeyType, ...]] = {
        theme.paper: ("axes.facecolor", "figure.facecolor"),
        theme.ink: ("axes.titlecolor", "legend.labelcolor", "text.color", "xtick.labelcolor", "ytick.labelcolor"),
        theme.muted: ("axes.labelcolor",),
        theme.grid: ("axes.edgecolor", "grid.color", "xtick.color", "ytick.color"),
    }
    colours = {key: colour for colour, keys in used.items() for key in keys}
    with matplotlib.rc_context({**SHEET, **colours}):
        yield Figure(figsize=(width, height))


def png(figure: Figure) -> bytes:
    """The figure as a PNG without a date and without a version of the software."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def headline(axes: Axes, title: str, subtitle: str = "") -> None:
    """A title over the axes' left edge, and under it a line that says what it shows."""
    plain: dict[str, Any] = {"parse_math": False}  # "$" in a file's name begins no formula
    axes.set_title(title, pad=34 if subtitle else 16, **plain)
    if subtitle:
        axes.annotate(
            subtitle,
            (0, 1),
            xytext=(0, 14),
            xycoords="axes fraction",
            textcoords="offset points",
            color=axes.xaxis.label.get_color(),
            fontsize=12,
            **plain,
        )
