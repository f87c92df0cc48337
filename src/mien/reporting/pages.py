"""HTML pages and Markdown notes from templates, and the formatting of numbers and pictures."""

import json
import math
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from mien.base.errors import UserError
from mien.base.files import read_out, replacing, rerun
from mien.evaluation.intervals import Interval
from mien.reporting.images import data_uri

HEAD: Final = "<!-- head -->"  # where the registration's head goes; in text from the data "<" is escaped


def page(template: str, **values: Any) -> str:
    """A page of `templates/`, filled in; a value that the template needs and lacks is an error."""
    return _environment().get_template(template).render(values)


def write_index(reports: Path, decision: Mapping[str, Any], origin: Mapping[str, str]) -> None:
    """Write index.html beside report.html: the same, headed by version and decision, run, commit and date."""
    body = read_out(reports / "report.html", lambda file: file.read_text(encoding="utf-8"), rerun("report"))
    if HEAD not in body:
        raise UserError(f"{reports / 'report.html'} is not a whole report of this mien; {rerun('report')}.")
    with replacing(reports / "index.html") as partial:
        partial.write_text(body.replace(HEAD, page("head.html", decision=decision, origin=origin), 1), encoding="utf-8")


def note(file: Path, macro: str, *values: Any) -> str:
    """What a macro in a file of Markdown templates makes of its values; nothing is escaped."""
    templates = _environment().overlay(loader=FileSystemLoader(file.parent), autoescape=False)
    text: str = getattr(templates.get_template(file.name).module, macro)(*values)
    return text.strip()


@cache
def _environment() -> Environment:
    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters |= {"percent": percent, "interval": Interval.from_json, "number": number, "plain": plain}
    return templates


def plain(value: Any) -> str:
    """A setting as JSON, its numbers rounded to four digits; text as it is."""
    if isinstance(value, str):
        return value
    return json.dumps(
        json.loads(json.dumps(value), parse_float=lambda text: float(f"{float(text):.4g}")), ensure_ascii=False
    )


def percent(value: float, digits: int = 1) -> str:
    """0.5803 as "58.0 %"; a dash where there is no value."""
    return f"{100 * value:.{digits}f}\N{NO-BREAK SPACE}%" if math.isfinite(value) else "–"


def number(value: float, form: str = ".3f") -> str:
    """Rounded; a dash where there is no value."""
    return f"{value:{form}}" if math.isfinite(value) else "–"


def picture(light: bytes, dark: bytes, alt: str) -> Markup:
    """A figure (PNG) that follows the page's colour scheme; printed it is the light one."""
    return Markup(
        '<picture><source media="screen and (prefers-color-scheme: dark)" srcset="{}"><img src="{}" alt="{}"></picture>'
    ).format(data_uri(dark), data_uri(light), alt)
