"""Registration stage: a version in the MLflow registry, and the gate's decision on it.

python -m pipelines register data=sample register=auto
"""

import json
import os
import sys
from pathlib import Path
from typing import Final

from mien.base.files import Outs
from mien.base.listener import Listener
from mien.base.state import main_checkout
from mien.registry.registration import origin, register, unregistered
from mien.registry.version import Candidate
from mien.reporting.pages import write_index
from mien.tracking.publish import publish
from mien.tracking.store import Unreachable, use_store
from pipelines.compose import Config

EXPERIMENT: Final = "DVC_EXP_BASELINE_REV"  # DVC sets it for the stages of `dvc exp run`, in place or in a copy


def run(config: Config, listener: Listener) -> None:
    """Register what train left, let the gate decide, publish what is missing; write register.json and index.html.

    When nothing changed, this costs the import of MLflow and a few queries. A registry server that gives no answer
    ends nothing: the report says so, and the next `dvc repro` comes here again.
    """
    root = Path.cwd()
    use_store(root)
    candidate = Candidate(Path(), config.data)
    decides = main_checkout(root) == root.resolve() and EXPERIMENT not in os.environ
    try:
        report = register(candidate, config.register, decides=decides)
        known = origin(report, root)
    except Unreachable as error:
        print(f"mien: {error}", file=sys.stderr)
        report, known = unregistered(candidate), {}
    write_index(root / "reports", report, known)
    if report["version"] is not None:
        publish(root)  # the store may be new, or have been away during the stages before
    with Outs("register") as outs:
        text = json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        outs.path("reports/register.json").write_text(text, encoding="utf-8")
    version = "" if report["version"] is None else f" version {report['version']}"
    print("\n  ".join([f"register: {report['model']}{version}: {report['outcome']}", *report["reasons"]]))
