"""The commands `preset`, `data`, `models` and `detector`: the choices in conf/."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from mien.base.classes import N_EXPRESSIONS
from mien.base.errors import UserError, WrongSettings
from mien.base.files import replacing
from mien.base.settings import near_name, read_settings, read_usage, read_yaml
from mien.cli.check import mistakes
from mien.cli.workspace import DETECTORS, JsonOption, completed, conf_files, console, table
from mien.inference.default_model import PARAMS, choices, find_root
from mien.models.description import FACES, ModelConfig
from mien.runtime.spec import CutSpec

FACE_SIZE: Final = 48  # pixels, of the faces for which a network that takes any size is counted
PresetArgument = completed(typer.Argument, group="preset", help="A preset; omit it to list all presets.")


def preset(name: Annotated[str | None, PresetArgument] = None, as_json: JsonOption = False) -> None:
    """List the presets, or write one into params.yaml."""
    root = find_root()
    presets = {file.stem: file for file in conf_files(root, "preset")}
    if name is not None:
        if name not in presets:
            near = near_name(name, presets)
            raise UserError(f"there is no preset {name!r}{near}; the presets are {', '.join(presets)}.")
        if found := mistakes(presets[name], root / "conf"):
            raise WrongSettings(found)
        before = choices(root)
        changed = {group: choice for group, choice in read_yaml(presets[name]).items() if before.get(group) != choice}
        write_choices(root / PARAMS, changed)
        typer.echo(f"{PARAMS} now holds the choices of {name}:")
        for group, choice in changed.items():
            typer.echo(f"  {group:<10}{before.get(group, '(none)')} → {choice}")
        typer.echo("Run `dvc repro` next.")
        return
    rows, chosen = [], choices(root)
    for known, file in presets.items():
        comments = (line for line in file.read_text(encoding="utf-8").splitlines() if line.startswith("#"))
        rows.append((read_yaml(file).items() <= chosen.items(), known, next(comments, "").lstrip("# ").strip()))
    note = f"`mien preset NAME` writes its choices into {PARAMS};"
    _print_choices(("preset", "description"), rows, note, as_json)


def _print_choices(columns: Sequence[str], rows: Iterable[tuple[Any, ...]], note: str, as_json: bool) -> None:
    """Print a table in which a star marks the rows that are chosen, and a note below; or the rows as JSON."""
    if as_json:
        names = ("chosen", *(column.strip() for column in columns))
        typer.echo(json.dumps([dict(zip(names, row, strict=True)) for row in rows], indent=2, ensure_ascii=False))
        return
    from rich.table import Column

    name, *others = columns
    choices = table("", Column(name, style="bold", no_wrap=True), *others, padding=(0, 1, 0, 0))
    for chosen, *cells in rows:
        choices.add_row("*" if chosen else "", *cells)
    console().print(choices)
    console().print(f"{note} [bold]*[/bold] marks the current choice.")


def write_choices(file: Path, changed: dict[str, Any]) -> None:
    """Write keys into params.yaml, or a file of conf/, whose comments, order and other keys stay."""
    from ruamel.yaml import YAML

    yaml = YAML()  # it keeps comments and order
    content = yaml.load(file.read_text(encoding="utf-8")) if file.is_file() and read_yaml(file) else {}
    content.update(changed)
    with replacing(file) as part:
        yaml.dump(content, part)


def data(context: typer.Context, as_json: JsonOption = False) -> None:
    """List the data sets of conf/data, whether their files are present, and the sources that read them."""
    if context.invoked_subcommand:
        return
    from mien.sources.source import source_class, source_names

    root = find_root()
    chosen = choices(root).get("data")
    rows = []
    for file in conf_files(root, "data"):
        about = read_yaml(file)
        title, source, folder = (str(about.get(key, "")) for key in ("title", "source", "path"))
        present = bool(folder) and (root / folder).is_dir() and any((root / folder).iterdir())
        rows.append((file.stem == chosen, file.stem, source, title, "yes" if present else "no"))
    new = "`mien data add PATH` adds one;"
    columns = ("data set", "source", "description", "in data/")
    _print_choices(columns, rows, f"`data: NAME` in {PARAMS} chooses a data set. {new}", as_json)
    if as_json:
        return
    sources = table("source", "expected files", "options")
    for name in source_names():
        kind = source_class(name)
        sources.add_row(f"[bold]{name}[/]", kind.expects, "\n".join(field.name for field in fields(kind)))
    console().print(sources)


def models(as_json: JsonOption = False) -> None:
    """List the models of conf/model with their input, trainable parameters and cost per face."""
    root = find_root()
    chosen = choices(root).get("model")
    rows = []
    for file in conf_files(root, "model"):
        try:
            config: ModelConfig = read_settings(root / "conf", "model", file.stem)
        except UserError as error:  # one file that is wrong hides no other
            rows.append((file.stem == chosen, file.stem, str(error), "", "", ""))
            continue
        network = f"timm: {config.backbone}" if config.backbone else config.name
        rows.append((file.stem == chosen, file.stem, network, *_faces_and_cost(config)))
    note = (
        f"`model: NAME` in {PARAMS} chooses a model. Parameters are trainable ones, for seven classes. "
        f"Multiply-adds are per face, at {FACE_SIZE} px grey if the network takes any size;"
    )
    _print_choices(("model", "network", "faces", "parameters", " mult-adds"), rows, note, as_json)


def _faces_and_cost(config: ModelConfig) -> tuple[str, str, str]:
    """The faces that a network takes, its trainable parameters, and multiply-adds in millions."""
    from mien.models.networks import build_model, multiply_adds, trainable_parameters

    wanted = FACES[config.name]
    cut = CutSpec(wanted.size or FACE_SIZE, wanted.colour or "grey")
    faces = f"any, at {config.input_size} px" if config.input_size else "any"
    if wanted.size:
        faces = f"{wanted.size} px, {wanted.colour}"
    try:
        network = build_model(config, cut, N_EXPRESSIONS)
    except UserError as error:  # timm is not installed, or has no such backbone
        return faces, str(error).split(":")[0].rstrip("."), ""
    cost = multiply_adds(network, cut) / 1e6
    return faces, f"{trainable_parameters(network):10,}", f"{cost:8.1f} M"


def detector(as_json: JsonOption = False) -> None:
    """List the face detectors and mark the one that conf/predict.yaml chooses."""
    chosen = read_usage(find_root(), "predict")
    files = {chosen.detector: chosen.detector_file}
    rows = [
        (name in files, name, kind, files.get(name) or f"comes with {origin}")
        for name, (kind, origin) in DETECTORS.items()
    ]
    note = "`detector: NAME` in conf/predict.yaml chooses a detector, `--detector NAME` overrides it;"
    _print_choices(("detector", "description", "file"), rows, note, as_json)
