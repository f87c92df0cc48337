"""mien: facial-expression recognition that can be trusted; `mien.predict("photo.jpg")` gives the faces of a photo."""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from mien.base.errors import UserError as UserError
    from mien.inference.interface import Shot as Shot
    from mien.inference.interface import load as load
    from mien.inference.interface import predict as predict
    from mien.inference.interface import stream as stream
    from mien.inference.predictor import FacePrediction as FacePrediction
    from mien.inference.predictor import Faces as Faces
    from mien.inference.predictor import Predictor as Predictor

__version__ = "0.1.0"

# Imported when they are used: OpenCV would slow down every command, and every program that only imports mien.
_HOMES: Final = {
    "mien.base.errors": ("UserError",),
    "mien.inference.interface": ("Shot", "load", "predict", "stream"),
    "mien.inference.predictor": ("FacePrediction", "Faces", "Predictor"),
}
_HOME: Final = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    """What people use, imported from where it is defined."""
    if name not in _HOME:
        raise AttributeError(f"module 'mien' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    """For completion in a notebook."""
    return sorted({*globals(), *_HOME})
