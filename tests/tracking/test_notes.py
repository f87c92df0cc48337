"""Descriptions for people, in a real store."""

import json
from pathlib import Path

from mien.tracking.publish import sync, training_note
from mien.tracking.runs import find_run, with_section
from mien.tracking.store import NOTE, connect, find_experiment


def note() -> str:
    run = find_run(connect(), "tiny", "d1")
    assert run is not None
    return str(run.data.tags[NOTE])


def test_a_run_says_what_it_is_with_its_accuracy_first(trained: Path) -> None:
    sync(trained)
    assert [line for line in note().splitlines() if line.startswith("### ")] == [
        "### Test set",
        "### Training",
        "### Search",
    ]
    assert "**Accuracy 60.0 % (50.0 to 70.0)**, 95 % interval, on 90 faces" in note()
    assert "accuracy 55.0 % (40.0 to 70.0)" in note()
    assert "`optim.lr`: 0.003 from the search, in place of 0.01" in note()
    assert "2 trials (the child runs), 1 of them stopped early." in note()


def test_a_later_sync_renews_its_sections_and_keeps_what_a_person_wrote(trained: Path) -> None:
    sync(trained)
    before = note()
    run = find_run(connect(), "tiny", "d1")
    assert run is not None
    connect().set_tag(run.info.run_id, NOTE, f"Ada: keep this one.\n\n{before}\n\n### Ours\nmore")
    sync(trained)
    assert note() == f"Ada: keep this one.\n\n{before}\n\n### Ours\nmore"
    metrics = json.loads((trained / "reports/metrics.json").read_text())
    metrics["accuracy"]["value"] = 0.65
    (trained / "reports/metrics.json").write_text(json.dumps(metrics))
    sync(trained)
    assert note().startswith("Ada: keep this one.") and "**Accuracy 65.0 %" in note() and note().endswith("more")


def test_a_search_may_overrule_words() -> None:
    overruled = {"optim.name": {"config": "adam", "search": "sgd"}, "model.width": {"config": 16, "search": 32}}
    text = training_note(
        {"model": "m", "parameters": 1, "precision": "32", "data": "d", "search": {"overruled": overruled}}
    )
    assert "`optim.name`: sgd from the search, in place of adam" in text
    assert "`model.width`: 32 from the search, in place of 16" in text


def test_sections_have_one_order_whoever_writes_first() -> None:
    one = with_section(with_section("", "Search", "s"), "Registered", "r")
    other = with_section(with_section("", "Registered", "r"), "Search", "s")
    assert one == other == "### Registered\nr\n\n### Search\ns"
    assert with_section(one, "Search", "s") == one


def test_an_experiment_says_what_it_is(checkout: Path) -> None:
    assert "mien-tiny" in find_experiment(connect(), "tiny").tags[NOTE]
