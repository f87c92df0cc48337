"""Wrong configurations: each is told before any work, in one sentence that names the file and the key.

Each row changes one file of a copy of the project's configuration. A change is lines as a person would type them (None
takes the key out), or the whole content of the file. The sentence must hold every one of the texts behind it.
"""

import shutil
import subprocess
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml

from mien.base.errors import WrongSettings
from mien.cli.check import RULES_HERE, RULES_OF_STAGES, mistakes
from pipelines.__main__ import refuse_mistakes, run_stage
from pipelines.compose import CONF, compose

Change = Mapping[str, str | None] | bytes

PARAMS, DATA, CROP, SPLIT, MODEL, AUGMENT, OPTIM, TRAIN, TUNE, EVALUATE, REGISTER = (
    "params.yaml",
    "conf/data/sample.yaml",
    "conf/crop/grey48.yaml",
    "conf/split/grouped.yaml",
    "conf/model/resnet16.yaml",
    "conf/augment/standard.yaml",
    "conf/optim/adamw.yaml",
    "conf/train/short.yaml",
    "conf/tune/quick.yaml",
    "conf/evaluate/standard.yaml",
    "conf/register/auto.yaml",
)
LR = "{low: 0.001, high: 0.01}"

# file, change, what the sentence must say
WRONG: list[tuple[str, Change, tuple[str, ...]]] = [
    # what params.yaml chooses
    (PARAMS, {"modle": "resnet16"}, ("there is no group 'modle'", "data, crop, split")),
    (PARAMS, {"model": None}, ("model must be the name of a choice, not nothing", "cnn48")),
    (PARAMS, {"model": "resnet99"}, ("model: there is no conf/model/resnet99.yaml (did you mean resnet", "resnet16,")),
    (PARAMS, {"model": "Resnet16"}, ("no conf/model/Resnet16.yaml (did you mean resnet16?)",)),
    (PARAMS, {"crop": "48"}, ("crop must be the name of a choice, not 48", "grey48")),
    (PARAMS, {"crop": ""}, ("crop must be the name of a choice, not nothing", "grey48")),
    (PARAMS, {"tune": "off"}, ("there is no conf/tune/off.yaml", "none, quick, thorough")),
    (PARAMS, {"tune": "true"}, ("tune must be the name of a choice, not true", "none, quick, thorough")),
    (PARAMS, {"data": "../data/sample"}, ("data: '../data/sample' may have only letters",)),
    (PARAMS, {"data": "'sample '"}, ("data: 'sample ' may have only letters",)),
    (PARAMS, b"", ("params.yaml must hold lines of `key: value`, not nothing",)),
    (PARAMS, b"- data: sample\n", ("params.yaml must hold lines of `key: value`", "data")),
    (PARAMS, b"sample\n", ("params.yaml must hold lines of `key: value`", "not 'sample'")),
    (PARAMS, b"data: [sample\n", ("params.yaml, line 2 is not valid YAML",)),
    (PARAMS, b"data: sample\n\tcrop: grey48\n", ("params.yaml, line 2 is not valid YAML", "'\\t'")),
    (PARAMS, b"data: sample\ndata: expw\n", ("params.yaml, line 2", 'duplicate key "data"')),
    (PARAMS, b"\xef\xbb\xbfdata: sample\n", ("params.yaml begins with a byte order mark",)),
    (PARAMS, b"data: caf\xe9\n", ("params.yaml is not UTF-8 text",)),
    (PARAMS, b"data: sample\n---\ncrop: grey48\n", ("params.yaml, line 2", "another document")),
    (PARAMS, b"data: &x [*x\n", ("params.yaml, line",)),
    # the form of a file that is chosen
    (OPTIM, b"- lr: 0.1\n", ("adamw.yaml must hold lines", "0.1")),
    (OPTIM, b"lr: !!python/name:os.system\n", ("adamw.yaml, line 1 is not valid YAML", "python/name")),
    (OPTIM, b"a: &a {lr: 1}\n<<: *a\n", ("there is no key 'a'", "name, lr, weight_decay")),
    # keys
    (OPTIM, {"momentm": "0.9"}, ("there is no key 'momentm' (did you mean momentum?)", "the keys are name, lr")),
    (OPTIM, {"LR": "0.1"}, ("there is no key 'LR'",)),
    (OPTIM, {"1": "0.1"}, ("there is no key 1",)),
    (OPTIM, {"lr": None}, ("lacks lr", "`lr: 0.001`")),
    (TRAIN, {"class_weights": None}, ("lacks class_weights", "`class_weights: false`")),
    (DATA, {"path": None}, ("lacks path", "`path: ...`")),
    (DATA, {"person": None, "slices": None}, ("lacks person, slices, which dvc.yaml names", "conf/data/folder.yaml")),
    # kinds
    (OPTIM, {"lr": "fast"}, ("lr must be a valid number", "not the text 'fast'")),
    (OPTIM, {"lr": '"0.001"'}, ("lr must be a valid number", "not the text '0.001'")),
    (OPTIM, {"lr": ""}, ("lr must be a valid number", "not nothing")),
    (OPTIM, {"lr": "true"}, ("lr must be a valid number", "not true")),
    (OPTIM, {"lr": "1:30"}, ("lr must be a valid number", "not the text '1:30'")),
    (OPTIM, {"schedule": "{name: x}"}, ("schedule must be 'constant', 'cosine' or 'plateau'", '{"name": "x"}')),
    (OPTIM, {"name": "${oc.env:OPTIMIZER}"}, ("name must be 'adam', 'adamw' or 'sgd'", "OPTIMIZER")),
    (TRAIN, {"epochs": "٣٠"}, ("epochs must be a valid integer", "not the text '٣٠'")),
    (TRAIN, {"epochs": "1e3"}, ("epochs must be a valid integer", "not 1000.0")),
    (TRAIN, {"epochs": "010"}, ("Hydra reads epochs as 8, DVC as 10",)),
    (TRAIN, {"class_weights": "yes"}, ("class_weights must be a valid boolean, not the text 'yes'",)),
    (TRAIN, {"class_weights": "1"}, ("class_weights must be a valid boolean, not 1",)),
    (DATA, {"name": "010"}, ("name must be a valid string, not 10",)),
    (TUNE, {"space": "[optim.lr]"}, ("space must be lines of `name: value`", '["optim.lr"]')),
    # ranges
    (OPTIM, {"lr": ".nan"}, ("lr must be a finite number, not NaN",)),
    (OPTIM, {"lr": "1e999"}, ("lr must be a finite number, not Infinity",)),
    (OPTIM, {"lr": "-0.1"}, ("lr must be greater than 0, not -0.1",)),
    (OPTIM, {"name": "adamx"}, ("name must be 'adam', 'adamw' or 'sgd', not 'adamx' (did you mean adam",)),
    (MODEL, {"name": "timm"}, ("backbone names a model of timm, such as resnet18",)),
    (MODEL, {"name": "mobilenetv2", "input_size": "8"}, ("input_size must be 32 to 512 pixels",)),
    (MODEL, {"name": "mobilenetv2", "init": "m.pth"}, ("init_sha256 must be 64 hex", "`sha256sum m.pth`", "''")),
    (MODEL, {"name": "mobilenetv2", "init": "m.pth", "init_sha256": "abc"}, ("not 'abc'",)),
    (MODEL, {"name": "mobilenetv2", "init_sha256": "a" * 64}, ("is of a file of weights, and init is none",)),
    (MODEL, {"init": "imagenet"}, ("init: imagenet is for the backbone of mobilenetv2, timm; resnet can begin with",)),
    (MODEL, {"name": "ensemble"}, ("members names the models of an ensemble",)),
    (MODEL, {"members": ["build/train"]}, ("members names the models of an ensemble",)),
    (MODEL, {"name": "ensemble", "members": "[3]"}, ("members names the models of an ensemble",)),
    (MODEL, {"dropout": "1.0"}, ("dropout must be less than 1, not 1.0",)),
    (TRAIN, {"batch_size": "1"}, ("batch_size must be greater than or equal to 2, not 1",)),
    (TRAIN, {"seed": "4294967296"}, ("seed must be less than or equal to 4294967295",)),
    ("conf/trainer/single.yaml", {"precision": "fp8"}, ("precision must be 'auto', '32' or 'bf16'",)),
    (CROP, {"size": "8"}, ("size must be greater than or equal to 16, not 8",)),
    (CROP, {"colour": "gray"}, ("colour must be 'rgb' or 'grey', not 'gray' (did you mean grey?)",)),
    (SPLIT, {"train": "0.9"}, ("train, val and test must add up to 1",)),
    (SPLIT, {"folds": "2"}, ("folds must be 0, for none, or at least 3, not 2",)),
    (SPLIT, {"folds": "5", "fold": "5"}, ("fold must be below 5, not 5: folds count from 0, and there are 5",)),
    (SPLIT, {"fold": "1"}, ("fold must be below 1, not 1: folds count from 0, and there are none",)),
    (AUGMENT, {"rotate": "200"}, ("rotate must be less than or equal to 180, not 200",)),
    (EVALUATE, {"bootstrap": "10"}, ("bootstrap must be greater than or equal to 100",)),
    (REGISTER, {"approve": "never"}, ("approve must be 'auto' or 'manual', not 'never'",)),
    (DATA, {"name": "a/b"}, ("name must be letters, digits", "not 'a/b'")),
    (DATA, {"name": "bücher"}, ("name must be letters, digits", "not 'bücher'")),
    # what contradicts what
    (DATA, {"source": "exwp"}, ("source 'exwp' is unknown; the sources are expw",)),
    (DATA, {"options": "{delimiter: ','}"}, ("sample.yaml", "options: there is no key 'delimiter'")),
    (DATA, {"path": "data/expw"}, ("path must be data/sample", "DVC", "not data/expw")),
    (DATA, {"path": "data/sample/.."}, ("path must be data/sample", "not data/sample/..")),
    (PARAMS, {"model": "vgg64"}, ("conf/model/vgg64.yaml", "64 pixels in rgb", "conf/crop/grey48.yaml", "size: 48")),
    (PARAMS, {"model": "cnn48", "crop": "rgb64"}, ("conf/model/cnn48.yaml", "conf/crop/rgb64.yaml", "colour: rgb")),
    (OPTIM, {"warmup_epochs": "30"}, ("warmup_epochs: 30 must be less than the epochs: 9", TUNE)),
    (TRAIN, {"epochs": "1"}, (OPTIM, "warmup_epochs: 1 must be less than the epochs: 1", TRAIN)),
    (OPTIM, {"schedule": "constant"}, ("warmup_epochs: 1 belongs to schedule: cosine",)),
    (TRAIN, {"freeze_epochs": "3"}, (MODEL, "freeze_epochs: 3 freezes a backbone, and with init: none")),
    (OPTIM, {"backbone_lr": "0.1"}, (MODEL, "backbone_lr: 0.1 is for a backbone, and with init: none")),
    (TUNE, {"space": "{}"}, ("space is empty",)),
    (TUNE, {"space": f"{{optim.lrr: {LR}}}"}, (TUNE, "space: there is no optim.lrr", "optim.lr,")),
    (TUNE, {"space": "{optim.lr: {low: 0.1, high: 0.01}}"}, ("optim.lr: low 0.1 is not below high 0.01",)),
    (TUNE, {"space": "{optim.lr: {low: '1', high: 0.01}}"}, ("optim.lr: low '1'", "must be two numbers")),
    (TUNE, {"space": "{train.batch_size: {low: 16.5, high: 64}}"}, ("train.batch_size: low 16.5", "two numbers like")),
    (TUNE, {"space": "{train.batch_size: {choices: [32, true]}}"}, ("train.batch_size: choice True",)),
    (TUNE, {"space": "{train.epochs: {low: 1, high: 9}}"}, ("train.epochs cannot be searched", "epochs of conf/tune")),
    (TUNE, {"space": "{train.patience: {low: 1, high: 9}}"}, ("train.patience cannot be searched", "of conf/tune")),
    (TUNE, {"space": "{train.seed: {low: 1, high: 9}}"}, ("train.seed cannot be searched", "luck")),
    (TUNE, {"space": "{trainer.workers: {low: 0, high: 2}}"}, ("trainer.workers cannot be searched", "machine")),
    (TUNE, {"space": "{optim.backbone_lr: {low: 0.1, high: 0.9}}"}, ("backbone_lr: 0.1 is for a backbone", MODEL)),
    (TUNE, {"space": "{optim.warmup_epochs: {low: 0.0, high: 10.0}}"}, ("optim.warmup_epochs: 10 must be less than",)),
    (TUNE, {"confirm": "{best: 2}"}, ("confirm: best and seeds must both",)),
    (TUNE, {"confirm": "{best: 2, seed: 1}"}, ("confirm: there is no key 'seed'",)),
    (TUNE, {"confirm": "3"}, ("confirm must be lines of `name: value`, not 3",)),
    (AUGMENT, {"batched": "true", "transforms": "[{name: Blur}]"}, ("transforms are albumentations', for which",)),
    (AUGMENT, {"transforms": "[{name: GausianBlur}]"}, ("transforms: albumentations has no transform 'GausianBlur'",)),
]
# Several files that contradict each other, each right by itself, and the sentence.
TRANSFER = {"model": "mobilenetv2_imagenet", "optim": "transfer", "train": "transfer"}
TIMM = "conf/model/timm.yaml"
FROZEN, UNCHANGED = "conf/train/transfer.yaml", "conf/augment/none.yaml"
TOGETHER: list[tuple[dict[str, Change], str]] = [
    (
        {PARAMS: {**TRANSFER, "tune": "none"}, FROZEN: {"freeze_epochs": "25"}},
        f"{FROZEN}: freeze_epochs: 25 must be less than the epochs: 25 of {FROZEN}.",
    ),
    (
        {PARAMS: TRANSFER, TUNE: {"epochs": "3"}},
        f"{FROZEN}: freeze_epochs: 3 must be less than the epochs: 3 of {TUNE}.",
    ),
    (
        {PARAMS: {**TRANSFER, "model": "mobilenetv2"}},
        f"{FROZEN}: freeze_epochs: 3 freezes a backbone, and with init: none of conf/model/mobilenetv2.yaml it has "
        "learnt nothing yet; begin with a trained model, or of a backbone with imagenet or a file.",
    ),
    (
        {DATA: {"slices": "[camera]"}, "conf/register/auto.yaml": {"no_group_worse": "{slice: camra, margin: 0.1}"}},
        "no_group_worse in conf/register/auto.yaml: 'camra' is no slice (did you mean camera?); there are class, face "
        "size, detector confidence, camera, and `slices` in conf/data adds columns of the data set.",
    ),
]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("template")
    shutil.copytree(CONF, root / "conf")
    shutil.copy(CONF / "preset/sample.yaml", root / "params.yaml")
    return root


