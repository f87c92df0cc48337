"""Generator of docs/evidence/results.md's tables from the tracked runs.

    python -m benchmarks.results [--page docs/evidence/results.md]

Reads the tracking store of the checkout, or the one that MLFLOW_TRACKING_URI names. The rows are those of
benchmarks/reference_systems.yaml; a row's run is the newest finished and evaluated one of its choices. A system without
a run in this store keeps the row that the page has. What stands outside the two markers is a person's and stays.
"""

import argparse
import sys
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.results_tables import Row, tables
from benchmarks.tracked_runs import newest_run
from mien.base.errors import UserError
from mien.base.settings import read_yaml
from mien.tracking.store import connect, database_file, use_store

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

ROOT: Final = Path(__file__).resolve().parents[1]
SYSTEMS: Final = ROOT / "benchmarks" / "reference_systems.yaml"
BEGIN: Final = "<!-- From here to the next marker the page is written by `python -m benchmarks.results`. -->"
END: Final = "<!-- What follows is a person's. -->"


def read_rows(client: "MlflowClient", systems: Path, conf: Path) -> list[Row]:
    """The rows of a file such as reference_systems.yaml, each with its run where there is one."""
    rows = []
    for system, about in read_yaml(systems, systems.name).items():
        preset = conf / "preset" / f"{about['preset']}.yaml"
        choices = {**read_yaml(preset, f"conf/preset/{preset.name}"), **about.get("choices", {})}
        rows.append(Row(system, about, choices, newest_run(client, choices, conf)))
    return rows


def with_tables(page: str, written: str, name: str) -> str:
    """The page with what stands between its markers replaced.

    Raises:
        UserError: the page lacks a marker, or has it twice.
    """
    for marker in (BEGIN, END):
        if page.count(marker) != 1:
            raise UserError(f"{name} must hold the line {marker!r} once, and holds it {page.count(marker)} times.")
    before, after = page.split(BEGIN)[0], page.split(END)[1]
    return f"{before}{BEGIN}\n\n{written}\n{END}{after}"


def with_earlier_rows(written: str, page: str, systems: Collection[str]) -> str:
    """The tables with the page's own rows of these systems, where it has them."""
    earlier = {key: line for key, line in _by_row(page) if key[1] in systems}
    return "\n".join(earlier.get(key, line) for key, line in _by_row(written))


def _by_row(page: str) -> Iterator[tuple[tuple[str, str], str]]:
    """Each line of a page with the heading above it and, where it is a table's row, its first cell."""
    heading = ""
    for line in page.split("\n"):
        heading = line if line.startswith("#") else heading
        yield (heading, line.split("|")[1].strip() if line.startswith("| ") else ""), line


def main(argv: list[str] | None = None) -> None:
    """Write the page and say which rows have a run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "evidence" / "results.md")
    page = parser.parse_args(argv).page
    uri = use_store(Path.cwd())
    file = database_file(uri)
    if file is not None and not file.exists():
        raise UserError(
            f"there is no tracking store {file}; `dvc repro` makes it, or MLFLOW_TRACKING_URI names another."
        )
    rows = read_rows(connect(uri), SYSTEMS, ROOT / "conf")
    before = page.read_text(encoding="utf-8")
    written = with_earlier_rows(tables(rows, ROOT / "conf"), before, {row.system for row in rows if not row.run})
    page.write_text(with_tables(before, written, page.name), encoding="utf-8")
    for row in rows:
        print(f"{row.system}: {row.run.name + ' ' + row.run.run_id[:8] if row.run else 'no run'}")


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"mien: {error}")
