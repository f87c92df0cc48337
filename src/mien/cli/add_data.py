"""The commands `mien data add` and `mien train`: a folder of labelled photos becomes a data set, and a model."""

import json
import re
import shutil
import statistics
import subprocess
import sys
from contextlib import chdir
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from mien.base.errors import UserError, printable
from mien.base.files import replacing
from mien.base.settings import near_name, read_yaml
from mien.cli.choices import write_choices
from mien.cli.output import counted, quiet_libraries
from mien.inference.default_model import find_root

if TYPE_CHECKING:
    from mien.sources.faces import Ingested
    from mien.sources.source import DataConfig

LOOKED_AT: Final = 40  # photos in which faces are looked for, to tell photographs from cut faces
FILLS: Final = 0.5  # share of a photo that a cut face's box fills at least
TOLD: Final = 5  # problems
SMALL: Final = "small"  # the preset for ...
FEW: Final = 500  # ... fewer faces than these


def add(
    path: Annotated[
        Path, typer.Argument(metavar="PATH", help="A folder of labelled photos, in a format of `mien data`.")
    ],
    name: Annotated[str | None, typer.Option(metavar="NAME", help="Default: the folder's name.")] = None,
    maps: Annotated[
        list[str] | None,
        typer.Option("--map", metavar="FOLDER=CLASS", help="Names the class of a folder; FOLDER= leaves one out."),
    ] = None,
    move: Annotated[bool, typer.Option("--move", help="Move the files instead of copying them.")] = False,
) -> None:
    """Add a folder of labelled photos: look at it, copy it into data/, describe it in conf/data/, choose and track it.

    Nothing is overwritten. The next step is `mien train`.
    """
    root, folder = find_root(), path.resolve()
    if not (root / "conf" / "data").is_dir():
        raise UserError(f"there is no conf/data in {root}; change to a checkout of mien.")
    if not folder.is_dir():
        raise UserError(f"{path}: there is no such folder.")
    chosen = name or re.sub(r"[^a-z0-9_.-]+", "-", folder.name.lower()).strip("-.") or "photos"
    target, file = root / "data" / chosen, root / "conf" / "data" / f"{chosen}.yaml"
    for taken in (target, file):
        if taken.exists() and taken != folder:
            raise UserError(f"{taken.relative_to(root)} is there already; choose another --name, or `data: {chosen}`.")
    if folder in target.parents:
        raise UserError(f"{path} contains this checkout's data/; name the folder of photos itself.")
    with quiet_libraries(), chdir(root):  # what is found in photos is kept in the checkout, for `ingest`
        config, found = understand(folder, chosen, mapped(maps or []))
    for line in described(config, found, folder):
        typer.echo(line)
    if target != folder:
        bring(folder, target, move=move)
    with replacing(file) as part:
        part.write_text(described_as_yaml(config, folder), encoding="utf-8")
    small = root / "conf" / "preset" / f"{SMALL}.yaml"
    few = len(found.faces) < FEW and small.is_file()
    write_choices(root, {**(read_yaml(small) if few else {}), "data": chosen})
    typer.echo(f"data/{chosen} and conf/data/{chosen}.yaml are written, and params.yaml chooses them.")
    if few:
        typer.echo(
            f"So few faces teach no network from scratch: the preset {SMALL} goes on with the model in the package."
        )
    typer.echo(track(root, chosen))
    typer.echo("Run `mien train` next; `mien preset` lists other networks and trainings.")


def mapped(maps: list[str]) -> dict[str, str | None]:
    """The classes of folders in `FOLDER=CLASS`, None for `FOLDER=`; a UserError for another text."""
    pairs = [text.partition("=") for text in maps]
    for text, (folder, sign, _) in zip(maps, pairs, strict=True):
        if not (folder and sign):
            raise UserError(f"--map takes FOLDER=CLASS, such as joy=happy, or FOLDER= to leave it out, not {text!r}.")
    return {folder: name or None for folder, _, name in pairs}


def understand(folder: Path, name: str, class_names: dict[str, str | None]) -> "tuple[DataConfig, Ingested]":
    """The configuration that reads most faces in a folder, and what it reads; a UserError where none reads any."""
    from mien.sources.source import DataConfig, get_source, source_names

    options = {"class_names": class_names} if class_names else {}
    try:
        plain = DataConfig(name, "folder", f"data/{name}", title=name, options=options)
    except ValueError as error:
        raise UserError(f"--name: {error}.") from error
    read: list[tuple[DataConfig, Ingested]] = []
    refused = {}
    for source in ["folder"] if class_names else source_names():
        config = replace(plain, source=source)
        try:
            read.append((config, get_source(config).ingest(folder)))
        except UserError as error:
            refused[source] = str(error)
    if not read:
        reasons = "".join(f"\n  {source}: {reason}" for source, reason in refused.items())
        raise UserError(
            f"{folder} is in no format that mien reads. Each says why; --map FOLDER=CLASS names the class of a folder, "
            f"and --map FOLDER= leaves one out.{reasons}"
        )
    config, found = max(read, key=lambda pair: len(pair[1].faces))
    if config.source == "folder" and show_more_than_faces(folder, found):
        config = replace(config, options={**config.options, "faces": "detect"})
        found = get_source(config).ingest(folder)
    return config, found


