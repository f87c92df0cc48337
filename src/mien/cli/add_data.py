"""The commands `mien data add` and `mien train`: a folder of labelled photos becomes a data set, and a model."""

import json
import os
import re
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from dataclasses import asdict, replace
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Final

import typer

from mien.base.errors import UserError, printable
from mien.base.files import replacing
from mien.base.settings import near_name, read_settings, read_yaml, refuse_unknown_choice
from mien.cli.choices import write_choices
from mien.cli.workspace import call, completed, counted, link_or_copy, quiet_libraries
from mien.inference.default_model import PARAMS, choices, find_root

if TYPE_CHECKING:
    from pandas import DataFrame, Series

    from mien.sources.source import DataConfig, Ingested
    from mien.split.parts import SplitConfig

MAP: Final = "Names the class of a folder; FOLDER= leaves one out."
LOOKED_AT: Final = 40  # photos in which faces are looked for, to tell photographs from cut faces
FILLS: Final = 0.5  # share of a photo that a cut face's box fills at least
TOLD: Final = 5  # problems
SMALL: Final = "small"  # the preset for ...
FEW: Final = 500  # ... fewer faces than these


def add(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A folder, in a format that `mien data` lists.")],
    name: Annotated[str | None, typer.Option(metavar="NAME", help="Default: the folder's name.")] = None,
    to: Annotated[str | None, completed(group="data", metavar="NAME", help="Add to this data set instead.")] = None,
    maps: Annotated[list[str] | None, typer.Option("--map", metavar="FOLDER=CLASS", help=MAP)] = None,
    move: Annotated[bool, typer.Option("--move", help="Move the files instead of copying them.")] = False,
) -> None:
    """Add a folder of labelled photos: look at it, copy it into data/, describe it in conf/data/, choose and track it.

    With --to, the photos join the class folders of a data set in data/. Nothing is overwritten. The next step is
    `mien train`.
    """
    root, folder = find_root(), path.resolve()
    if not (root / "conf" / "data").is_dir():
        raise UserError(f"there is no conf/data in {root}; change to a checkout of mien.")
    if not folder.is_dir():
        raise UserError(f"{path}: there is no such folder.")
    if to is not None:
        if name is not None:
            raise UserError("--name makes a data set, and --to adds to one; give one of them.")
        add_photos(root, folder, to, mapped(maps or []), move=move)
        return
    chosen = name or re.sub(r"[^a-z0-9_.-]+", "-", folder.name.lower()).strip("-.") or "photos"
    target, file = root / "data" / chosen, root / "conf" / "data" / f"{chosen}.yaml"
    for taken in (target, file):
        if taken.exists() and taken != folder:
            raise UserError(f"{taken.relative_to(root)} is there already; choose another --name, or `data: {chosen}`.")
    if folder in target.parents:
        raise UserError(f"{path} contains this checkout's data/; name the folder of photos itself.")
    with quiet_libraries(), chdir(root):  # what is found in photos is kept in the checkout, for `ingest`
        config, found = understand(folder, chosen, mapped(maps or []))
    typer.echo("\n".join(described(config, found, folder)))
    if target != folder:
        bring(folder, target, move=move)
    told = f"# Added from a folder named {json.dumps(folder.name)}; docs/howto/own-data.md describes the keys.\n"
    keys = "".join(f"{key}: {json.dumps(value)}\n" for key, value in asdict(config).items())
    with replacing(file) as part:
        part.write_text(told + keys, encoding="utf-8")
    small = root / "conf" / "preset" / f"{SMALL}.yaml"
    few = len(found.faces) < FEW and small.is_file()
    write_choices(root / PARAMS, {**(read_yaml(small) if few else {}), "data": chosen})
    typer.echo(f"data/{chosen} and conf/data/{chosen}.yaml are written, and params.yaml chooses them.")
    if few:
        typer.echo(f"So few faces teach no network from scratch: the preset {SMALL} goes on with the packaged model.")
    typer.echo(track(root, chosen))
    typer.echo("Run `mien train` next; `mien preset` lists other networks and trainings.")


