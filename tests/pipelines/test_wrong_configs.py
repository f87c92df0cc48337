"""Wrong configurations: each is told before any work, in one sentence that names the file and the key.

Each row changes one file of a copy of the project's configuration. A change is lines as a person would type them (None
takes the key out), or the whole content of the file. The sentence must hold every one of the texts behind it.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from mien.base.errors import UserError
from mien.cli.check import mistakes
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
    (PARAMS, {"model": None}, ("lacks model", "`model: cnn48`")),
    (PARAMS, {"model": "resnet99"}, ("model: resnet99", "no conf/model/resnet99.yaml", "resnet16, resnet32")),
    (PARAMS, {"model": "Resnet16"}, ("model: Resnet16", "no conf/model/Resnet16.yaml")),
    (PARAMS, {"crop": "48"}, ("crop is 48, which is no text", "grey48")),
    (PARAMS, {"crop": ""}, ("crop is nothing", "grey48")),
    (PARAMS, {"crop": "[grey48]"}, ("crop is ['grey48'], which is no text",)),
    (PARAMS, {"tune": "off"}, ("tune: off means true, false or a number", "none, quick, thorough")),
    (PARAMS, {"tune": "true"}, ("tune is True, which is no text", "none, quick, thorough")),
    (PARAMS, {"data": "../data/sample"}, ("data: '../data/sample' is no name of letters",)),
    (PARAMS, {"data": "my photos"}, ("data: 'my photos' is no name of letters",)),
    (PARAMS, {"data": "'sample '"}, ("data: 'sample ' is no name of letters",)),
    (PARAMS, b"", ("params.yaml is empty",)),
    (PARAMS, b"# data: sample\n", ("params.yaml is empty",)),
    (PARAMS, b"- data: sample\n", ("params.yaml must hold lines of `key: value`", "a list")),
    (PARAMS, b"sample\n", ("params.yaml must hold lines of `key: value`", "'sample' alone")),
    (PARAMS, b"data: [sample\n", ("params.yaml, line 2 is no YAML",)),
    (PARAMS, b"data: sample\n\tcrop: grey48\n", ("params.yaml, line 2 is no YAML", "'\\t'")),
    (PARAMS, b"data: sample\ndata: expw\n", ("params.yaml, line 2", "data stands there twice")),
    (PARAMS, b"\xef\xbb\xbfdata: sample\n", ("params.yaml begins with a byte order mark",)),
    (PARAMS, b"data: caf\xe9\n", ("params.yaml is not UTF-8 text",)),
    (PARAMS, b"data: sample\n---\ncrop: grey48\n", ("params.yaml, line 2", "another document")),
    (PARAMS, b"data: &x [*x\n", ("params.yaml, line",)),
    # the form of a file that is chosen
    (OPTIM, b"", ("adamw.yaml is empty",)),
    (OPTIM, b"- lr: 0.1\n", ("adamw.yaml must hold lines", "a list")),
    (OPTIM, b"lr: [1,\n", ("adamw.yaml, line 2 is no YAML",)),
    (OPTIM, b"lr: 1\nlr: 2\n", ("adamw.yaml, line 2", "lr stands there twice")),
    (OPTIM, b"name: caf\xe9\n", ("adamw.yaml is not UTF-8 text",)),
    (OPTIM, b"lr: !!python/name:os.system\n", ("adamw.yaml, line 1 is no YAML", "python/name")),
    (OPTIM, b"a: &a {lr: 1}\n<<: *a\n", ("there is no key 'a'", "name, lr, weight_decay")),
    # keys
    (OPTIM, {"learning_rate": "0.1"}, ("there is no key 'learning_rate'", "the keys of optim are name, lr")),
    (OPTIM, {"LR": "0.1"}, ("there is no key 'LR'",)),
    (OPTIM, {"1": "0.1"}, ("there is no key 1",)),
    (OPTIM, {"lr": None}, ("lacks lr", "`lr: 0.001`")),
    (TRAIN, {"class_weights": None}, ("lacks class_weights", "`class_weights: false`")),
    (DATA, {"path": None}, ("lacks path", "`path: ...`")),
    # kinds
    (OPTIM, {"lr": "fast"}, ("lr must be a number", "not the text 'fast'")),
    (OPTIM, {"lr": '"0.001"'}, ("lr must be a number", "not the text '0.001'")),
    (OPTIM, {"lr": "1_0.5"}, ("lr must be a number", "not 1_0.5")),
    (OPTIM, {"lr": ""}, ("lr must be a number", "not nothing")),
    (OPTIM, {"lr": "0,001"}, ("lr must be a number", "not the text '0,001'")),
    (OPTIM, {"lr": "true"}, ("lr must be a number", "not true")),
    (OPTIM, {"lr": "1:30"}, ("lr must be a number", "not 1:30")),
    (OPTIM, {"schedule": "{name: cosine}"}, ("schedule must be text", "not {'name': 'cosine'}")),
    (OPTIM, {"name": "${oc.env:OPTIMIZER}"}, ("name must be plain text", "DVC does not see")),
    (TRAIN, {"epochs": "1_0"}, ("epochs must be a whole number in the digits 0 to 9, not 1_0",)),
    (TRAIN, {"epochs": "٣٠"}, ("epochs must be a whole number", "not the text '٣٠'")),
    (TRAIN, {"epochs": "1e3"}, ("epochs must be a whole number", "not 1000.0")),
    (TRAIN, {"epochs": "'30'"}, ("epochs must be a whole number", "not the text '30'")),
    (TRAIN, {"epochs": "yes"}, ("epochs must be a whole number", "not yes")),
    (TRAIN, {"epochs": "010"}, ("epochs must be a whole number", "not 010")),
    (TRAIN, {"class_weights": "yes"}, ("class_weights must be true or false, not yes",)),
    (TRAIN, {"class_weights": "1"}, ("class_weights must be true or false, not 1",)),
    (DATA, {"name": "010"}, ('name must be in quotes to be text for every program: "010"',)),
    (TUNE, {"space": "[optim.lr]"}, ("space must hold lines of its own", "['optim.lr']")),
    # ranges
    (OPTIM, {"lr": ".nan"}, ("lr must be a finite number, not nan",)),
    (OPTIM, {"weight_decay": ".inf"}, ("weight_decay must be a finite number, not inf",)),
    (OPTIM, {"lr": "1e999"}, ("lr must be a finite number, not inf",)),
    (OPTIM, {"lr": "-0.1"}, ("lr must be above 0, not -0.1",)),
    (OPTIM, {"name": "adamx"}, ("name must be one of adam, adamw, sgd, not 'adamx'",)),
    (MODEL, {"name": "resnt"}, ("name must be one of cnn48, ", "not 'resnt'")),
    (MODEL, {"weights": "imagenet"}, ("weights are of mobilenetv2, timm, not of resnet",)),
    (MODEL, {"name": "timm"}, ("backbone names a model of timm, such as resnet18",)),
    (MODEL, {"name": "mobilenetv2", "input_size": "8"}, ("input_size must be 32 to 512 pixels",)),
    (MODEL, {"name": "mobilenetv2", "weights": "m.pth"}, ("weights_sha256 must be 64 hex", "`sha256sum m.pth`", "''")),
    (MODEL, {"name": "mobilenetv2", "weights": "m.pth", "weights_sha256": "abc"}, ("not 'abc'",)),
    (MODEL, {"name": "mobilenetv2", "weights_sha256": "a" * 64}, ("is of a file, and weights is none; take it out",)),
    (MODEL, {"dropout": "1.0"}, ("dropout is a probability from 0 to below 1",)),
    (TRAIN, {"batch_size": "1"}, ("batch_size must be at least 2, not 1",)),
    (TRAIN, {"seed": "4294967296"}, ("seed must be from 0 to 4294967295",)),
    (TRAIN, {"precision": "fp8"}, ("precision must be one of auto, 32, bf16",)),
    (CROP, {"size": "8"}, ("size must be 16 to 512 pixels, not 8",)),
    (CROP, {"colour": "gray"}, ("colour must be one of rgb, grey, not 'gray'",)),
    (SPLIT, {"train": "0.9"}, ("train, val and test must be above 0 and add up to 1",)),
    (AUGMENT, {"rotate": "200"}, ("rotate must be 0 to 180 degrees",)),
    (EVALUATE, {"bootstrap": "10"}, ("bootstrap must be at least 100",)),
    (REGISTER, {"approve": "never"}, ("approve must be auto or manual, not 'never'",)),
    (DATA, {"name": "a/b"}, ("name must be letters, digits", "not 'a/b'")),
    (DATA, {"name": "bücher"}, ("name must be letters, digits", "not 'bücher'")),
    # what contradicts what
    (DATA, {"source": "exwp"}, ("source 'exwp' is unknown; the sources are expw",)),
    (DATA, {"options": "{delimiter: ','}"}, ("sample.yaml", "options: delimiter: source expw has no such option")),
    (DATA, {"path": "data/expw"}, ("path must be data/sample", "DVC", "not data/expw")),
    (DATA, {"path": "/etc"}, ("path must be data/sample", "not /etc")),
    (DATA, {"path": "data/sample/.."}, ("path must be data/sample", "not data/sample/..")),
    (PARAMS, {"model": "vgg64"}, ("conf/model/vgg64.yaml", "64 pixels in rgb", "conf/crop/grey48.yaml", "size: 48")),
    (PARAMS, {"model": "cnn48", "crop": "rgb64"}, ("conf/model/cnn48.yaml", "conf/crop/rgb64.yaml", "colour: rgb")),
    (OPTIM, {"warmup_epochs": "30"}, ("warmup_epochs: 30 must be less than the epochs: 12", TUNE)),
    (TRAIN, {"epochs": "1"}, (OPTIM, "warmup_epochs: 1 must be less than the epochs: 1", TRAIN)),
    (OPTIM, {"schedule": "constant"}, ("warmup_epochs: 1 belongs to schedule: cosine",)),
    (TRAIN, {"freeze_epochs": "3"}, (MODEL, "freeze_epochs: 3 freezes a backbone, and resnet", "mobilenetv2, timm")),
    (OPTIM, {"backbone_lr": "0.1"}, (MODEL, "backbone_lr: 0.1 is for a backbone, and resnet", "mobilenetv2, timm")),
    (TUNE, {"space": "{}"}, ("space is empty",)),
    (TUNE, {"space": f"{{optim.lrr: {LR}}}"}, (TUNE, "space: there is no optim.lrr", "optim.lr,")),
    (TUNE, {"space": "{optim.lr: {low: 0.1, high: 0.01}}"}, ("optim.lr: low 0.1 is not below high 0.01",)),
    (TUNE, {"space": "{optim.lr: {low: 0.0, high: 0.01, log: true}}"}, ("optim.lr: with log", "above 0")),
    (TUNE, {"space": "{optim.lr: {low: 0.001, hgih: 0.01}}"}, ("optim.lr: say {low: ..., high: ...",)),
    (TUNE, {"space": "{optim.lr: {low: 1_0, high: 0.01}}"}, ("optim.lr: low '1_0'", "must be two numbers")),
    (TUNE, {"space": "{train.batch_size: {low: 16.5, high: 64}}"}, ("train.batch_size: low 16.5", "two numbers like")),
    (TUNE, {"space": "{train.batch_size: {choices: [32, true]}}"}, ("train.batch_size: choice True",)),
    (TUNE, {"space": "{train.batch_size: {choices: [32, 32]}}"}, ("choice 32 stands there twice",)),
    (
        TUNE,
        {"space": "{train.batch_size: {choices: [1, 32]}}"},
        ("batch_size: batch_size must be at least 2",),
    ),
    (TUNE, {"space": "{train.epochs: {low: 1, high: 9}}"}, ("train.epochs changes nothing", "epochs: 12")),
    (TUNE, {"space": "{optim.backbone_lr: {low: 0.1, high: 0.9}}"}, ("optim.backbone_lr changes nothing", MODEL)),
    (TUNE, {"space": "{optim.momentum: {low: 0.1, high: 0.9}}"}, ("optim.momentum changes nothing", OPTIM)),
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


def test_the_configuration_as_it_is_has_no_mistake(root: Path) -> None:
    assert mistakes(root / "params.yaml", root / "conf") == []
    compose("ingest", ["data=sample"], root / "conf")


@pytest.mark.parametrize(("file", "how", "says"), WRONG, ids=[f"{f}-{h}"[:60] for f, h, _ in WRONG])
def test_a_wrong_configuration_is_told_in_one_sentence(
    root: Path, file: str, how: Change, says: tuple[str, ...]
) -> None:
    change(root / file, how)
    told = mistakes(root / "params.yaml", root / "conf")
    assert len(told) == 1
    (sentence,) = told
    assert sentence.endswith(".")
    assert "\n" not in sentence
    named = () if says[0] in sentence and says[0].startswith("conf/") else (Path(file).name,)
    assert not [text for text in (*named, *says) if text not in sentence], sentence
    with pytest.raises(UserError) as stage:  # the first stage knows it too, though it composes one group only
        compose("ingest", [f"data={_data(file, how)}"], root / "conf")
    assert "\n" not in str(stage.value)


def test_there_are_fifty() -> None:
    assert len(WRONG) >= 50


def test_a_folder_in_place_of_a_file_is_named(root: Path) -> None:
    (root / OPTIM).unlink()
    (root / OPTIM).mkdir()
    (told,) = mistakes(root / "params.yaml", root / "conf")
    assert told == f"{OPTIM} is a folder, and must be a file with lines of `key: value`."


def test_a_file_that_cannot_be_read_is_named(root: Path) -> None:
    (root / OPTIM).unlink()
    (root / OPTIM).symlink_to(Path(OPTIM).name)  # to itself: nobody can read it, not even root
    (told,) = mistakes(root / "params.yaml", root / "conf")
    assert told.startswith(f"{OPTIM} cannot be read (too many levels of symbolic links); see that it is a file")


def test_several_mistakes_are_told_at_once(root: Path) -> None:
    change(root / OPTIM, {"lr": "-1"})
    change(root / CROP, {"size": "4"})
    assert [m.split(":")[0] for m in mistakes(root / "params.yaml", root / "conf")] == [CROP, OPTIM]
