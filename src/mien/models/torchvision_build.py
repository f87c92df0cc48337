"""Let torchvision be imported beside a PyTorch that it was not built for.

The wheel on PyPI links CUDA. Beside a CPU build of PyTorch its library does not load, and the import fails because
`torchvision::nms` is not declared; Lightning's metrics, which import it where it is installed, fail with it.
Declared without a body the operators are merely unavailable, and nothing here calls them.
"""

import importlib.abc
import importlib.machinery
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Final

NAME: Final = "torchvision"
_kept: list[Any] = []  # a library undeclares its operators when it goes


class BeforeTorchvision(importlib.abc.MetaPathFinder):
    """Finds nothing; it is asked when torchvision is first imported, and then does what is to be done before."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """None, so that the next finder is asked."""
        if fullname == NAME:
            sys.meta_path.remove(self)
            spec = importlib.machinery.PathFinder.find_spec(NAME)
            if spec is not None and spec.origin is not None and not _operators_load(Path(spec.origin).parent):
                _declare_operators()
        return None


def allow_torchvision() -> None:
    """Be asked before torchvision is imported, if that has not happened yet."""
    if NAME not in sys.modules and not any(isinstance(finder, BeforeTorchvision) for finder in sys.meta_path):
        sys.meta_path.insert(0, BeforeTorchvision())


def _operators_load(folder: Path) -> bool:
    torch: Any = import_module("torch")  # this part of it has no types
    for library in (*folder.glob("_C*.so"), *folder.glob("_C*.pyd")):
        try:
            torch.ops.load_library(library)
        except OSError:
            return False
    return hasattr(torch.ops.torchvision, "nms")


def _declare_operators() -> None:
    torch: Any = import_module("torch")
    library = torch.library.Library(NAME, "DEF")
    for operator in ("nms", "qnms"):
        library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _kept.append(library)
