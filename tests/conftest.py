"""What holds for all tests."""

import gc
import os

import pytest

pytest_plugins = ["tests.stores", "tests.servers", "tests.two_models"]

gc.set_threshold(50_000)  # as the command and the stages do: imports make many objects, and no garbage
# Tiny networks gain nothing from threads, and lose a lot where several processes share the cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
os.environ["GIT_PYTHON_REFRESH"] = "quiet"

LONG = ("test_experiments.py", "test_chain.py", "test_dag.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, so that no worker ends alone with one."""
    items.sort(key=lambda item: LONG.index(item.path.name) if item.path.name in LONG else len(LONG))
