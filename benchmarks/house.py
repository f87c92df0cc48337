"""Code structure metrics of several code bases: `python -m benchmarks.house [NAME=FOLDER ...]`.

For mien's own rooms, and for any other Python code that is named: files, lines, the sizes of files and functions, and
how many files have one public name or one user. docs/concepts/architecture.md holds the table.
"""

import ast
import sys
from collections import Counter
from pathlib import Path
from typing import Final

import numpy as np

ROOT: Final = Path(__file__).resolve().parent.parent
OWN: Final = ("src/mien", "pipelines", "tools", "tests", "benchmarks")
HEAD: Final = ("part", "files", "lines", "file median/p90/max", "function median/p90/max", "one public name", "twice")


def python_files(folder: Path) -> list[Path]:
    """Files with something in them; an empty `__init__.py` is no room."""
    return [f for f in sorted(folder.rglob("*.py")) if f.stat().st_size and "__pycache__" not in f.parts]


def sizes(values: list[int]) -> str:
    """Median, 90th percentile and maximum."""
    return "/".join(f"{v:.0f}" for v in (np.median(values), np.percentile(values, 90), max(values))) if values else "-"


def functions(tree: ast.Module) -> list[int]:
    """Lines of every function, methods included, without decorators."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return [(n.end_lineno or n.lineno) - n.lineno + 1 for n in ast.walk(tree) if isinstance(n, kinds)]


def public_names(tree: ast.Module) -> int:
    """Public functions and classes at the top of a module."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return sum(isinstance(n, kinds) and not n.name.startswith("_") for n in tree.body)


def measure(name: str, files: list[Path]) -> tuple[str, ...]:
    """One row of the table."""
    texts = [f.read_text(encoding="utf-8") for f in files]
    trees = [ast.parse(text) for text in texts]
    lines = [text.count("\n") for text in texts]
    names = Counter(f.name for f in files if f.name != "__init__.py")
    return (
        name,
        f"{len(files)}",
        f"{sum(lines):,}",
        sizes(lines),
        sizes([n for tree in trees for n in functions(tree)]),
        f"{sum(public_names(tree) == 1 for tree in trees)}",
        f"{sum(count > 1 for count in names.values())}",
    )


def main(others: list[str]) -> None:
    """Print the table as Markdown: mien's parts, its rooms, and the folders that were named."""
    rows = [measure(part, python_files(ROOT / part)) for part in OWN]
    rooms = sorted(f for f in (ROOT / "src/mien").iterdir() if f.is_dir() and python_files(f))
    rows += [measure(f"src/mien/{room.name}", python_files(room)) for room in rooms]
    without_app = [f for f in python_files(ROOT / "src/mien") if "app" not in f.relative_to(ROOT / "src/mien").parts]
    rows.append(measure("src/mien without app", without_app))
    for other in others:
        name, _, folder = other.partition("=")
        rows.append(measure(name, python_files(Path(folder))))
    for row in (HEAD, ("---", *["--:"] * (len(HEAD) - 1)), *rows):
        print(f"| {' | '.join(row)} |")


if __name__ == "__main__":
    main(sys.argv[1:])
