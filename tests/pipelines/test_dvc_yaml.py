"""dvc.yaml tells the truth: each stage declares every config file it composes and every module it imports."""

import ast
from pathlib import Path

import pytest
import yaml

from mien.base.settings import GROUPS
from pipelines.compose import STAGE_GROUPS

ROOT = Path(__file__).resolve().parents[2]
CATALOGUE = ROOT / "src/mien/sources/catalogue.py"
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]


def source_of(module: str) -> Path | None:
    """The file of a first-party module, None for others."""
    base = ROOT / ("src" if module.split(".")[0] == "mien" else ".") / module.replace(".", "/")
    if module.split(".")[0] not in ("mien", "pipelines"):
        return None
    return next((f for f in (base.with_suffix(".py"), base / "__init__.py") if f.exists()), None)


def imported_by(file: Path) -> set[Path]:
    """First-party files that a file imports, anywhere in it, but for what only type checkers read."""
    found: set[Path] = set()
    tree = ast.parse(file.read_text())
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        names: list[str] = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        names += [name.rpartition(".")[0] for name in names]  # a package's __init__ runs before its modules
        found |= {source for name in names if (source := source_of(name))}
    return found


def reached(stage: str) -> set[str]:
    """Every first-party file that a stage's code can reach, as paths from the root."""
    schemas = {source for g in STAGE_GROUPS[stage] if (source := source_of(GROUPS[g][0]))}
    waiting, seen = {ROOT / f"pipelines/{stage}.py", *schemas}, set()
    while waiting:
        file = waiting.pop()
        seen.add(file)
        waiting |= imported_by(file) - seen
        if file == CATALOGUE:  # imports every module beside it by name
            waiting |= set(CATALOGUE.parent.glob("*.py")) - seen
    return {f.relative_to(ROOT).as_posix() for f in seen if f.read_text().strip()}


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_declares_all_that_it_imports(stage: str) -> None:
    declared = STAGES[stage]["deps"]
    missing = {f for f in reached(stage) if not any(f == d or f.startswith(f"{d}/") for d in declared)}
    assert missing <= {"src/mien/__init__.py"}, f"{stage}: deps lack {sorted(missing)}"


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_declares_nothing_that_it_does_not_import(stage: str) -> None:
    files = reached(stage)
    code = [d for d in STAGES[stage]["deps"] if d.startswith(("src/", "pipelines/"))]
    unused = [d for d in code if not any(f == d or f.startswith(f"{d}/") for f in files)]
    assert not unused, f"{stage}: deps {unused} are not imported"


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_composes_what_it_declares(stage: str) -> None:
    files = [next(iter(entry)) for entry in STAGES[stage]["params"]]
    assert files == [f"conf/{g}/${{{g}}}.yaml" for g in STAGE_GROUPS[stage]]
    passed = STAGES[stage]["cmd"].split()[3:]
    assert passed == [f"{g}=${{{g}}}" for g in STAGE_GROUPS[stage]]


@pytest.mark.parametrize("stage", ["tune", "train"])
def test_the_test_part_stays_closed_until_evaluate(stage: str) -> None:
    opened = [d for d in STAGES[stage]["deps"] if d.startswith("build/split")]
    assert sorted(opened) == ["build/split/split.json", "build/split/train.parquet", "build/split/val.parquet"]
