"""What dvc.yaml says of compositions and imports, and what docs/concepts/architecture.md says goes stale."""

import ast
import csv
import re
import shutil
from functools import cache
from pathlib import Path

import pytest
import yaml

from mien.base.settings import GROUPS
from pipelines.compose import STAGE_GROUPS
from tests.pipelines.workspace import Workspace

ROOT = Path(__file__).resolve().parents[2]
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
DECIDING = {"base", "runtime", "sources", "crop", "split", "models", "training", "search", "evaluation"}
NUMBERS = tuple(STAGE_GROUPS)[: tuple(STAGE_GROUPS).index("report")]
FACE = ROOT / "src/mien/__init__.py"  # imports mien.Predictor when somebody asks for it
SOURCES = ROOT / "src/mien/sources/source.py"  # imports every module beside it by name
# Read by what is shown alone; what decides a number never sees them.
SHOWN = {"title", "drawn"}
DATA_KEYS = {
    "ingest": {"name", "source", "path", "options", "person", "slices"},
    "crop": {"name", "source", "path", "options"},
    "tune": {"name"},
    "train": {"name"},
    "evaluate": {"slices"},
    "report": {"name", "title", "drawn"},
    "register": {"name", "source", "path", "options", "title", "drawn", "slices"},
}


def source_of(module: str) -> Path | None:
    """The file of a first-party module, None for others."""
    if module.split(".")[0] not in ("mien", "pipelines"):
        return None
    base = ROOT / ("src" if module.split(".")[0] == "mien" else ".") / module.replace(".", "/")
    return next((f for f in (base.with_suffix(".py"), base / "__init__.py") if f.exists()), None)


