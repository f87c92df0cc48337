"""timm backbones (https://timm.fast.ai), by name."""

import importlib.util
import os
import re
import sys
from contextlib import suppress
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mien.base.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor, nn

OTHERWISE: Final = (
    "Or fetch model.safetensors of that model elsewhere and name the file in model.init, with its digest in "
    "model.init_sha256; or say init: none to train from scratch."
)
TIMM_NAMES: Final = {"mobilenetv2": "mobilenetv2_100"}
REGISTERED: Final = re.compile(r"^@register_model\s+def (\w+)", re.MULTILINE)
_kept: list[Any] = []  # a library undeclares its operators when it goes


def allow_torchvision() -> None:
    """Let torchvision be imported beside a PyTorch that it was not built for.

    Its import then fails for want of operators which nothing here uses; declaring them is enough.
    """
    spec = importlib.util.find_spec("torchvision")
    if _kept or spec is None or spec.origin is None or "torchvision" in sys.modules:
        return
    torch: Any = import_module("torch")  # this part of it has no types
    with suppress(OSError):
        for library in (*Path(spec.origin).parent.glob("_C*.so"), *Path(spec.origin).parent.glob("_C*.pyd")):
            torch.ops.load_library(library)
    if not hasattr(torch.ops.torchvision, "nms"):
        declared = torch.library.Library("torchvision", "DEF")
        for operator in ("nms", "qnms"):
            declared.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _kept.append(declared)


def backbone_names() -> list[str]:
    """The names of timm's models, from its files: its import takes seconds. A UserError where it is not installed."""
    spec = importlib.util.find_spec("timm")
    if spec is None or spec.origin is None:
        raise UserError(f"timm is not installed: use `pip install -c constraints.txt -e '.[timm]'`. {OTHERWISE}")
    files = (Path(spec.origin).parent / "models").rglob("*.py")
    return [name for file in files for name in REGISTERED.findall(file.read_text(encoding="utf-8"))]


def refuse_unknown_backbone(name: str) -> None:
    """Raise a UserError where timm is not installed, or has no model of that name; near names are given."""
    known = backbone_names()
    if name not in known:
        near = get_close_matches(name, known, 5)
        hint = f"near ones are {', '.join(near)}" if near else "see timm.list_models()"
        raise UserError(f"model.backbone: timm has no model {name!r}; {hint}.")


def timm_backbone(name: str, size: int) -> "tuple[nn.Module, int]":
    """The backbone for images of `size` pixels, without classifier, with fresh weights, and its number of features.

    A UserError where timm is not installed, has no model of that name, or one that cannot take this size.
    """
    import torch

    body = _create(name, size, pretrained=False).eval()
    try:
        with torch.inference_mode():
            # What comes out decides: timm's num_features is before a last convolution where there is one.
            features = body(torch.zeros(1, 3, size, size)).shape[1]
    except (RuntimeError, AssertionError) as error:
        reason = str(error).strip().splitlines()[0].rstrip(".")
        raise UserError(f"model.input_size: {name} of timm cannot take {size} pixels ({reason}).") from error
    return body.train(), int(features)


def imagenet_weights(name: str, size: int) -> "dict[str, Tensor]":
    """ImageNet weights of timm's model `name` for images of `size` pixels, from its hub or cache.

    A UserError says what to do without them.
    """
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    try:
        state: dict[str, Tensor] = _create(name, size, pretrained=True).state_dict()
    except (OSError, RuntimeError, ValueError) as error:  # the hub's client derives its errors from these
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(f"timm's hub cannot give ImageNet weights of {name} ({reason}). {OTHERWISE}") from error
    return state


def _create(name: str, size: int, *, pretrained: bool) -> Any:
    refuse_unknown_backbone(name)
    allow_torchvision()
    create = import_module("timm").create_model
    try:  # attention has a place for each patch of an image
        return create(name, pretrained=pretrained, num_classes=0, img_size=size)
    except TypeError:  # convolutions take any size
        return create(name, pretrained=pretrained, num_classes=0)
