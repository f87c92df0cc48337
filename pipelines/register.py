"""Stage register: a version in the MLflow registry, and the gate's decision on it.

python -m pipelines register data=sample register=auto
"""

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mien.base.files import Outs
from mien.base.listener import Listener
from mien.base.state import main_checkout, state_folder
from pipelines.compose import Config

if TYPE_CHECKING:
    import pandas as pd

    from mien.crop.packed import PackedFaces

EXPERIMENT: Final = "DVC_EXP_BASELINE_REV"  # DVC sets it for the stages of `dvc exp run`, in place or in a copy


def run(config: Config, listener: Listener) -> None:
    """Register what the training left, let the gate decide, and write reports/register.json.

    When nothing changed this finds the version and its decision and leaves: torch is not even imported. A registry
    server that gives no answer ends nothing but this: the report says so, and the next `dvc repro` comes here again.
    """
    from mien.registry.candidate import Candidate
    from mien.registry.evidence import Evidence
    from mien.registry.registration import register, unregistered
    from mien.tracking.publish import publish
    from mien.tracking.store import Unreachable, use_store

    root = Path.cwd()
    use_store(root)
    candidate = Candidate(Path("build/train"), Path("build/evaluate/temperature.json"), Path("build/split"))
    evidence = Evidence(Path("reports/predictions.csv"), lambda spec, test: _cut(config, spec, test))
    in_main_checkout = main_checkout(root) == root.resolve()
    try:
        done = register(candidate, evidence, config.register, decides=in_main_checkout and EXPERIMENT not in os.environ)
        report = done.report
        if done.fresh:  # the store may be new, and the stages before came out of DVC's cache
            publish(root)
    except Unreachable as error:
        print(f"mien: {error}", file=sys.stderr)
        report = unregistered(candidate)
    with Outs("register") as outs:
        text = json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        outs.path("reports/register.json").write_text(text, encoding="utf-8")
    print(_summary(report))


def _summary(report: dict[str, Any]) -> str:
    version = "" if report["version"] is None else f" version {report['version']}"
    lines = [f"register: {report['model']}{version}: {report['outcome']}", *report["reasons"]]
    if report["outcome"] == "promoted" and report["champion"] != report["version"]:
        lines.append(f"That was then; champion is version {report['champion']} now: see `mien history`.")
    return "\n  ".join(lines)


def _cut(config: Config, spec: Any, test: "pd.DataFrame") -> "PackedFaces":
    """Test faces as a model's spec asks for them, cut anew from the raw photos where the packed ones differ."""
    from mien.registry.evidence import FaceCutter
    from mien.sources.source import get_source

    def photos() -> Any:
        return get_source(config.data).photos(Path(config.data.path), state_folder() / "unpacked")

    return FaceCutter(Path("build/crop"), Path("build/ingest/faces.parquet"), photos)(spec, test)
