"""Where a search keeps its trials: a journal of its own, or MIEN_TUNE_STORAGE, a journal or database for many workers.

In a shared storage workers send heartbeats, and a trial without one for GRACE seconds is failed and repeated by whoever
is free.
"""

import json
import os
import re
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import optuna
import sqlalchemy
from optuna.exceptions import ExperimentalWarning, OptunaError
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages._heartbeat import BaseHeartbeat
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from mien.base.errors import UserError

STORAGE: Final = "MIEN_TUNE_STORAGE"
JOURNAL: Final = "journal.log"
BEAT, GRACE = 15, 120  # seconds from heartbeat to heartbeat, and until a trial without one is taken for dead
PAUSE, RESTART = 2, 600  # seconds between two looks at the others' trials, and in which a database must be back
PLACE: Final = "mien.place"  # a user attribute: how many trials counted before this one, or the one that it repeats
VALUES: Final = "mien.values"  # a user attribute: all values of a trial, also of the one that it repeats
ENDED: Final = (TrialState.COMPLETE, TrialState.PRUNED)


@dataclass(frozen=True)
class Home:
    """Where a study is: in a journal or a database, which workers may share that agree on what it is `about`."""

    address: str
    name: str = "mien"
    shared: bool = False
    about: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, folder: Path, key: str, about: Mapping[str, Any]) -> "Home":
        """MIEN_TUNE_STORAGE, with the study of this key in it, or else a journal in this folder."""
        if address := os.environ.get(STORAGE):
            return cls(address, f"mien-{key}", shared=True, about=json.loads(json.dumps(about)))  # as a storage has it
        return cls(str(folder / JOURNAL))

    def __str__(self) -> str:
        return re.sub("//.*@", "//", self.address).partition("?")[0]  # without a password


def open_storage(home: Home) -> BaseStorage:
    """Optuna's storage at this address; a UserError where it cannot be used."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore", ExperimentalWarning)  # of heartbeats
    with storage_errors(home):
        return _database(home) if "://" in home.address else _journal(home)


@contextmanager
def storage_errors(home: Home) -> Iterator[None]:
    """A UserError for what a storage raises that is damaged or cannot be reached."""
    try:
        yield
    except UserError:  # a ValueError too, which says already what is wrong
        raise
    except (ImportError, SQLAlchemyError, OptunaError, RuntimeError, OSError, ValueError, KeyError) as error:
        if "://" not in home.address and isinstance(error, ValueError | KeyError):
            raise UserError(f"the study's journal {home} is damaged ({error}); delete it to search anew.") from error
        if not home.shared:
            raise
        said = "no address" if isinstance(error, ValueError) else str(error).strip().partition("\n")[0]
        todo = "set /FOLDER/FILE, sqlite:////FOLDER/FILE, or postgresql+psycopg2://HOST/NAME (extra postgresql)"
        raise UserError(f"{STORAGE}: {home} cannot be used ({said}); {todo}.") from None


def reason(error: BaseException) -> str:
    """What the database said at last, of an error that may come from another process."""
    said = re.findall(r"^sqlalchemy\.exc\.\w+: (.*)", "".join(traceback.format_exception(error)), re.MULTILINE)
    return said[-1] if said else str(error)


def _database(home: Home) -> BaseStorage:
    engine = sqlalchemy.create_engine(home.address)
    tracks = home.address == os.environ.get("MLFLOW_TRACKING_URI")
    if tracks or sqlalchemy.inspect(engine).has_table("registered_models"):
        raise UserError(f"{STORAGE}: {home} is MLflow's, whose tables clash with Optuna's; make another database.")
    engine.dispose()
    patience = {"connect_args": {"timeout": 60}} if engine.name == "sqlite" else {}  # seconds, with other workers
    beats: Any = {"heartbeat_interval": BEAT, "grace_period": GRACE, "heartbeat_stale_trial_callback": repeat}
    options: dict[str, Any] = {"engine_kwargs": {"pool_pre_ping": True, **patience}, **beats}
    address = home.address.replace("{", "{{").replace("}", "}}")  # which Optuna formats
    try:
        storage = RDBStorage(address, **options)
    except SQLAlchemyError:  # another worker makes the tables at this moment
        time.sleep(PAUSE)
        storage = RDBStorage(address, **options)

    @sqlalchemy.event.listens_for(storage.engine, "do_connect")
    def connect(dialect: Any, _: Any, arguments: Any, keywords: Any) -> Any:
        end = time.monotonic() + RESTART
        while time.monotonic() < end:
            with suppress(dialect.dbapi.OperationalError):
                return dialect.connect(*arguments, **keywords)
            time.sleep(PAUSE)
        return dialect.connect(*arguments, **keywords)

    return storage


def _journal(home: Home) -> BaseStorage:
    backend = JournalFileBackend(home.address, _MendingLock(home.address))
    content = Path(home.address).read_bytes()
    if home.shared and content and not content.startswith(b'{"op_code":'):
        raise UserError(f"{STORAGE}: {home} is no journal of a search, and stays as it is; name a new file.")
    return _BeatingJournal(backend, Path(f"{home.address}.beats")) if home.shared else JournalStorage(backend)


class _MendingLock(JournalFileOpenLock):
    """A journal's lock, which first removes what a full disk or a power cut broke off: it would spoil what follows."""

    def __init__(self, journal: str) -> None:
        super().__init__(journal, grace_period=3)  # older than 3 seconds is a dead process's: no write takes that long
        self._journal = Path(journal)

    def acquire(self) -> bool:
        taken = super().acquire()
        if not (content := self._journal.read_bytes()).endswith(b"\n"):
            os.truncate(self._journal, content.rfind(b"\n") + 1)
        return taken


