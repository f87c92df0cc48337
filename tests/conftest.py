"""What holds for all tests."""

import os

import pytest

# Tiny networks gain nothing from threads, and lose a lot where several processes share the cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
os.environ["GIT_PYTHON_REFRESH"] = "quiet"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A file's tests share a worker, and so do all that look at the one checkout whose DAG has run.

    The latter take longest and begin, so that no worker waits for them at the end.
    """
    of_dag = {item for item in items if "workspace" in getattr(item, "fixturenames", ())}
    for item in items:
        item.add_marker(pytest.mark.xdist_group("dag" if item in of_dag else item.nodeid.split("::")[0]))
    items.sort(key=lambda item: item not in of_dag)
