"""A search that several workers share: in a journal, sqlite and PostgreSQL, with kills and a restart."""

import contextlib
import dataclasses
import pickle
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy
from optuna.trial import BaseTrial, FrozenTrial, TrialState

from mien.base.errors import UserError
from mien.base.listener import Listener
from mien.search import storage
from mien.search.space import search_space
from mien.search.storage import PLACE, Home
from mien.search.study import join, open_study, search, trial_row
from tests.search.test_study import CONFIG, ENVIRONMENT, OWN, RECIPE, SPACE, Trials, valley
from tests.servers import postgresql, wait_until
from tests.stores import migrated

ABOUT = {"code": "c0de", "optim.lr": 0.001}
SPREAD = search_space(SPACE, RECIPE)
FEW = dataclasses.replace(CONFIG, trials=3)


@pytest.fixture(params=["journal", "sqlite", "postgresql"])
def home(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Home]:
    with contextlib.ExitStack() as during:
        addresses = {"journal": f"{tmp_path}/a ü.log", "sqlite": f"sqlite:///{tmp_path}/a.db"}
        address = addresses.get(request.param) or during.enter_context(postgresql())
        yield Home(address, "mien-x", shared=True, about=ABOUT)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in {"BEAT": 1, "GRACE": 2, "PAUSE": 0.2}.items():
        monkeypatch.setattr(storage, name, seconds)


def all_trials(home: Home) -> list[FrozenTrial]:
    return open_study(home, CONFIG).get_trials(deepcopy=False)


def agree(home: Home, trials: int) -> None:
    """Exactly so many trials count, each in its place, with the value of its values, and none is left over."""
    found = all_trials(home)
    ended = [trial for trial in found if trial.state in (TrialState.COMPLETE, TrialState.PRUNED)]
    assert sorted(trial.user_attrs[PLACE] for trial in ended) == list(range(trials))
    assert {trial.state for trial in found} <= {TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL}
    assert len({str(trial.params) for trial in ended}) == trials  # no two workers drew the same
    for trial in ended:
        if trial.state == TrialState.COMPLETE:
            assert trial.value == valley(optuna.trial.FixedTrial(trial.params), trial.params)


WORKER = """
import pickle, sys, time
from pathlib import Path
from mien.search import storage, study
from mien.base.listener import Listener
from tests.search.test_study import valley
storage.BEAT, storage.GRACE, storage.PAUSE = 1, 4, 0.5
def slow(trial, values):
    Path(sys.argv[2], f"{sys.argv[1]}-{trial.number}").touch()
    while sys.argv[1] == "killed" or not list(Path(sys.argv[2]).glob("killed-*")):
        time.sleep(0.1)
    time.sleep(0.5)
    return valley(trial, values)
if __name__ == "__main__":
    space, own, config, home = pickle.loads(bytes.fromhex(sys.argv[3]))
    if sys.argv[1] == "stage":
        study.search(slow, space, own, config, home, Listener())
    else:
        study.join(slow, space, config, home)
"""


@pytest.mark.slow  # three processes import PyTorch, for each storage
def test_a_killed_workers_trial_is_repeated_and_all_that_were_asked_for_end(home: Home, tmp_path: Path) -> None:
    (tmp_path / "worker.py").write_text(WORKER)
    given = pickle.dumps((SPREAD, OWN, CONFIG, home)).hex()

    def start(name: str) -> "subprocess.Popen[bytes]":
        return subprocess.Popen([sys.executable, tmp_path / "worker.py", name, tmp_path, given], env=ENVIRONMENT)

    def begun(name: str) -> list[int]:
        return [int(file.name.rpartition("-")[2]) for file in tmp_path.glob(f"{name}-*")]

    stage = start("stage")
    wait_until(lambda: bool(begun("stage")), 300)
    killed, other = start("killed"), start("other")
    wait_until(lambda: bool(begun("killed")), 300)  # a busy machine takes a minute to import PyTorch
    killed.kill()
    if home.address.startswith("postgresql"):
        wait_until(lambda: len(begun("stage")) > 1)
        end_all_connections(home.address)
    assert (stage.wait(300), other.wait(300), killed.wait()) == (0, 0, -signal.SIGKILL)
    agree(home, 9)
    lost = all_trials(home)[begun("killed")[0]]
    tries = [trial for trial in all_trials(home) if trial.user_attrs.get(PLACE) == lost.user_attrs[PLACE]]
    assert [trial.state == TrialState.FAIL for trial in tries] == [True, False]
    assert tries[0].params == tries[1].params


def end_all_connections(address: str) -> None:
    """As a restart does."""
    with sqlalchemy.create_engine(address).connect() as server:
        ours = (
            "select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid() and usename = 'mien'"
        )
        server.execute(sqlalchemy.text(ours))


