"""What holds for all tests."""

import gc
import os

pytest_plugins = ["tests.stores", "tests.servers", "tests.two_models"]

gc.set_threshold(50_000)  # as the command and the stages do: imports make many objects, and no garbage
# Tiny networks gain nothing from threads, and lose a lot where several processes share the cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
os.environ["GIT_PYTHON_REFRESH"] = "quiet"
