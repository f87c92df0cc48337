"""The strong model as MLflow serves it."""

from pathlib import Path
from typing import Any

import mlflow
import pytest


@pytest.fixture(scope="session")
def served(saved: Path) -> Any:
    """That model, loaded."""
    return mlflow.pyfunc.load_model(str(saved), suppress_warnings=True)
