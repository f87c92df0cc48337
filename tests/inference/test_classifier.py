"""A model from an ONNX file: as good as the one it comes from, and refused in one sentence where it is not whole."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest

from mien.base.classes import EXPRESSIONS
from mien.base.errors import UserError
from mien.inference.address import load_model_of
from mien.inference.classifier import MOST_THREADS, load_onnx
from mien.runtime.spec import FORMAT, CutSpec
from tests.inference.conftest import Export

CUT = dataclasses.asdict(CutSpec(24, "grey"))


def spec(**changes: Any) -> str:
    """The spec in the file's metadata, changed."""
    return json.dumps({"format": FORMAT, "classes": EXPRESSIONS, "cut": CUT, "temperature": 1.5, **changes})


@pytest.fixture
def changed(exported: Export, tmp_path: Path) -> Callable[..., Path]:
    """Writes the exported file with other metadata (None: without that key), or changed by a function."""

    def write(change: Callable[[Any], None] = lambda model: None, **texts: str | None) -> Path:
        model = onnx.load(exported.float32.file)
        about = {prop.key: prop.value for prop in model.metadata_props}
        about.update({key: text for key, text in texts.items() if text is not None})
        del model.metadata_props[:]
        onnx.helper.set_model_props(model, {k: v for k, v in about.items() if k not in texts or texts[k] is not None})
        change(model)
        onnx.save(model, tmp_path / "changed.onnx")
        return tmp_path / "changed.onnx"

    return write


def test_threads_are_bounded_and_do_not_spin(exported: Export) -> None:
    session = load_onnx(exported.float32.file).session
    options = session.get_session_options()
    assert 1 <= options.intra_op_num_threads <= MOST_THREADS
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
    assert session.get_providers() == ["CPUExecutionProvider"]


@pytest.mark.parametrize("kept", [0, 200, 5000, None])
def test_a_file_that_is_missing_damaged_or_no_onnx(exported: Export, tmp_path: Path, kept: int | None) -> None:
    with pytest.raises(UserError, match=r"^gone\.onnx: there is no such file; `mien export` writes it\.$"):
        load_model_of("gone.onnx")
    whole = exported.float32.file.read_bytes()
    (tmp_path / "damaged.onnx").write_bytes(b"a letter to a friend" if kept is None else whole[:kept])
    with pytest.raises(UserError, match=r"damaged\.onnx cannot be read by onnxruntime [\d.]+ \(.*\); `mien export`"):
        load_model_of(str(tmp_path / "damaged.onnx"))


def test_a_file_of_another_program(changed: Callable[..., Path]) -> None:
    file = changed(lambda model: model.ClearField("metadata_props"))
    with pytest.raises(UserError, match=r"is an ONNX file, but no export of mien: it lacks the crop settings"):
        load_model_of(str(file))


def test_a_file_for_a_newer_runtime(changed: Callable[..., Path]) -> None:
    def newer(model: Any) -> None:
        model.opset_import[0].version = 99

    with pytest.raises(UserError, match=r"cannot be read by onnxruntime .*opset 99") as error:
        load_model_of(str(changed(newer)))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("texts", "says"),
    [
        ({"card": None}, r"lacks card as this version of mien writes it; `mien export` writes one that fits"),
        ({"title": "wide"}, r"lacks title as this version of mien writes it"),
        ({"spec": spec(format=0)}, r"is of format 0, and this mien reads format 2; `mien export` writes one that fits"),
        ({"spec": spec(cut={**CUT, "size": "24"})}, r"cut\.size is '24'"),
        ({"drawn": "1"}, r"drawn must be true or false, not 1"),
        ({"spec": spec(classes=["glad"] * 7)}, r"is damaged \(its classes are glad, glad, "),
        ({"spec": spec(cut={**CUT, "size": 48})}, r"does not take the faces or give the classes of its spec"),
    ],
)
def test_metadata_that_do_not_fit(changed: Callable[..., Path], texts: dict[str, str | None], says: str) -> None:
    with pytest.raises(UserError, match=says):
        load_model_of(str(changed(**texts)))
