"""What the gate judges by: the candidate's answers, fresh crops for a champion, how often the test set has decided."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mien.registry import gate
from mien.registry.tags import DECISION

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

    from mien.registry.champion import Cutter


@dataclass(frozen=True)
class Evidence:
    """Where the candidate's answers are, and how test faces are cut for a champion."""

    predictions: Path
    cut: "Cutter"


def decisions_on(client: "MlflowClient", name: str, split_digest: str) -> int:
    """How often a test set has decided about a version of this model."""
    versions = client.search_model_versions(f"name = '{name}'")
    stored = [json.loads(v) for m in versions for k, v in m.tags.items() if k.startswith(DECISION)]
    return sum(
        d["outcome"] in (gate.PROMOTED, gate.CHALLENGER) and d["numbers"].get("split_digest") == split_digest
        for d in stored
    )
