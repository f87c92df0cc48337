"""Reference pages from the code: commands and options, configuration keys, Python functions, the API of the page.

Run `python -m tools.reference`: it writes docs/reference/options.md, keys.md, functions.md and api.md.
"""

import dataclasses
import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_args, get_origin, get_type_hints

import typer

import mien
from mien.app.answers import Answerer
from mien.app.clips import Clips
from mien.app.limits import AppConfig
from mien.app.server import api_reference, build_app
from mien.base.settings import GROUPS, USAGE, group_class
from mien.cli.main import app
from mien.inference.address import CurrentModel
from mien.sources.detect import PredictConfig, build_detector

FOLDER: Final = Path(__file__).parents[1] / "docs/reference"
KINDS: Final = {int: "integer", float: "number", str: "text", bool: "true or false"}
LIMITS: Final = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
HEAD: Final = "# All {}\n\nWritten by `python -m tools.reference`; {}."


def row(*cells: str) -> str:
    """A row of a Markdown table."""
    return f"| {' | '.join(' '.join(cell.split()).replace('|', '&#124;').replace('<', '&lt;') for cell in cells)} |"


def options(name: str, command: Any) -> Iterator[str]:
    """The section of a command, and those of the commands below it."""
    yield (
        f"\n## {name}\n\n{command.help}\n"
        if " " in name
        else HEAD.format("commands and options", "[The mien command](cli.md) has examples")
    )
    records = [option.get_help_record(typer.Context(command, info_name=name)) for option in command.params]
    rows = [row(re.sub(" <.*", "", record[0]), record[1]) for record in records if record]
    yield from ["| argument or option | meaning |\n|---|---|", *rows] if rows and " " in name else []
    for word, below in getattr(command, "commands", {}).items():
        yield from options(f"{name} {word}", below)


def kind(hint: Any) -> str:
    """The type of a key in words, with its limits."""
    inner = get_args(hint)
    if get_origin(hint) is Annotated:
        limits = [f"{sign} {getattr(m, k)}" for m in inner[1:] for k, sign in LIMITS.items() if hasattr(m, k)]
        return " ".join([kind(inner[0]), *limits])
    if get_origin(hint) is Literal:
        return ", ".join(map(str, inner))
    return KINDS.get(hint) or ("list" if get_origin(hint) in (list, tuple) else "mapping")


def keys(group: str, settings: Any) -> Iterator[str]:
    """The section of a group of settings; a key's meaning is the comment beside or above it."""
    yield f"\n## {group}\n\n{settings.__doc__}\n\n| key | type | default | meaning |\n|---|---|---|---|"
    fields, hints = settings.__dataclass_fields__, get_type_hints(settings, include_extras=True)
    comments, above = re.compile(r" {4}# .*(\n {4}# .*)*"), ""
    for line in comments.sub(lambda found: found[0].replace("\n    # ", " "), inspect.getsource(settings)).splitlines():
        key = re.match(r" {4}(\w+): .*?(?:  # (.*))?$", line)
        above = line[6:] if line.startswith("    # ") else above * bool(key and not key[2])
        if key and (field := fields.get(key[1])):
            stated = group not in USAGE and not field.metadata.get("optional")
            value = field.default if stated or field.default is not dataclasses.MISSING else field.default_factory()
            default = "stated in each file" if stated else json.dumps(value)
            yield row(f"`{key[1]}`", kind(hints[key[1]]), default, key[2] or above)


def functions(name: str) -> Iterator[str]:
    """The section of a public name, and those of its methods."""
    home = getattr(mien, name)
    methods = [m for m in vars(home) if not m.startswith("_") and inspect.isroutine(getattr(home, m))]
    for title, one in [(name, home), *((f"{name}.{m}", getattr(home, m)) for m in methods if inspect.isclass(home))]:
        yield f"\n## mien.{title}\n\n```text\n{title}{inspect.signature(one)}\n\n{inspect.getdoc(one)}\n```"


def pages() -> dict[str, str]:
    """Each page by its name."""
    photos = PredictConfig()
    answerer = Answerer(CurrentModel("packaged"), build_detector(photos), photos, AppConfig())
    groups = [line for group in GROUPS | USAGE for line in keys(group, group_class(group))]
    names = [line for name in sorted(mien._HOME) if name != "UserError" for line in functions(name)]
    written = {
        "options.md": [*options("mien", typer.main.get_command(app))],
        "keys.md": [HEAD.format("configuration keys", "[Configuration](configuration.md) has the rules"), *groups],
        "functions.md": [HEAD.format("Python functions", "[mien from Python](python.md) has examples"), *names],
        "api.md": [api_reference(build_app(answerer, Clips(answerer, FOLDER)))],
    }
    return {page: "\n".join(lines).rstrip() + "\n" for page, lines in written.items()}


if __name__ == "__main__":
    for page, text in pages().items():
        (FOLDER / page).write_text(text, encoding="utf-8")
