"""An exported file answers as its model does, or does not appear, and on which faces that is checked."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pandas as pd
import pytest

from mien.base.errors import UserError
from mien.crop.packed import open_faces
from mien.inference import export
from mien.inference.address import load_model_of, open_measured
from mien.inference.export import export_onnx, generated_faces, own_faces, photo_faces, probabilities_in
from mien.inference.predictor import Predictor
from tests.inference.conftest import Export, jpeg, portrait


@pytest.mark.parametrize("n", [0, 1, 3, 300])
def test_any_number_of_faces_gets_the_answers_of_pytorch(exported: Export, n: int) -> None:
    loaded = exported.measured.loaded
    shape = (n, loaded.spec.cut.size, loaded.spec.cut.size, loaded.spec.cut.channels)
    faces = np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8)
    expected = loaded.probabilities(faces)
    file = load_model_of(str(exported.float32.file))
    np.testing.assert_allclose(file.probabilities(faces), expected, atol=1e-5)
    if n:
        np.testing.assert_allclose(probabilities_in(exported.float32.file, faces), expected, atol=1e-5)


def test_the_file_tells_what_a_predictor_needs(exported: Export) -> None:
    loaded, file = exported.measured.loaded, load_model_of(str(exported.float32.file))
    assert file.files is None
    for key in ("spec", "name", "version", "title", "drawn", "card"):
        assert getattr(file, key) == getattr(loaded, key), key
    assert loaded.spec.temperature not in (None, 1.0)  # so that the probabilities above are calibrated ones
    about = {prop.key: json.loads(prop.value) for prop in onnx.load(exported.float32.file).metadata_props}
    assert about["lineage"] == exported.measured.lineage["digest"]
    assert about["precision"] == "float32"
    assert [o.version for o in onnx.load(exported.float32.file).opset_import if not o.domain] == [18]


def test_the_comparison_is_on_its_own_validation_faces(exported: Export) -> None:
    done, faces = exported.float32, exported.faces
    assert faces.says == f"{len(faces.checked)} of its own validation faces"
    assert done.float32.faces == done.float32.same == len(faces.checked) > 30
    assert done.float32.difference < 1e-5
    assert done.int8 is None


def test_int8_is_smaller_close_and_says_what_it_costs(exported: Export) -> None:
    done = exported.int8
    assert done.int8 is not None
    assert done.int8.change is not None
    assert done.int8.same > 0.9 * done.int8.faces
    assert 1e-4 < done.int8.difference < 0.5
    assert done.int8.change.value == pytest.approx(done.int8.after - done.int8.before)
    assert done.int8.change.low <= done.int8.change.value <= done.int8.change.high
    right = exported.measured.loaded.probabilities(exported.faces.checked).argmax(axis=1) == exported.faces.labels
    assert done.int8.before == pytest.approx(right.mean())
    graph = onnx.load(done.file).graph
    weights = [i for i in graph.initializer if i.data_type == onnx.TensorProto.INT8]
    assert len(weights) > 8
    scales = [i for i in graph.initializer if i.name.endswith("_scale") and len(i.dims) == 1 and i.dims[0] > 1]
    assert len(scales) > 8  # one for each channel
    assert {p.key: p.value for p in onnx.load(done.file).metadata_props}["precision"] == '"int8"'


def test_a_file_that_answers_otherwise_is_refused(
    exported: Export, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here because the graph was made with another temperature than the model's."""
    add = export.add_probabilities
    monkeypatch.setattr(
        export, "add_probabilities", lambda graph, file, temperature: add(graph, file, 1.02 * temperature)
    )
    out = tmp_path / "model.onnx"
    out.write_text("what was there before")
    with pytest.raises(UserError, match=r"was not written: on \d+ of its own validation faces it differs"):
        export_onnx(exported.measured, exported.faces, out)
    assert out.read_text() == "what was there before"
    assert list(tmp_path.iterdir()) == [out]


def test_an_exported_file_is_not_exported_again(exported: Export, tmp_path: Path) -> None:
    again = dataclasses.replace(exported.measured, loaded=load_model_of(str(exported.float32.file)))
    with pytest.raises(UserError, match="is an exported file; export the model that it comes from"):
        export_onnx(again, exported.faces, tmp_path / "again.onnx")


def test_own_faces_are_validation_and_training_faces_never_test(exported: Export) -> None:
    packed = open_faces(exported.root / "build/crop")
    rows = {
        part: pd.read_parquet(exported.root / f"build/split/{part}.parquet")["row"] for part in ("train", "val", "test")
    }
    np.testing.assert_array_equal(exported.faces.checked, packed.pixels[np.sort(rows["val"])])
    assert exported.faces.calibration is not None
    assert set(map(bytes, exported.faces.calibration)) <= set(map(bytes, packed.pixels[rows["train"]]))
    assert not set(map(bytes, exported.faces.calibration)) & set(map(bytes, packed.pixels[rows["test"]]))


def test_a_registered_model_brings_the_digests_of_its_faces(exported: Export, saved: Path) -> None:
    """So that it does not matter how the checkout is split by now."""
    again = own_faces(open_measured(str(saved)), exported.root / "build/crop")
    assert again is not None
    np.testing.assert_array_equal(again.checked, exported.faces.checked)
    assert again.calibration is not None
    assert exported.faces.calibration is not None
    np.testing.assert_array_equal(again.calibration, exported.faces.calibration)


def test_faces_that_are_missing_or_cut_otherwise_are_none(exported: Export, tmp_path: Path) -> None:
    measured = exported.measured
    assert own_faces(measured, tmp_path / "crop") is None
    assert measured.seen is not None
    strangers = dataclasses.replace(measured, seen=measured.seen.assign(face_digest="0"))
    assert own_faces(strangers, exported.root / "build/crop") is None
    spec = measured.loaded.spec
    wider = dataclasses.replace(spec, cut=dataclasses.replace(spec.cut, margin=0.2))
    larger = dataclasses.replace(measured.loaded, spec=wider)
    assert own_faces(dataclasses.replace(measured, loaded=larger), exported.root / "build/crop") is None
    shutil.copytree(exported.root / "build/train", tmp_path / "build/train")  # and not its split
    (tmp_path / "build/train/training_faces.parquet").unlink()
    assert own_faces(open_measured(str(tmp_path / "build/train")), exported.root / "build/crop") is None


def test_photos_and_generated_pictures_serve_where_there_are_no_own_faces(exported: Export, tmp_path: Path) -> None:
    predictor = Predictor(exported.measured.loaded)
    cut = exported.measured.loaded.spec.cut
    drawn = generated_faces(cut)
    assert drawn.checked.shape == (64, cut.size, cut.size, 1)
    assert drawn.checked.std() > 20
    with pytest.raises(UserError, match=r"int8 needs more faces .*; there are only 64 generated pictures"):
        export_onnx(exported.measured, drawn, tmp_path / "small.onnx", int8=True)
    (tmp_path / "a.jpg").write_bytes(jpeg(portrait()[0]))
    found = photo_faces(predictor, [tmp_path / "a.jpg"] * 40)
    assert len(found.checked) == 20
    assert found.calibration is not None
    assert len(found.calibration) == 20
    (tmp_path / "grey.jpg").write_bytes(jpeg(np.full((90, 90, 3), 100, np.uint8)))
    with pytest.raises(UserError, match="no face was found in these photos"):
        photo_faces(predictor, [tmp_path / "grey.jpg"])
    (tmp_path / "text.jpg").write_text("no photo")
    with pytest.raises(UserError, match=r"text\.jpg: cannot be used: "):
        photo_faces(predictor, [tmp_path / "text.jpg"])
