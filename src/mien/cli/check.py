"""The command `mien check`: validation of params.yaml, conf/ and library versions.

The first stages run the same check: a mistake in the settings of `evaluate` is found before a day of training.
"""

import json
import re
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, distributions, version
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Final

import typer

from mien.base.errors import UserError, WrongSettings
from mien.base.settings import GROUPS, USAGE, build_settings, group_class, read_usage, read_yaml, refuse_unknown_choice
from mien.cli.workspace import say
from mien.inference.default_model import PARAMS, find_root
from mien.models.description import ENSEMBLE, FACES

VERSIONS: Final = "versions.yaml"
RECIPE: Final = ("model", "augment", "optim", "train", "trainer")  # the groups of conf/ that say how to train


def check(
    allow_other_versions: Annotated[bool, typer.Option("--allow-other-versions", help="Only warn of those.")] = False,
) -> None:
    """Check params.yaml, the files of conf/ that it chooses, and the library versions."""
    root = find_root()
    found = mistakes(root / PARAMS, root / "conf", RULES_HERE)
    own, running = root / "src" / "mien", Path(__file__).parents[1]
    if own.is_dir() and not own.samefile(running):
        mended = "`make install` makes .venv here; use the programs in .venv/bin"
        origins = (found.read_text("direct_url.json") for found in distributions(name="mien"))
        if {"dir_info": {}, "url": root.resolve().as_uri()} in [json.loads(text) for text in origins if text]:
            command = f"{shlex.quote(sys.executable)} -m pip install --no-deps -e {shlex.quote(str(root))}"
            mended = f"it is a copy, and `{command}` replaces it by a link"
        found.append(
            f"the environment {sys.prefix} runs the code in {running}, so edits of {own} have no effect: {mended}."
        )
    differing = other_versions(root)
    if differing and not allow_other_versions:
        hint = "Other versions give other numbers: install with `-c constraints.txt`, or pass --allow-other-versions."
        found += [*differing, hint]
    if found:
        raise WrongSettings(found)
    for sentence in differing:
        say(f"mien: {sentence}")
    typer.echo(f"{PARAMS} and the files that it chooses are valid.")


def other_versions(root: Path) -> list[str]:
    """A sentence for each library whose version is not that of versions.yaml, builds such as +cpu aside."""
    sentences, file = [], root / VERSIONS
    for library, wanted in (read_yaml(file, VERSIONS) if file.is_file() else {}).items():
        try:
            installed = version(library)
        except PackageNotFoundError:
            installed = ""
        if installed.partition("+")[0] != wanted:
            state = f"{library} {installed} is" if installed else f"{library} is not"
            sentences.append(f"{state} installed, and {VERSIONS} requires {wanted}.")
    return sentences


Settings = Mapping[str, Any]  # each group's dataclass, a search's distributions as `space`, and the checkout's `root`
Files = Mapping[str, str]  # where each group's settings come from, such as conf/optim/adamw.yaml
Rule = Callable[[Settings, Files], Iterable[str] | None]


def mistakes(params: Path, conf: Path, rules: Sequence[Rule] = ()) -> list[str]:
    """A sentence for every mistake in a file of choices (params.yaml or a preset) and in the files that it chooses.

    `rules` between groups (by default RULES) are asked only where each group is right by itself.
    """
    shown = params.relative_to(conf.parent).as_posix() if params.is_relative_to(conf.parent) else str(params)
    try:
        choices = read_yaml(params, shown)
    except UserError as error:
        return [str(error)]
    unknown = (key for key in choices if key not in GROUPS)
    found = [f"{shown}: there is no group {key!r}; the groups are {', '.join(GROUPS)}." for key in unknown]
    settings: dict[str, Any] = {"root": conf.parent}
    for name in (*GROUPS, *USAGE):
        try:
            if name in GROUPS:
                settings[name] = _chosen_settings(conf, name, choices, shown)
            else:
                read_usage(conf.parent, name)
        except UserError as error:
            found += getattr(error, "mistakes", [str(error)])
    return found or contradictions(settings, choices, rules or RULES)


def contradictions(settings: dict[str, Any], choices: Mapping[str, Any], rules: Sequence[Rule]) -> list[str]:
    """What these rules say of settings by their groups, with `root`, which come from the files that `choices` name.

    A rule may also raise what the stage itself would; for a group such as `conf/data:` its file is named.
    """
    files = {group: f"conf/{group}/{choice}.yaml" for group, choice in choices.items()}
    settings["space"] = {}
    found: list[str] = []
    for rule in (_space_can_be_searched, *rules):
        try:
            found.extend(rule(settings, files) or ())
        except UserError as error:
            found.append(re.sub(r"conf/(\w+):", lambda group: f"{files[group[1]]}:", str(error)))
    return found