def mapped(maps: list[str]) -> dict[str, str | None]:
    """The classes of folders in `FOLDER=CLASS`, None for `FOLDER=`; a UserError for another text."""
    for text in maps:
        if text.find("=") < 1:
            raise UserError(f"--map takes FOLDER=CLASS, such as joy=happy, or FOLDER= to leave it out, not {text!r}.")
    return {folder: name or None for folder, _, name in (text.partition("=") for text in maps)}


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
        how = "--map FOLDER=CLASS names the class of a folder, and --map FOLDER= leaves one out"
        raise UserError(f"{folder} is in no format that mien reads. Each says why; {how}.{reasons}")
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
            areas = [(box.bottom - box.top) * (box.right - box.left) for box, *_ in faces]
            shares.append(max(areas, default=0) / (header.height * header.width))
    seen = [share for share in shares if share]
    return len(seen) > len(shares) / 2 and statistics.median(seen) < FILLS


def described(config: "DataConfig", found: "Ingested", folder: Path) -> list[str]:
    """What was found, a line each: format, faces, classes, parts, persons, problems and size."""
    from mien.base.classes import EXPRESSIONS
    from mien.split.audit import recurring_prefix

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
        lines.append(f"  no expressions: {', '.join(near)}; `class_names` maps them: docs/howto/own-data.md")
    parts = faces["source_split"].replace("", "no part").value_counts()
    own = set(parts.index) != {"no part"}
    told = ", ".join(f"{part} {n:,}" for part, n in parts.items())
    lines.append(f"  parts: {told}" if own else "  parts: none, so `split` draws them by photo")
    if persons := faces["person"].replace("", None).nunique():
        lines.append(f"  persons: {persons:,}")
    elif key := recurring_prefix(faces):
        words = f"file names begin with {key['values']:,} recurring words"
        lines.append(f"  persons: none, but {words}; if they name persons, set person: '{key['pattern']}' in conf/data")
    lines += [f"  {note}" for note in found.notes]
    if len(problems):
        reasons = ", ".join(f"{reason} {n:,}" for reason, n in problems["reason"].value_counts().items())
        lines.append(f"  {counted(len(problems), 'row or file')} cannot be used: {reasons}")
        lines += [f"    {printable(row.where)}: {printable(row.detail)}" for row in problems.head(TOLD).itertuples()]
    return lines


