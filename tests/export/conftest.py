"""A small model and its files."""

from pathlib import Path

import pytest

from mien.registry.version import save_served
from tests.export.tiny import Export, export_tiny, exported
from tests.registry.workspace import candidate_of

__all__ = ["Export", "exported"]


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same model as MLflow keeps it."""
    folder = tmp_path_factory.mktemp("served") / "model"
    save_served(candidate_of(export_tiny().root), folder)
    return folder