def _space_can_be_searched(settings: dict[str, Any], files: Files) -> None:
    """Also sets `space`, which other rules need."""
    if settings["tune"].trials:
        from mien.search.space import search_space  # it imports optuna
        from mien.training.recipe import Recipe

        recipe = Recipe(*(settings[group] for group in RECIPE))
        settings["space"] = search_space(settings["tune"].space, recipe)


def _chosen_settings(conf: Path, group: str, choices: Mapping[str, Any], shown: str) -> Any:
    refuse_unknown_choice(conf, group, choices.get(group), shown)
    name = f"conf/{group}/{choices[group]}.yaml"
    file = conf.parent / name
    content = read_yaml(file, name)
    settings = build_settings(group_class(group), content, name)
    from omegaconf import OmegaConf  # other commands do not wait for it

    if group == "data" and (lacking := settings.__dataclass_fields__.keys() - content):
        listed = ", ".join(sorted(lacking))
        raise UserError(f"{name} lacks {listed}, which dvc.yaml names; conf/data/folder.yaml has a line for each.")
    hydra: Any = OmegaConf.to_container(OmegaConf.load(file))
    differing = [
        f"{name}: Hydra reads {key} as {hydra[key]!r}, DVC as {value!r}; quote it."  # 010 is 8 in YAML 1.1, 10 in 1.2
        for key, value in content.items()
        if json.dumps(hydra[key], default=str) != json.dumps(value, default=str)
    ]
    if differing:
        raise WrongSettings(differing)
    return settings


def _values(settings: Settings, key: str) -> Sequence[Any]:
    """The configuration's value of a dotted key, or what a search may make of it."""
    group, _, name = key.partition(".")
    if searched := settings["space"].get(key):
        return getattr(searched, "choices", None) or (searched.low, searched.high)
    return (getattr(settings[group], name),)


def _stands(settings: Settings, files: Files, key: str, value: Any) -> str:
    """Where a value comes from: `conf/train/short.yaml: patience: 8`."""
    group, _, name = key.partition(".")
    place = f"{files['tune']}: space: {key}" if key in settings["space"] else f"{files[group]}: {name}"
    return f"{place}: {value:.10g}"


def _refusals(files: Files, group: str, stages_check: Callable[..., object], *values: Any) -> Iterator[str]:
    """What a stage would say of these values, as mistakes of the group's file."""
    try:
        stages_check(*values)
    except UserError as error:
        sentences = getattr(error, "mistakes", [str(error)])
        yield from (f"{files[group]}: {sentence.removeprefix(f'{group}.')}" for sentence in sentences)


def _data_set_can_be_read(settings: Settings, files: Files) -> Iterator[str]:
    from mien.sources.source import get_source  # it imports pandas

    yield from _refusals(files, "data", get_source, settings["data"])
    path, watched = settings["data"].path, f"data/{Path(files['data']).stem}"
    if PurePosixPath(path) != PurePosixPath(watched):
        yield f"{files['data']}: path must be {watched}, the folder that DVC tracks, not {path}."


def _the_gate_names_a_slice(settings: Settings, files: Files) -> None:
    from mien.registry.gate import check_slice

    check_slice(settings["register"], settings["data"].slices)


def _crop_fits_the_network(settings: Settings, files: Files) -> Iterator[str]:
    model, crop = settings["model"], settings["crop"]
    wanted = FACES[model.name]
    if wanted.size not in (None, crop.size) or wanted.colour not in (None, crop.colour):
        size = f"{wanted.size} pixels" if wanted.size else "any size"
        says = f"{files['crop']} says size: {crop.size}, colour: {crop.colour}; choose a crop that fits"
        takes = f"takes faces of {size} in {wanted.colour or 'any colour'}"
        yield f"{files['model']}: name: {model.name} {takes}, and {says}."


def _only_a_trained_backbone_is_frozen(settings: Settings, files: Files) -> Iterator[str]:
    if "none" not in _values(settings, "model.init") or settings["model"].name == ENSEMBLE:
        return  # nothing of an ensemble is trained, so nothing is frozen either
    begin = "begin with a trained model, or of a backbone with imagenet or a file"
    reason = f"with init: none of {files['model']} it has learnt nothing yet; {begin}."
    if frozen := max(_values(settings, "train.freeze_epochs")):
        yield f"{_stands(settings, files, 'train.freeze_epochs', frozen)} freezes a backbone, and {reason}"
    if (share := min(_values(settings, "optim.backbone_lr"))) != 1:
        yield f"{_stands(settings, files, 'optim.backbone_lr', share)} is for a backbone, and {reason}"


def _an_ensemble_has_nothing_to_learn(settings: Settings, files: Files) -> Iterator[str]:
    if settings["model"].name != ENSEMBLE:
        return
    made = f"an ensemble, as {files['model']} says, is put together and not trained"
    if settings["tune"].trials:
        yield f"{files['tune']}: trials: {settings['tune'].trials} has nothing to search: {made}; choose tune: none."
    if settings["train"].teachers:
        yield f"{files['train']}: teachers teach nobody: {made}; take them out."


