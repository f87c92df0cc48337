"""mien: facial-expression recognition that can be trusted."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mien.inference.predictor import Predictor as Predictor

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """`mien.Predictor`, imported when it is used: OpenCV would slow down every command."""
    if name == "Predictor":
        from mien.inference.predictor import Predictor

        return Predictor
    raise AttributeError(f"module 'mien' has no attribute {name!r}")