class _BeatingJournal(JournalStorage, BaseHeartbeat):
    """A journal with heartbeats: a file of each trial, as old as the clock of the folder's own machine says."""

    def __init__(self, backend: JournalFileBackend, beats: Path) -> None:
        super().__init__(backend)
        self._beats = beats
        beats.mkdir(exist_ok=True)

    def record_heartbeat(self, trial_id: int) -> None:
        (self._beats / str(trial_id)).touch()

    def _get_stale_trial_ids(self, study_id: int) -> list[int]:
        def beaten(trial_id: int) -> float:
            with (self._beats / str(trial_id)).open("a") as file:  # opened, a network's file shows its present time
                return os.fstat(file.fileno()).st_mtime

        self.record_heartbeat(now := -1)
        running = self.get_all_trials(study_id, deepcopy=False, states=(TrialState.RUNNING,))
        return [trial._trial_id for trial in running if beaten(now) - beaten(trial._trial_id) > GRACE]

    def get_heartbeat_interval(self) -> int:
        return BEAT

    def get_heartbeat_stale_trial_callback(self) -> Callable[[optuna.Study, FrozenTrial], None]:
        return repeat


def trials_of(study: optuna.Study, *states: TrialState) -> list[FrozenTrial]:
    """The trials in these states, which must not be changed."""
    return study.get_trials(deepcopy=False, states=states)


def count_before(study: optuna.Study, number: int) -> int:
    """How many trials before this one count: those that have ended, run, or wait to repeat another."""
    trials = trials_of(study, *ENDED, TrialState.RUNNING, TrialState.WAITING)
    return sum(trial.number < number for trial in trials)


def repeat(study: optuna.Study, trial: FrozenTrial) -> None:
    """Queue a killed trial, in its place and, unless it was killed while they were drawn, with its values."""
    place, values = trial.user_attrs.get(PLACE, count_before(study, trial.number)), trial.user_attrs.get(VALUES, {})
    if place not in [waiting.user_attrs[PLACE] for waiting in trials_of(study, TrialState.WAITING)]:
        study.enqueue_trial(values, user_attrs={PLACE: place, VALUES: values})
