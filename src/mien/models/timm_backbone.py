"""Any backbone of timm (https://timm.fast.ai), by its name."""

import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

from mien.base.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor, nn

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


OTHERWISE: Final = (
    "Or fetch model.safetensors of that model elsewhere and name the file in model.weights, with its digest in "
    "model.weights_sha256; or say weights: none to train from scratch."
)


def timm_backbone(name: str) -> "tuple[nn.Module, int]":
    """The backbone without classifier, fresh weights, and how many features it gives.

    Raises:
        UserError: timm is not installed, or knows no such name; near names are given.
    """
    timm = _timm()
    if name not in timm.list_models():
        near = get_close_matches(name, timm.list_models(), 5)
        hint = f"near ones are {', '.join(near)}" if near else "see timm.list_models()"
        raise UserError(f"model.backbone: timm has no model {name!r}; {hint}.")
    body: Any = timm.create_model(name, pretrained=False, num_classes=0)
    return body, int(body.num_features)


def imagenet_weights(name: str) -> "dict[str, Tensor]":
    """ImageNet weights of timm's model `name`, from its hub or from the cache of an earlier download.

    Raises:
        UserError: timm is not installed, has no such weights, or the hub cannot be reached; says what else there is.
    """
    timm = _timm()
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    try:
        state: dict[str, Tensor] = timm.create_model(name, pretrained=True, num_classes=0).state_dict()
    except (OSError, RuntimeError, ValueError) as error:  # the hub's client derives its errors from these
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(f"ImageNet weights of {name} cannot be had from timm's hub ({reason}). {OTHERWISE}") from error
    return state


def _timm() -> Any:
    if importlib.util.find_spec("timm") is None:
        raise UserError(f"timm is not installed: `pip install -c constraints.txt '.[timm]'` brings it. {OTHERWISE}")
    allow_torchvision()
    return import_module("timm")
