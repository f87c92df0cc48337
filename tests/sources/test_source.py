from pathlib import Path

import pytest
import yaml

from mien.base.errors import UserError
from mien.sources.source import DataConfig, get_source, source_class, source_names

CONF = Path(__file__).resolve().parents[2] / "conf/data"


def data_set(source: str, **options: object) -> DataConfig:
    return DataConfig(name="mine", source=source, path="data/mine", options=options)


def test_a_module_is_a_source_where_it_says_so() -> None:
    assert "expw" in source_names()
    assert not {"archive", "photos", "table"} & set(source_names())


@pytest.mark.parametrize("name", source_names())
def test_every_source_says_what_it_expects_and_has_a_data_set(name: str) -> None:
    assert len(source_class(name).expects) > 20
    data_sets = [yaml.safe_load(file.read_text()) for file in CONF.glob("*.yaml")]
    assert name in {data["source"] for data in data_sets}


@pytest.mark.parametrize("file", sorted(CONF.glob("*.yaml")), ids=lambda file: file.stem)
def test_every_data_set_gets_its_source(file: Path) -> None:
    data = DataConfig(**yaml.safe_load(file.read_text()))
    assert isinstance(get_source(data), source_class(data.source))
    assert (data.name, data.path) == (file.stem, f"data/{file.stem}")


@pytest.mark.parametrize("name", ["imagenet", "archive", "", "expw.ExpW", "../expw"])
def test_an_unknown_source_names_those_there_are(name: str) -> None:
    with pytest.raises(UserError, match=rf"source '{name}' is unknown; the sources are .*expw"):
        get_source(data_set(name))


def test_an_option_that_the_source_lacks_is_refused() -> None:
    with pytest.raises(UserError, match=r"data set mine: options: there is no key 'votes'; it takes none"):
        get_source(data_set("expw", votes="soft"))