def show_more_than_faces(folder: Path, found: "Ingested") -> bool:
    """Whether the photos are whole photographs: YuNet finds faces in most, and they fill less than half of them."""
    from mien.runtime.decode import UnreadablePhoto, read_header
    from mien.sources.fingerprints import MAX_MEGAPIXELS
    from mien.sources.folder import detect_faces
    from mien.sources.photos import FolderPhotos

    photos, every = FolderPhotos(folder), max(1, len(found.faces) // LOOKED_AT)
    names, shares = found.faces["image"].iloc[::every].head(LOOKED_AT).tolist(), []
    for name, faces in zip(names, detect_faces(photos, names), strict=True):
        if not isinstance(faces, UnreadablePhoto):  # which `ingest` lists
            header = read_header(photos.read(name), max_megapixels=MAX_MEGAPIXELS)
            areas = [(box.bottom - box.top) * (box.right - box.left) for box, _ in faces]
            shares.append(max(areas, default=0) / (header.height * header.width))
    seen = [share for share in shares if share]
    return len(seen) > len(shares) / 2 and statistics.median(seen) < FILLS


def described(config: "DataConfig", found: "Ingested", folder: Path) -> list[str]:
    """What was found, a line each: format, faces, classes, parts, persons, problems and size."""
    from mien.base.classes import EXPRESSIONS

    faces, problems = found.faces, found.problems
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e6
    detected = ", whole photographs in which YuNet finds the faces" if "faces" in config.options else ""
    lines = [
        f"{counted(len(faces), 'face')} in {counted(faces['image'].nunique(), 'photo')}, {size:,.1f} MB, "
        f"read as source {config.source}{detected}"
    ]
    counts = [(name, int((faces["label"] == k).sum())) for k, name in enumerate(found.classes)]
    lines.append("  classes: " + ", ".join(f"{printable(name)} {n:,}" for name, n in counts))
    others = (name for name, _ in counts if name not in EXPRESSIONS)
    if near := [name + hint for name in others if (hint := near_name(name, EXPRESSIONS))]:
        lines.append(f"  no expressions: {', '.join(near)}; `class_names` in conf/data maps them (docs/DATA.md)")
    parts = faces["source_split"].replace("", "no part").value_counts()
    own = set(parts.index) != {"no part"}
    told = ", ".join(f"{part} {n:,}" for part, n in parts.items())
    lines.append(f"  parts: {told}" if own else "  parts: none, so `split` draws them by photo")
    if persons := faces["person"].replace("", None).nunique():
        lines.append(f"  persons: {persons:,}")
    lines += [f"  {note}" for note in found.notes]
    if len(problems):
        reasons = ", ".join(f"{reason} {n:,}" for reason, n in problems["reason"].value_counts().items())
        lines.append(f"  {counted(len(problems), 'row or file')} cannot be used: {reasons}")
        lines += [f"    {printable(row.where)}: {printable(row.detail)}" for row in problems.head(TOLD).itertuples()]
    return lines


def bring(folder: Path, target: Path, *, move: bool) -> None:
    """Copy or move a folder to its place, where it appears whole; links become copies of what they name."""
    partial = target.with_name(f"{target.name}.partial")
    if partial.exists():  # of a run that was killed
        shutil.rmtree(partial)
    target.parent.mkdir(exist_ok=True)
    if move and folder.stat().st_dev == target.parent.stat().st_dev:
        folder.rename(target)
        return
    shutil.copytree(folder, partial)
    partial.rename(target)
    if move:
        shutil.rmtree(folder)


def described_as_yaml(config: "DataConfig", folder: Path) -> str:
    """The data set's file in conf/data, with the keys that people fill in."""
    options = json.dumps(config.options)
    return (
        f"# Added from a folder named {json.dumps(folder.name)}; docs/DATA.md describes the keys.\n"
        f"name: {json.dumps(config.name)}\nsource: {config.source}\npath: {json.dumps(config.path)}\n"
        f'title: {json.dumps(config.title)}\ndrawn: false\nperson: ""\nslices: []\noptions: {options}\n'
    )


def track(root: Path, name: str) -> str:
    """Track the files with DVC where the checkout has it; a sentence on what came of it."""
    by_hand = f"`dvc add data/{name}` tracks the files."
    if not (root / ".dvc").is_dir():
        return f"This is no DVC repository: {by_hand}"
    command = [sys.executable, "-m", "dvc", "add", "--quiet", f"data/{name}"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["it is not installed"])[-1]
        return f"DVC does not track the files yet ({printable(reason)}): {by_hand}"
    return f"data/{name}.dvc tracks the files; commit it with conf/data/{name}.yaml."


def train() -> None:
    """Train, evaluate and register: `dvc repro` of the changed stages with their headlines, then `mien status`."""
    from mien.cli.status import status

    root = find_root()
    if not (root / "dvc.yaml").is_file():
        raise UserError(f"there is no dvc.yaml in {root}; change to a checkout of mien.")
    import_module("dvc")  # else the missing library would be the child's error
    done = subprocess.run([sys.executable, "-m", "pipelines.repro"], cwd=root, check=False)
    if done.returncode:
        raise typer.Exit(done.returncode)
    status()
