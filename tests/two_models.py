"""Two models of one split, one clearly better than the other: trained once for all processes of a test run."""

import json
import os
import shutil
from pathlib import Path

import pytest

from mien.tracking.store import URI
from tests.stores import once, with_store


@pytest.fixture(scope="session")
def weak() -> Path:
    """A workspace with a model that is better than chance."""
    from mien.crop.cropping import CropConfig
    from tests.registry.workspace import prepare, train

    def make(root: Path) -> None:
        prepare(root, CropConfig(size=24, colour="grey", workers=1))
        train(root, steps=8)

    return once("weak", make)


@pytest.fixture(scope="session")
def strong(weak: Path) -> Path:
    """The same faces and split, with a much better model."""
    from tests.registry.workspace import train

    def make(root: Path) -> None:
        shutil.copytree(weak, root)
        train(root, steps=40, seed=1)

    return once("strong", make)


@pytest.fixture(scope="session")
def saved(strong: Path) -> Path:
    """The strong model as MLflow serves it."""
    from mien.registry.version import save_version
    from tests.registry.workspace import candidate_of

    return once("saved", lambda folder: save_version(candidate_of(strong), folder, "a card"))


@pytest.fixture(scope="session")
def finished(weak: Path, strong: Path) -> Path:
    """A checkout as the DAG leaves it, where version 2 of mien-tiny took the place of version 1."""
    from mien.registry.gate import RegisterConfig
    from tests.registry.workspace import copied, registered

    def make(root: Path) -> None:
        with_store(root)
        assert registered(weak, RegisterConfig(bootstrap=100))["champion"] == 1
        report = registered(strong, RegisterConfig(bootstrap=100))
        assert report["champion"] == 2
        copied(strong, root)
        (root / "reports/register.json").write_text(json.dumps(report))
        (root / "params.yaml").write_text("data: tiny\n")

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(URI, "")  # and back to what it was
        del os.environ[URI]
        return once("finished", make)


@pytest.fixture
def two_champions(checkout: Path, finished: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of that checkout, entered; the registered models' files are those of the first."""
    from tests.registry.workspace import copied

    copied(finished, checkout)
    shutil.copy(finished / "mlruns/mlflow.db", checkout / "mlruns/mlflow.db")
    shutil.copy(finished / "params.yaml", checkout)
    monkeypatch.chdir(checkout)
    return checkout