@cache
def imported_by(file: Path) -> frozenset[Path]:
    """First-party files that a file imports, anywhere in it; the package's own face only what it imports at once."""
    tree = ast.parse(file.read_text())
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    found: set[Path] = set()
    for node in tree.body if file == FACE else ast.walk(tree):
        if id(node) in typing_only:
            continue
        names: list[str] = []
        if isinstance(node, ast.ImportFrom) and node.module:
            beside = file.relative_to(ROOT / "src").parts[: -node.level] if node.level else ()
            module = ".".join([*beside, node.module])
            names = [module, *(f"{module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        names += [name.rpartition(".")[0] for name in names]  # a package's __init__ runs before its modules
        found |= {source for name in names if (source := source_of(name))}
    return frozenset(found)


@cache
def reached(stage: str) -> frozenset[str]:
    """Every first-party file that a stage's code can reach, as paths from the root."""
    # A name or a title is what the file says, whatever else `sources` makes of the file.
    groups = [g for g in STAGE_GROUPS[stage] if g != "data" or "source" in DATA_KEYS[stage]]
    schemas = {source for g in groups if (source := source_of(GROUPS[g][0]))}
    waiting, seen = {ROOT / f"pipelines/{stage}.py", *schemas}, set[Path]()
    while waiting:
        file = waiting.pop()
        seen.add(file)
        waiting |= imported_by(file) - seen
        if file == SOURCES:
            waiting |= set(SOURCES.parent.glob("*.py")) - seen
    return frozenset(f.relative_to(ROOT).as_posix() for f in seen if f.read_text().strip())


def code(stage: str) -> list[str]:
    """The code that a stage declares as its dependencies."""
    return [d for d in STAGES[stage].get("deps", []) if d.startswith(("src/", "pipelines/"))]


def covers(declared: str, file: str) -> bool:
    return file == declared or file.startswith(f"{declared}/")


def stale_after(file: str) -> set[str]:
    """The stages that an edit of a file makes stale by itself."""
    return {stage for stage in STAGES if any(covers(d, file) for d in code(stage))}


@pytest.mark.parametrize("stage", [*NUMBERS, "report"])
def test_a_stage_declares_all_that_it_imports_and_nothing_else(stage: str) -> None:
    files = reached(stage) - {"src/mien/__init__.py", "pipelines/__init__.py"}
    assert {f for f in files if not any(covers(d, f) for d in code(stage))} == set(), f"{stage}: deps lack these"
    assert [d for d in code(stage) if not any(covers(d, f) for f in files)] == [], f"{stage}: not imported"
    assert len(code(stage)) <= 10


@pytest.mark.parametrize("stage", NUMBERS)
def test_what_decides_a_number_never_reaches_what_shows_it(stage: str) -> None:
    rooms = {f.split("/")[2] for f in reached(stage) if f.startswith("src/mien/") and f.count("/") > 2}
    assert rooms <= DECIDING


def test_register_looks_at_the_registry_each_time_and_depends_on_no_code() -> None:
    assert STAGES["register"]["always_changed"] is True
    assert code("register") == []


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_composes_what_it_declares(stage: str) -> None:
    declared = {name: keys for entry in STAGES[stage]["params"] for name, keys in entry.items()}
    versions = declared.pop("versions.yaml", None)
    assert list(declared) == [f"conf/{g}/${{{g}}}.yaml" for g in STAGE_GROUPS[stage]]
    assert STAGES[stage]["cmd"].split()[3:] == [stage, *(f"{g}=${{{g}}}" for g in STAGE_GROUPS[stage])]
    assert set(declared.get("conf/data/${data}.yaml", ())) == DATA_KEYS.get(stage, set())
    known = yaml.safe_load((ROOT / "versions.yaml").read_text())
    assert versions is None if stage in ("report", "register") else set(versions or ()) <= set(known)


@pytest.mark.parametrize("file", sorted((ROOT / "conf/data").glob("*.yaml")), ids=lambda file: file.stem)
def test_every_data_file_writes_all_listed_keys(file: Path) -> None:
    """DVC refuses a key that is listed and not there."""
    assert set.union(*DATA_KEYS.values()) <= set(yaml.safe_load(file.read_text()))


@pytest.mark.parametrize("stage", ["tune", "train"])
def test_the_test_part_stays_closed_until_evaluate(stage: str) -> None:
    opened = [d for d in STAGES[stage]["deps"] if d.startswith("build/split")]
    assert sorted(opened) == ["build/split/split.json", "build/split/train.parquet", "build/split/val.parquet"]


def staleness_table() -> dict[str, set[str]]:
    """The table of docs/concepts/architecture.md: a place, and the stages that an edit there makes stale by itself."""
    section = (ROOT / "docs/concepts/architecture.md").read_text().split("## What goes stale")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `([^`]+)`[^|]*\| ([^|]+) \|", section, re.MULTILINE)
    return {place: set(re.findall(r"\w+", stages)) - {"none"} for place, stages in rows}


def test_the_table_of_what_goes_stale_is_right_for_every_module() -> None:
    table = staleness_table()
    modules = [*ROOT.glob("src/mien/**/*.py"), *ROOT.glob("pipelines/*.py"), *ROOT.glob("tools/**/*.py")]
    wrong = {}
    for module in modules:
        file = module.relative_to(ROOT).as_posix()
        place = max((p for p in table if covers(p.rstrip("/"), file)), key=len, default=None)
        if place is None or table[place] != stale_after(file):
            wrong[file] = (table.get(place or ""), stale_after(file))
    assert not wrong


@pytest.mark.parametrize("key", sorted(set.union(*DATA_KEYS.values())))
def test_the_table_says_what_a_key_of_a_data_set_makes_stale(key: str) -> None:
    stale = {stage for stage, keys in DATA_KEYS.items() if key in keys and stage != "register"}
    assert staleness_table()[f"conf/data: {key}"] == stale
    assert not (key in SHOWN and stale & set(NUMBERS))


def test_what_is_not_cached_is_a_metric_or_the_stage_would_get_no_run_cache() -> None:
    assert not [out for stage in STAGES.values() for out in stage.get("outs", []) if isinstance(out, dict)]


def test_experiments_are_shown_and_sorted_by_validation_scores(tmp_path: Path) -> None:
    """As `dvc exp show` of the committed files really prints them."""
    here = Workspace(tmp_path)
    for name in ("dvc.yaml", "dvc.lock", "params.yaml", "versions.yaml"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    shutil.copytree(
        ROOT / "reports", tmp_path / "reports", ignore=lambda _, names: {n for n in names if n[-5:] != ".json"}
    )
    here.run("git", "init", "-q")
    here.run("dvc", "init", "-q")
    here.commit("reports")
    (columns, *_) = csv.reader(here.run("dvc", "exp", "show", "--csv").stdout.splitlines())
    scores = [name for name in columns if re.search("accuracy|macro_f1", name)]
    assert scores[:2] == ["val_accuracy", "val_macro_f1"] and "accuracy.value" in scores
    metrics = {str(entry) for stage in STAGES.values() for metric in stage.get("metrics", []) for entry in metric}
    assert set(yaml.safe_load((ROOT / "dvc.yaml").read_text())["metrics"]) == metrics
    (keys,) = re.findall(r"--sort-by (\S+)", (ROOT / "docs/howto/experiments.md").read_text())
    assert keys == "val_accuracy"