def _warm_up_and_freezing_end_before_the_training(settings: Settings, files: Files) -> Iterator[str]:
    optim, tune = settings["optim"], settings["tune"]
    lengths = {"train": settings["train"].epochs} | ({"tune": tune.epochs} if tune.trials else {})
    shortest = min(lengths, key=lengths.__getitem__)
    for key in ("optim.warmup_epochs", "train.freeze_epochs"):
        longest = max(_values(settings, key))
        if longest and longest >= lengths[shortest]:
            stands = _stands(settings, files, key, longest)
            yield f"{stands} must be less than the epochs: {lengths[shortest]} of {files[shortest]}."
    if optim.warmup_epochs and "cosine" not in _values(settings, "optim.schedule"):
        warm_up = f"{files['optim']}: warmup_epochs: {optim.warmup_epochs:g}"
        yield f"{warm_up} belongs to schedule: cosine; with schedule: {optim.schedule} set warmup_epochs: 0.0."


def _devices_share_a_batch(settings: Settings, files: Files) -> Iterator[str]:
    from mien.training.recipe import refuse_uneven_shares

    for size in _values(settings, "train.batch_size"):
        yield from _refusals(files, "trainer", refuse_uneven_shares, size, settings["trainer"])


def _transforms_can_be_built(settings: Settings, files: Files) -> Iterator[str]:
    if settings["augment"].transforms:
        import numpy as np

        from mien.training.augmentation import Augmentation

        face = np.zeros(settings["crop"].cut.shape, np.uint8)
        yield from _refusals(files, "augment", lambda: Augmentation(settings["augment"], 0)(face, 0, 0))


def _search_is_of_what_a_trial_may_choose(settings: Settings, files: Files) -> Iterator[str]:
    for key in settings["space"]:
        if reason := NOT_SEARCHED.get(key, NOT_SEARCHED.get(key.partition(".")[0])):
            yield f"{files['tune']}: space: {key} cannot be searched, because {reason}; remove it."


def _refuse_parent(key: str, text: str, root: Path) -> None:
    from mien.inference.address import ModelAddress  # it imports NumPy

    try:
        address = ModelAddress.parse(text)
    except UserError as error:
        raise UserError(f"{key}: {error}") from error
    folder = (root / address.folder).resolve()
    if folder == root / "build/train":
        raise UserError(f"{key}: `train` empties {text} before it begins; name a registered model, or a copy.")
    if not address.name and not folder.is_dir():
        raise UserError(f"{key}: there is no folder {text}.")


def _weights_are_there(settings: Settings, files: Files) -> Iterator[str]:
    from mien.models.timm_backbone import TIMM_NAMES, refuse_unknown_backbone
    from mien.training.recipe import Recipe

    model = settings["model"]
    name = model.name
    if model.init_from == "file" and not (settings["root"] / model.init).is_file():
        yield f"{files['model']}: init: there is no file {model.init}."
    for key, address in Recipe(*(settings[group] for group in RECIPE)).parents:
        yield from _refusals(files, key.partition(".")[0], _refuse_parent, key, address, settings["root"].resolve())
    if name == "timm" or model.init_from == "imagenet":
        for backbone in _values(settings, "model.backbone"):
            yield from _refusals(files, "model", refuse_unknown_backbone, TIMM_NAMES.get(name, backbone))


def _data_set_is_there(settings: Settings, files: Files) -> Iterator[str]:
    from mien.sources.source import source_class

    data = settings["data"]
    folder, kind = settings["root"] / data.path, source_class(data.source)
    if kind and not (folder.is_dir() and any(folder.iterdir())):
        todo = "`make sample` draws it" if data.drawn else f"put there {kind.expects}"
        yield f"{files['data']}: path: {data.path} is {'empty' if folder.is_dir() else 'missing'}; {todo}."


NOT_SEARCHED: Final = {
    **dict.fromkeys(("train.epochs", "train.patience"), "every trial lasts the epochs of conf/tune"),
    "train.seed": "the lowest loss of many seeds is luck",
    **dict.fromkeys(("train.monitor", "train.keep"), "scores of two kinds do not compare"),
    "trainer": "it says how a machine works, not what is learnt",
    **dict.fromkeys(("augment.batched", "augment.transforms"), "it is no number"),
}
RULES_OF_TRAINING: Final = (
    _only_a_trained_backbone_is_frozen,
    _an_ensemble_has_nothing_to_learn,
    _warm_up_and_freezing_end_before_the_training,
    _devices_share_a_batch,
    _search_is_of_what_a_trial_may_choose,
)
RULES: Final = (
    _data_set_can_be_read,
    _the_gate_names_a_slice,
    _crop_fits_the_network,
    _transforms_can_be_built,
    *RULES_OF_TRAINING,
)
# What the configuration needs on this machine; a preset may be applied before it is there.
RULES_OF_STAGES: Final = (*RULES, _weights_are_there)
RULES_HERE: Final = (*RULES_OF_STAGES, _data_set_is_there)