@pytest.fixture
def root(template: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(template, tmp_path / "checkout"))


def change(file: Path, how: Change) -> None:
    if isinstance(how, bytes):
        file.write_bytes(how)
        return
    kept = {key: value for key, value in yaml.safe_load(file.read_text()).items() if key not in how}
    lines = [f"{key}: {value}\n" for key, value in how.items() if value is not None]
    file.write_text(yaml.safe_dump(kept) + "".join(lines), encoding="utf-8")


def _data(file: str, how: Change) -> str:
    """What dvc.yaml passes to the first stage."""
    chosen = how.get("data") if file == PARAMS and isinstance(how, Mapping) else None
    return (chosen or "sample").strip("'")


@pytest.mark.parametrize(("file", "how", "says"), WRONG, ids=[f"{f}-{h}"[:60] for f, h, _ in WRONG])
def test_a_wrong_configuration_is_told_in_one_sentence(
    root: Path, file: str, how: Change, says: tuple[str, ...]
) -> None:
    """`mien check` and the first stage, though it composes one group only."""
    change(root / file, how)
    with pytest.raises(WrongSettings) as stage:
        refuse_mistakes(root / "params.yaml", root / "conf", {"data": _data(file, how)})
    found = stage.value.mistakes
    assert all(sentence.endswith(".") and "\n" not in sentence for sentence in found)
    named = () if says[0].startswith("conf/") else (Path(file).name,)
    assert [s for s in found if all(text in s for text in (*named, *says))], found


