"""Page theme: the colours of mien's reports, and system fonts."""

from typing import Final

from gradio.themes import Base, sizes
from gradio.themes.utils import colors
from gradio.themes.utils.fonts import Font

TEXT: Final = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Noto Sans", "DejaVu Sans", "sans-serif")
CODE: Final = ("ui-monospace", "SFMono-Regular", "Consolas", "DejaVu Sans Mono", "monospace")


def page_theme() -> Base:
    """Gradio's plain theme in mien's colours, light and dark; no font is fetched."""
    theme = Base(
        primary_hue=colors.sky,
        neutral_hue=colors.slate,
        radius_size=sizes.radius_lg,
        text_size=sizes.text_md,
        font=[Font(name) for name in TEXT],
        font_mono=[Font(name) for name in CODE],
    )
    return theme.set(
        body_background_fill="#ffffff",
        body_background_fill_dark="#171a1f",
        body_text_color="#1c2127",
        body_text_color_dark="#e8eaed",
        body_text_color_subdued="#5c6672",
        body_text_color_subdued_dark="#9aa4b0",
        block_background_fill="#f5f7f9",
        block_background_fill_dark="#1e2228",
        block_border_color="#e3e6ea",
        block_border_color_dark="#30353d",
        block_border_width="1px",
        block_shadow="none",
        block_label_background_fill="transparent",
        block_label_background_fill_dark="transparent",
        block_label_border_width="0px",
        border_color_primary="#e3e6ea",
        border_color_primary_dark="#30353d",
        button_primary_background_fill="#0072b2",
        button_primary_background_fill_dark="#56b4e9",
        color_accent="#0072b2",
        color_accent_soft="#e6f1f8",
        color_accent_soft_dark="#22303a",
        block_label_text_color="#5c6672",
        block_label_text_color_dark="#9aa4b0",
    )
