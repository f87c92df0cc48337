"""Trained models as a beginning, as teachers and as members of an ensemble."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from mien.base.errors import UserError
from mien.base.settings import read_settings
from mien.inference.address import find_parents, load_model_of
from mien.inference.export import quantise
from mien.models.description import TRAINING_FACES, ModelConfig, ModelSpec
from mien.models.graph import export_graph
from mien.models.networks import build_model
from mien.models.weights import Parent, Parents, load_initial, load_model, predict_logits, save_model
from mien.runtime.cut import Box, cut_face
from mien.runtime.session import Model, open_graph
from mien.runtime.spec import CutSpec
from mien.training.fit import Fitted, fit
from mien.training.inputs import architecture, write_lineage
from mien.training.rank import fit_on_ranks
from mien.training.recipe import Recipe
from mien.training.task import distillation_loss
from tests.training.tasks import RECIPE, SPEC, TRAIN, VAL
from tools.sample.photo import draw_photo

LEARNT = "models:/mien-bars/1"
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Fitted:
    return fit(SPEC, RECIPE, TRAIN, VAL, tmp_path_factory.mktemp("fit"), verbose=False)


@pytest.fixture(scope="module")
def parents(fitted: Fitted, tmp_path_factory: pytest.TempPathFactory) -> Parents:
    """A model that knows the task, and one that knows nothing, as `__main__` hands them to a stage."""
    folders = {LEARNT: tmp_path_factory.mktemp("learnt"), "fresh": tmp_path_factory.mktemp("fresh")}
    save_model(fitted.model, SPEC, folders[LEARNT])
    save_model(SPEC.build(), SPEC, folders["fresh"])
    return {address: Parent(f"the model {address}", folder) for address, folder in folders.items()}


def with_model(**changed: Any) -> Recipe:
    return dataclasses.replace(RECIPE, model=dataclasses.replace(RECIPE.model, **changed))


def accuracy(fitted: Fitted) -> float:
    return float((predict_logits(fitted.model, VAL.pixels).argmax(axis=1) == VAL.labels).mean())


def test_a_training_begins_where_a_model_of_the_same_network_ended(
    fitted: Fitted, parents: Parents, tmp_path: Path
) -> None:
    config = with_model(init=LEARNT, dropout=0.4, flip=True).model  # neither changes what the weights are of
    begun = build_model(config, SPEC.cut, 7)
    load_initial(begun, config, SPEC.classes, parents)
    state = fitted.model.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in begun.state_dict().items())
    short = with_model(init=LEARNT).with_values({"train.epochs": 1, "train.freeze_epochs": 1, "optim.backbone_lr": 0.1})
    frozen = fit(SPEC, short, TRAIN, VAL, tmp_path, parents=parents, verbose=False).model.state_dict()
    changed = {name for name, value in frozen.items() if not torch.equal(value, state[name])}
    assert changed == {f"{begun.last_layer}.weight", f"{begun.last_layer}.bias"}


def test_the_last_layer_is_new_where_the_classes_are_others(fitted: Fitted, parents: Parents) -> None:
    config, classes = with_model(init=LEARNT).model, (*SPEC.classes[:-1], "contempt", "other")
    begun = build_model(config, SPEC.cut, len(classes))
    fresh = {name: value.clone() for name, value in begun.state_dict().items()}
    load_initial(begun, config, classes, parents)
    state = begun.state_dict()
    new = {name for name, value in state.items() if torch.equal(value, fresh[name])}
    assert {f"{begun.last_layer}.weight", f"{begun.last_layer}.bias"} <= new
    assert torch.equal(state["body.0.weight"], fitted.model.state_dict()["body.0.weight"])
    assert torch.equal(state["normalise.mean"], fitted.model.state_dict()["normalise.mean"])


def test_a_parent_that_does_not_fit_is_refused_in_a_sentence(parents: Parents, tmp_path: Path) -> None:
    def refused(recipe: Recipe, spec: ModelSpec = SPEC) -> str:
        with pytest.raises(UserError) as told:
            fit(spec, recipe, TRAIN, VAL, tmp_path, parents=parents, verbose=False)
        return str(told.value)

    wider = refused(with_model(init=LEARNT, width=8, blocks=2))
    assert "is another network (width is 4, not 8, blocks is 1, not 2); describe the same one in conf/model" in wider
    taught = RECIPE.with_values({"train.teachers": [LEARNT]})
    other = dataclasses.replace(SPEC, classes=(*SPEC.classes[:6], "contempt"))
    assert "train.teachers: the model models:/mien-bars/1 knows the classes angry," in refused(taught, other)
    assert "takes faces with size 24, colour grey, margin 0.0, square False, and conf/crop gives size" in refused(
        taught, dataclasses.replace(SPEC, cut=CutSpec(24, "rgb"))
    )
    damaged = {LEARNT: Parent("it", tmp_path / "nowhere")}
    with pytest.raises(UserError, match=r"nowhere holds no model"):
        fit(SPEC, taught, TRAIN, VAL, tmp_path, parents=damaged, verbose=False)


def test_what_a_parent_lacks_is_told_with_its_key_before_a_training_and_its_faces_are_added(
    fitted: Fitted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    named = [("train.teachers", "train")]  # a folder of this name is no part of the split
    for folder in ("train", "build/split"):
        Path(folder).mkdir(parents=True)
    for make, says in (
        (lambda: None, "train.teachers: train is no trained model: it lacks model.safetensors; name"),
        (lambda: save_model(fitted.model, SPEC, Path("train")), "it lacks training_faces.parquet"),
        (lambda: Path("train", TRAINING_FACES).write_text("PAR1"), r"training_faces.parquet is damaged \("),
    ):
        make()
        with pytest.raises(UserError, match=says):
            find_parents(named)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    with pytest.raises(UserError, match=r"^model.init: there is no models:/a/1 yet .*/mlruns/mlflow.db"):
        find_parents([("model.init", "models:/a/1")])  # in the checkout's own store
    for n, file in enumerate(("build/split/train.parquet", "build/split/val.parquet", f"train/{TRAINING_FACES}")):
        pd.DataFrame({"photo_digest": ["a"], "face_digest": ["b"], "group": [n]}).to_parquet(file)
    write_lineage(tmp_path, {}, find_parents(named))
    assert pd.read_parquet(TRAINING_FACES)["part"].tolist() == ["train", "val", "parent"]


def test_the_distillation_loss_is_that_of_the_paper() -> None:
    logits, teacher = torch.tensor([[1.0, 0.0, -2.0]]), torch.tensor([[0.5, 0.4, 0.1]])
    q = np.exp(logits.numpy() / 3) / np.exp(logits.numpy() / 3).sum()
    expected = 9 * (teacher.numpy() * (np.log(teacher.numpy()) - np.log(q))).sum()
    assert float(distillation_loss(logits, teacher, 3.0)) == pytest.approx(float(expected), rel=1e-5)
    same = torch.softmax(logits / 3, dim=1)
    assert float(distillation_loss(logits, same, 3.0)) == pytest.approx(0, abs=1e-6)


def test_a_pupil_learns_from_its_teachers_what_labels_do_not_say(parents: Parents, tmp_path: Path) -> None:
    """With labels that mean nothing, only the teacher knows; with two, their mean is taught."""
    senseless = dataclasses.replace(TRAIN, labels=np.random.default_rng(3).integers(0, 7, len(TRAIN)))
    reached = {}
    for share, teachers in ((1.0, [LEARNT]), (0.5, [LEARNT, "fresh"]), (0.0, [LEARNT])):
        values = {"train.teachers": teachers, "train.distill_share": share, "train.epochs": 8}
        folder = tmp_path / f"{share}"
        reached[share] = accuracy(
            fit(SPEC, RECIPE.with_values(values), senseless, VAL, folder, parents=parents, verbose=False)
        )
    assert reached[1.0] > 0.8 > 0.5 > reached[0.0], reached
    assert reached[0.5] > reached[0.0], reached


def test_a_taught_training_that_was_killed_continues_bit_for_bit_and_its_checkpoint_holds_no_teacher(
    parents: Parents, tmp_path: Path
) -> None:
    constant = {"optim.schedule": "constant", "optim.warmup_epochs": 0.0, "augment.batched": True}
    taught = RECIPE.with_values({"train.teachers": [LEARNT], "train.epochs": 2, **constant})
    whole = fit(SPEC, taught, TRAIN, VAL, tmp_path / "whole", parents=parents, verbose=False)
    cut = tmp_path / "cut"
    fit(SPEC, taught.with_values({"train.epochs": 1}), TRAIN, VAL, cut, parents=parents, verbose=False)
    weights = torch.load(cut / "last.ckpt", weights_only=True)["state_dict"]
    assert all(name.startswith("model.") for name in weights)
    continued = fit(SPEC, taught, TRAIN, VAL, cut, parents=parents, verbose=False)
    assert continued.history == whole.history and len(whole.history) == 2
    state = whole.model.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in continued.model.state_dict().items())


@pytest.fixture(scope="module")
def ensemble(parents: Parents, tmp_path_factory: pytest.TempPathFactory) -> tuple[ModelSpec, Fitted]:
    model = ModelConfig("ensemble", dropout=0.0, members=[LEARNT, "fresh"])
    recipe = dataclasses.replace(RECIPE, model=model).with_values({"trainer.devices": 2})
    spec = ModelSpec(architecture(recipe, parents), SPEC.cut)
    return spec, fit_on_ranks(spec, recipe, TRAIN, VAL, tmp_path_factory.mktemp("none"), parents=parents)


def test_an_ensemble_answers_with_the_mean_probabilities_of_its_members_as_one_graph(
    ensemble: tuple[ModelSpec, Fitted], parents: Parents, tmp_path: Path
) -> None:
    spec, fitted = ensemble
    answers = [predict_logits(load_model(parent.folder)[0], VAL.pixels) for parent in parents.values()]
    mean = np.mean([torch.softmax(torch.from_numpy(logits), 1).numpy() for logits in answers], axis=0)
    logits = predict_logits(fitted.model, VAL.pixels)
    assert np.allclose(np.exp(logits), mean, atol=1e-6)
    (row,) = fitted.history
    assert row["val_accuracy"] == pytest.approx((mean.argmax(1) == VAL.labels).mean())
    export_graph(fitted.model, spec, tmp_path / "model.onnx", VAL.pixels)
    graph = Model(open_graph(tmp_path / "model.onnx", spec.serving(None)), spec.serving(None))
    assert np.allclose(graph.logits(VAL.pixels), logits, atol=1e-4)
    quantise(tmp_path / "model.onnx", tmp_path / "int8.onnx", VAL.pixels)
    eighth = Model(open_graph(tmp_path / "int8.onnx", spec.serving(None)), spec.serving(None)).logits(VAL.pixels)
    assert (eighth.argmax(1) == logits.argmax(1)).mean() > 0.9


def test_an_ensemble_is_saved_read_again_and_a_parent_itself(
    ensemble: tuple[ModelSpec, Fitted], parents: Parents, tmp_path: Path
) -> None:
    spec, fitted = ensemble
    save_model(fitted.model, spec, tmp_path)
    again, read = load_model(tmp_path)
    assert read == spec and np.array_equal(predict_logits(again, VAL.pixels), predict_logits(fitted.model, VAL.pixels))
    taught = RECIPE.with_values({"train.teachers": ["both"], "train.epochs": 1})
    fit(SPEC, taught, TRAIN, VAL, tmp_path / "pupil", parents={"both": Parent("both", tmp_path)}, verbose=False)


def test_the_network_in_the_package_is_a_parent_and_answers_like_the_graph_that_it_taught() -> None:
    parents = find_parents([("model.init", "packaged")])
    config: ModelConfig = read_settings(ROOT / "conf", "model", "packaged")
    shipped = load_model_of("packaged")
    drawn = [draw_photo(np.random.default_rng([1, i]), [i % 7]) for i in range(21)]
    faces = np.stack([cut_face(photo, Box(*found[0].box), shipped.spec.cut) for photo, found in drawn])
    for classes in (shipped.spec.classes, ("calm", "tense")):
        network = build_model(config, shipped.spec.cut, len(classes))
        load_initial(network, config, classes, parents)
        logits = predict_logits(network, faces)
        alike = (logits.argmax(axis=1) == shipped.logits(faces).argmax(axis=1)).mean()
        assert alike > 0.5 if len(classes) == 7 else logits.shape == (21, 2)
    parts = pd.read_parquet(parents["packaged"].folder / TRAINING_FACES)["part"]
    assert parts.value_counts().to_dict() == {"train": 26_069, "val": 3_589}