@pytest.mark.parametrize(("changes", "says"), TOGETHER, ids=[says[:50] for _, says in TOGETHER])
def test_files_that_contradict_each_other_are_named(root: Path, changes: dict[str, Change], says: str) -> None:
    for file, how in changes.items():
        change(root / file, how)
    assert says in mistakes(root / "params.yaml", root / "conf")


def test_what_is_not_there_is_told_before_any_work(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def told(*rules: Any) -> list[str]:
        return mistakes(root / "params.yaml", root / "conf", *rules)

    assert told(RULES_HERE) == [f"{DATA}: path: data/sample is missing; `make sample` draws it."]
    assert told(RULES_OF_STAGES) == []  # a stage reads what DVC gives it
    (root / "data/table").mkdir(parents=True)
    change(root / DATA, {"source": "table", "drawn": "false", "path": "data/table"})
    (root / DATA).rename(root / "conf/data/table.yaml")
    change(root / PARAMS, {"data": "table"})
    (sentence,) = told(RULES_HERE)
    assert "data/table is empty; put there a csv or Parquet file with the columns image and label" in sentence
    (root / "data/table/labels.csv").write_text("image,label\n")
    assert told(RULES_HERE) == []

    timm = root / "installed/timm"
    (timm / "models").mkdir(parents=True)
    (timm / "__init__.py").write_text("import torch\n")
    (timm / "models/resnet.py").write_text("@register_model\ndef resnet18(pretrained=False): ...\n")
    change(root / PARAMS, {"model": "timm"})
    if find_spec("timm") is None:
        assert "timm is not installed: use `pip install" in told(RULES_OF_STAGES)[0]
    monkeypatch.syspath_prepend(timm.parent)
    assert told(RULES_OF_STAGES) == []
    change(root / TIMM, {"backbone": "resnet81"})
    near = f"{TIMM}: backbone: timm has no model 'resnet81'; near ones are resnet18."
    assert told(RULES_OF_STAGES) == [near]
    assert told() == []  # a preset may be applied before its library is installed
    change(root / TIMM, {"backbone": "resnet18", "init": "my.pth", "init_sha256": "a" * 64})
    assert told(RULES_OF_STAGES) == [f"{TIMM}: init: there is no file my.pth."]
    change(root / PARAMS, {"model": "resnet16", "tune": "none"})
    change(root / MODEL, {"init": "build/other"})
    change(root / TRAIN, {"teachers": "[models:/mien-sample/1, ../there, models:/x, ./build/train]"})
    init, there, form, own = told(RULES_OF_STAGES)
    assert init == f"{MODEL}: init: there is no folder build/other."
    assert there == f"{TRAIN}: teachers: there is no folder ../there."
    assert form.startswith(f"{TRAIN}: teachers: 'models:/x' is not a model address; use models:/NAME@champion")
    change(root / PARAMS, {"model": "ensemble", "optim": "transfer", "train": "transfer"})
    assert told() == []  # as nothing is trained
    assert own.startswith(f"{TRAIN}: teachers: `train` empties ./build/train before it begins; name a registered")


@pytest.mark.parametrize("stage", ["tune", "train"])
def test_a_training_by_hand_is_refused_before_it_reads_anything(
    stage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    choices = ["data=sample", "model=resnet16", "augment=standard", "optim=adamw", "train=long", "trainer=auto"]
    by_hand = [
        *choices,
        *(["tune=none"] if stage == "tune" else []),
        "+train.freeze_epochs=2",
        "+optim.backbone_lr=.5",
    ]
    with pytest.raises(WrongSettings) as found:
        run_stage(stage, by_hand)
    frozen, slow = found.value.mistakes
    assert "long.yaml: freeze_epochs: 2" in frozen and "adamw.yaml: backbone_lr: 0.5" in slow


def test_the_check_imports_no_pytorch() -> None:
    code = "import sys; from mien.cli.main import app; app(['check'], standalone_mode=False); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=CONF.parent, capture_output=True, text=True, check=False)
    assert "mien.search.space" in (done.stdout + done.stderr)
    assert not {"torch", "mlflow", "timm"} & set(done.stdout.split())


@pytest.mark.parametrize("preset", sorted(path.name for path in (CONF / "preset").glob("*.yaml")))
def test_no_preset_contradicts_itself(root: Path, preset: str) -> None:
    assert mistakes(root / "conf/preset" / preset, root / "conf") == []


def test_a_folder_in_place_of_a_file_and_a_file_that_cannot_be_read_are_named(root: Path) -> None:
    (root / OPTIM).unlink()
    (root / OPTIM).mkdir()
    (told,) = mistakes(root / "params.yaml", root / "conf")
    assert told == f"{OPTIM} cannot be read (is a directory); it must be a file with lines of `key: value`."
    (root / OPTIM).rmdir()
    (root / OPTIM).symlink_to(Path(OPTIM).name)  # to itself: nobody can read it, not even root
    (told,) = mistakes(root / "params.yaml", root / "conf")
    assert told.startswith(f"{OPTIM} cannot be read (too many levels of symbolic links); it must be a file")


def test_all_mistakes_are_found_at_once(root: Path) -> None:
    change(root / OPTIM, {"lr": "-1", "momentum": "2", "nesterov": "true", "schedule": None})
    change(root / CROP, {"size": "4"})
    found = mistakes(root / "params.yaml", root / "conf")
    assert [text.replace(":", "").split()[0] for text in found] == [CROP, OPTIM, OPTIM, OPTIM, OPTIM]
    choices = ["data=sample", "model=resnet16", "augment=standard", "optim=adamw", "train=short", "trainer=single"]
    with pytest.raises(WrongSettings) as stage:
        compose("train", choices, root / "conf")
    assert len(stage.value.mistakes) == 4
