"""Library versions: those pinned in `versions.yaml` and those installed."""

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from mien.base.settings import read_yaml

VERSIONS: Final = "versions.yaml"


def other_versions(root: Path) -> list[str]:
    """A sentence for each library that is installed in another version than versions.yaml of a checkout says.

    Builds of one version, such as 2.13.0+cpu, are equal. A folder without versions.yaml has no differences.

    Raises:
        UserError: versions.yaml cannot be read.
    """
    if not (root / VERSIONS).is_file():
        return []
    sentences = []
    for library, wanted in read_yaml(root / VERSIONS, VERSIONS).items():
        try:
            installed = version(library)
        except PackageNotFoundError:
            sentences.append(f"{library} is not installed, and {VERSIONS} says {wanted}.")
            continue
        if installed.partition("+")[0] != wanted:
            sentences.append(f"{library} {installed} is installed, and {VERSIONS} says {wanted}.")
    return sentences
