"""What `conf/data/*.yaml` may say."""

import json
import re
from dataclasses import dataclass, field
from typing import Any


@dataclass
class DataConfig:
    """One raw data set: its name, who reads it, where it lies, and what it is to be called by people."""

    name: str  # names the registered model: mien-NAME
    source: str  # a module of mien.sources, as `mien data` lists them
    path: str  # folder, from the repository root
    title: str = field(default="", metadata={"optional": True})
    # Not photographs: a model that learnt from it says so when it meets one.
    drawn: bool = field(default=False, metadata={"optional": True})
    # Fields of the source's class.
    options: dict[str, Any] = field(default_factory=dict, metadata={"optional": True})

    def __post_init__(self) -> None:
        """Refuse a name that cannot be part of a registered model's name and of a folder's."""
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", self.name, re.ASCII):
            raise ValueError(f"name must be letters, digits, '_', '-' and '.', as in mien-NAME, not {self.name!r}")
        self.options = json.loads(json.dumps(self.options))  # YAML's keys may be numbers, JSON's and the sources' not