def test_workers_that_begin_at_once_do_not_overshoot(home: Home, quick: None) -> None:
    heard, config = Trials(), dataclasses.replace(CONFIG, trials=8)
    stage = threading.Thread(target=search, args=(valley, SPREAD, OWN, config, home, heard))
    stage.start()
    wait_until(lambda: bool(optuna.get_all_study_names(storage.open_storage(home))) and bool(all_trials(home)))
    others = [threading.Thread(target=join, args=(valley, SPREAD, config, home)) for _ in range(4)]
    for worker in others:
        worker.start()
    for worker in (stage, *others):
        worker.join(60)
    agree(home, 8)
    ended = {trial.user_attrs[PLACE]: trial for trial in all_trials(home) if trial.state != TrialState.FAIL}
    assert sorted(heard.rows, key=lambda row: row["number"]) == [trial_row(i, ended[i]) for i in range(8)]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("no memory")])
def test_the_trial_of_a_worker_that_ends_by_itself_is_repeated_at_once(home: Home, error: BaseException) -> None:
    def objective(trial: BaseTrial, values: dict[str, Any]) -> float:
        raise error

    with pytest.raises(type(error)):
        search(objective, SPREAD, OWN, FEW, home, Listener())
    assert search(valley, SPREAD, OWN, FEW, home, Listener())[0].params == OWN
    agree(home, 3)
    assert [trial.state == TrialState.FAIL for trial in all_trials(home)] == [True, False, False, False]


@pytest.mark.parametrize("error", [None, KeyboardInterrupt(), RuntimeError("no memory")])
def test_a_worker_that_was_taken_for_dead_hands_no_trial_back(home: Home, quick: None, error: Exception | None) -> None:
    lost = []

    def objective(trial: BaseTrial, values: dict[str, Any]) -> float:
        if trial.number == 1:  # as another worker does
            other = open_study(home, FEW)
            storage.repeat(other, other.trials[1])
            other.tell(1, state=TrialState.FAIL)
            lost.append(values)
            if error:
                join(valley, SPREAD, FEW, home)
                raise error
        return valley(trial, values)

    with pytest.raises(type(error)) if error else contextlib.nullcontext():
        search(objective, SPREAD, OWN, FEW, home, Listener())
    agree(home, 3)
    assert lost == [trial.params for trial in all_trials(home)[2:] if trial.user_attrs[PLACE] == 1]


def test_one_that_was_killed_before_its_first_heartbeat_is_repeated(home: Home, quick: None) -> None:
    search(valley, SPREAD, OWN, dataclasses.replace(FEW, trials=2), home, Listener())
    begun = open_study(home, FEW)
    begun._storage.create_new_trial(begun._study_id)
    search(valley, SPREAD, OWN, FEW, home, Listener())
    agree(home, 3)


def test_another_search_is_not_joined_and_the_sentence_says_what_differs(home: Home, quick: None) -> None:
    with pytest.raises(UserError, match=r"no search has begun in .*; `dvc repro` on one machine begins it"):
        join(valley, SPREAD, CONFIG, home)
    search(valley, SPREAD, OWN, FEW, home, Listener())
    other = dataclasses.replace(home, name="mien-y", about={**ABOUT, "code": "0dd", "optim.momentum": 0.9})
    says = "code is c0de there and 0dd here; optim.momentum is None there and 0.9 here"
    with pytest.raises(UserError, match=says):
        join(valley, SPREAD, CONFIG, other)


def test_a_database_that_fails_meanwhile_is_one_sentence(tmp_path: Path) -> None:
    home, other = Home(f"sqlite:///{tmp_path}/a.db", shared=True), sqlite3.connect(tmp_path / "a.db")
    with pytest.raises(UserError, match=r"^tune: \S+ failed \(\(sqlite3.*no such table: trials\); the same .*\.$"):
        search(lambda *_: other.execute("drop table trials").rowcount, SPREAD, OWN, FEW, home, Listener())


def test_mlflows_database_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copyfile(migrated(), tmp_path / "used.db")
    new = f"sqlite:///{tmp_path}/new.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", new)
    for address in (f"sqlite:///{tmp_path}/used.db", new):
        with pytest.raises(UserError, match=f"{address} is MLflow's, .* make another database"):
            open_study(Home(address, shared=True), CONFIG)


@pytest.mark.parametrize(
    "address",
    [
        "postgresql+psycopg2://mien:secret@127.0.0.1:1/none",
        "postgresql+psycopg2://mien:secret@127.0.0.1:port/none",
        "postgresql://mien:se/cret?@127.0.0.1/none",
        "other://mien:secret@host/none?password=secret",
        "sqlite:////no/such/folder/s{1}.db",
        "/no/such/folder/journal.log",
    ],
)
def test_a_storage_that_cannot_be_used_is_one_sentence_without_its_password(address: str) -> None:
    with pytest.raises(UserError, match=r"^MIEN_TUNE_STORAGE: \S+ cannot be used \(.*\); set /FOLDER/FILE") as refused:
        open_study(Home(address, shared=True), CONFIG)
    assert "cret" not in str(refused.value) and "\n" not in str(refused.value)


def test_another_file_that_the_variable_names_by_mistake_stays_as_it_is(tmp_path: Path) -> None:
    (file := tmp_path / "search.db").write_bytes(content := b"SQLite format 3\0\nand no newline at its end")
    with pytest.raises(UserError, match=r"^MIEN_TUNE_STORAGE: .*search.db is no journal of a search"):
        open_study(Home(str(file), shared=True), CONFIG)
    assert file.read_bytes() == content
