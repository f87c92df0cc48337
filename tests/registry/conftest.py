"""Two models of one split, one clearly better than the other, trained once."""

import shutil
from pathlib import Path
from typing import Any

import mlflow
import pytest

from mien.crop.selection import CropConfig
from mien.registry.gate import RegisterConfig
from mien.registry.version import save_version
from tests.registry.workspace import candidate_of, prepare, train
from tests.stores import checkout, closed_port, hanging_server, no_store

__all__ = ["checkout", "closed_port", "hanging_server", "no_store"]


@pytest.fixture(scope="session")
def weak(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a model that is better than chance."""
    root = tmp_path_factory.mktemp("weak") / "workspace"
    prepare(root, CropConfig(size=24, colour="grey", workers=1))
    train(root, steps=8)
    return root


@pytest.fixture(scope="session")
def strong(weak: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same faces and split, with a much better model."""
    root = tmp_path_factory.mktemp("strong") / "workspace"
    shutil.copytree(weak, root)
    train(root, steps=40, seed=1)
    return root


@pytest.fixture
def rules() -> RegisterConfig:
    """A gate that decides by itself, with few resamples."""
    return RegisterConfig(bootstrap=300)


@pytest.fixture(scope="session")
def saved(strong: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The strong model as MLflow serves it."""
    folder = tmp_path_factory.mktemp("served") / "model"
    save_version(candidate_of(strong), folder, "a card")
    return folder


@pytest.fixture(scope="session")
def served(saved: Path) -> Any:
    """The same, loaded."""
    return mlflow.pyfunc.load_model(str(saved), suppress_warnings=True)