def bring(folder: Path, target: Path, *, move: bool) -> None:
    """Copy or move a folder to its place, where it appears whole; links become copies of what they name."""
    partial = target.with_name(f"{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)  # of a run that was killed
    target.parent.mkdir(exist_ok=True)
    if move and folder.stat().st_dev == target.parent.stat().st_dev:
        folder.rename(target)
        return
    shutil.copytree(folder, partial)
    partial.rename(target)
    if move:
        shutil.rmtree(folder)


def add_photos(root: Path, folder: Path, name: str, class_names: dict[str, str | None], *, move: bool) -> None:
    """Add photos to a data set whose class folders are named alike, or by `class_names`; say what came of it."""
    from mien.base.state import locked, state_folder
    from mien.sources.photos import is_photo_name
    from mien.sources.source import get_source

    refuse_unknown_choice(root / "conf", "data", name, "--to")
    config: DataConfig = read_settings(root / "conf", "data", name)
    if config.source != "folder" or config.path != f"data/{name}":
        kind = f"is read as source {config.source} from {config.path}"
        raise UserError(f"--to adds to class folders in data/NAME, and {name} {kind}; add to its files by hand.")
    target = (root / config.path).resolve()
    if target == folder or target in folder.parents or folder in target.parents:
        raise UserError(f"{folder} and data/{name} lie in each other; name a folder of photos outside of it.")
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    photos: dict[Path, Path] = {}
    for file in files:
        folders = [class_names.get(part, part) for part in file.relative_to(folder).parts[:-1]]
        if folders and all(part and part[0] != "." for part in (*folders, file.name)) and is_photo_name(file):
            photos[file] = Path(*map(str, folders), file.name)
    source, known, added = get_source(config), 0, list[Path]()
    work = locked(state_folder(root) / f"data-{name}.lock", f"data/{name}")
    with quiet_libraries(), chdir(root), work, copied(Path(config.path)) as grows:
        before = source.ingest(Path(config.path))
        for file, place in photos.items():
            if not os.path.lexists(grows / place):
                (grows / place).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(file, grows / place)
                added.append(place)
            elif file.read_bytes() == (grows / place).read_bytes():
                known += 1
            else:
                raise UserError(f"two different photos would be data/{name}/{place}; rename yours. Nothing is added.")
        how = f"{folder} does not fit data/{name}, so nothing is added; --map FOLDER=CLASS names the class of a folder"
        try:
            after = source.ingest(grows)
        except UserError as error:
            raise UserError(f"{how}: {str(error).replace(grows.name, name)}") from error
        if strange := [label for label in after.classes if label not in before.classes]:
            near = near_name(strange[0], before.classes)
            raise UserError(f"{how}: {strange[0]} is no class of it{near}; it has {', '.join(before.classes)}.")
        if gone := sorted(set(before.faces["face_id"]) - set(after.faces["face_id"])):
            raise UserError(f"{how}: {gone[0]} of it is also among your photos, under another class; remove one.")
        new = ~after.faces["face_id"].isin(before.faces["face_id"])
        wrong = after.problems[~after.problems["where"].isin(before.problems["where"])]
        lines = described(config, replace(after, faces=after.faces[new], problems=wrong, notes=()), folder)
        moved = count_moved(root, config, after.faces, ~new, grows)
        for place in added:  # each appears whole; after a kill the same command adds those that lack
            (target / place).parent.mkdir(parents=True, exist_ok=True)
            (grows / place).rename(target / place)
    typer.echo("\n".join(lines if new.any() else [f"No face of {folder} is new in data/{name}."]))
    if known or len(photos) < len(files):
        others = counted(len(files) - len(photos), "other file")
        typer.echo(f"  not added: {counted(known, 'photo')} already there, {others}")
    typer.echo(f"data/{name} has {counted(len(new), 'face')} now; of the {sum(~new):,} before, {moved:,} change part.")
    for file in photos if move else ():
        file.unlink()
    typer.echo(track(root, name))


@contextmanager
def copied(folder: Path) -> Iterator[Path]:
    """A copy of a folder to try an addition on, by hard links where the disk has them: without time and space."""
    copy = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(copy, ignore_errors=True)  # of a run that was killed
    try:
        shutil.copytree(folder, copy, symlinks=True, copy_function=link_or_copy)
        yield copy
    finally:
        shutil.rmtree(copy, ignore_errors=True)


def count_moved(root: Path, config: "DataConfig", faces: "DataFrame", before: "Series[bool]", folder: Path) -> int:
    """How many of the faces that were there `before` the chosen `split` puts into another part than it did."""
    import numpy as np

    from mien.sources.fingerprints import THUMBNAILS, fingerprint
    from mien.sources.source import get_source, name_persons
    from mien.split.near_copies import group_faces
    from mien.split.parts import assign_groups, official_parts

    split: SplitConfig = read_settings(root / "conf", "split", choices(root).get("split", "grouped"))
    with TemporaryDirectory() as scratch:
        file, photos = Path(scratch) / THUMBNAILS, get_source(config).photos(folder, Path(scratch))
        table = fingerprint(name_persons(faces, config.person), photos, file)
        thumbnails = np.load(file)

    def parts(rows: np.ndarray) -> np.ndarray:
        some, near = table.iloc[rows].reset_index(drop=True), split.near_duplicates
        groups = group_faces(some, thumbnails[rows], split.similarity, split.aligned_similarity, near_duplicates=near)
        official = split.keep_official and (some["source_split"] != "").any()
        return (official_parts if official else assign_groups)(some, groups.ids, split)

    rows = np.flatnonzero(table["face_id"].isin(faces["face_id"][before]))
    return int((parts(rows) != parts(np.arange(len(table)))[rows]).sum())


def track(root: Path, name: str) -> str:
    """Track the files with DVC where the checkout has it; a sentence on what came of it."""
    try:
        call(sys.executable, "-m", "dvc", "add", "--quiet", f"data/{name}", cwd=root)
    except UserError as error:
        return f"DVC does not track the files yet; `dvc add data/{name}` does it: {printable(error)}"
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
