"""Which run a person means: an id or its beginning, a name, a registered version, or a folder."""

import difflib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mien.comparison.folder import read_folder
from mien.comparison.stored import SHORT, read_run
from mien.comparison.subject import Subject
from mien.errors import UserError
from mien.registry.promotion import registry
from mien.tracking.store import URI, database_file

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.tracking import MlflowClient

ALIAS: Final = re.compile(r"(models:/)?(?P<name>[^/@]+)@(?P<alias>[^/@]+)")
VERSION: Final = re.compile(r"models:/(?P<name>[^/@]+)/(?P<version>\d+)")
ID: Final = re.compile(r"[0-9a-f]{1,32}")
FORMS: Final = "a run's id or its beginning, a run's name, models:/NAME/VERSION, NAME@ALIAS, or a checkout's folder"
SHOWN: Final = 5  # of the runs that a person may have meant


def find_subject(said: str) -> Subject:
    """The run that a person means, with all that is compared.

    Raises:
        UserError: there is none, or more than one, or it was not evaluated, or the store fails.
    """
    if Path(said).is_dir():
        return read_folder(Path(said))
    store = os.environ.get(URI, "")
    if (file := database_file(store)) and not file.exists():
        raise UserError(f"there is no run {said!r}: nothing has been tracked in {file}; run `make repro`.")
    with registry(said) as client:
        if match := ALIAS.fullmatch(said) or VERSION.fullmatch(said):
            return read_run(client, _run_of_version(client, said, **match.groupdict()), said)
        if run := _find(client, said):
            return read_run(client, run, said)
        raise UserError(f"there is no run {said!r}{_near(client, said)}; name {FORMS}.")


def _run_of_version(client: "MlflowClient", said: str, name: str, alias: str = "", version: str = "") -> "Run":
    from mlflow.exceptions import MlflowException

    try:
        found: ModelVersion = (
            client.get_model_version_by_alias(name, alias) if alias else client.get_model_version(name, version)
        )
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
        raise UserError(f"there is no {said}; {_registered(client, name)}.") from error
    if not found.run_id:
        raise UserError(f"{said} was registered without a run, so its predictions are not known.")
    return client.get_run(found.run_id)


def _registered(client: "MlflowClient", name: str) -> str:
    models = {model.name: model for model in client.search_registered_models()}
    if name not in models:
        return f"the registered models are {', '.join(sorted(models)) or 'none'}"
    versions = sorted(int(v.version) for v in client.search_model_versions(f"name = '{name}'"))
    aliases = ", ".join(sorted(models[name].aliases)) or "none"
    return f"{name} has the versions {', '.join(map(str, versions)) or 'none'} and the aliases {aliases}"


def _find(client: "MlflowClient", said: str) -> "Run | None":
    """The run with this id, with an id that begins so, or with this name; None where there is none."""
    if ID.fullmatch(said) and (found := _search(client, f"attributes.run_id LIKE '{said}%'")):
        return _only(found, f"{said!r} begins the ids of")
    if "'" not in said and (found := _search(client, f"attributes.run_name = '{said}'")):
        return _only(found, f"{said!r} is the name of")
    return None


def _only(found: "list[Run]", what: str) -> "Run":
    if len(found) == 1:
        return found[0]
    names = ", ".join(f"{run.info.run_id[:SHORT]} ({run.info.run_name})" for run in found[:SHOWN])
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    raise UserError(f"{what} {len(found)} runs: {names}{more}; say one by its id.")


def _search(client: "MlflowClient", text: str) -> "list[Run]":
    experiments = [one.experiment_id for one in client.search_experiments()]
    found: list[Run] = []
    page = client.search_runs(experiments, text, max_results=1000)
    found.extend(page)
    while page.token:
        page = client.search_runs(experiments, text, max_results=1000, page_token=page.token)
        found.extend(page)
    return found


def _near(client: "MlflowClient", said: str) -> str:
    """The trainings whose ids or names resemble what was said, as half a sentence."""
    runs = _search(client, "tags.`mien.kind` = 'training'")
    if not runs:
        return ", and no training in the store"
    by_word = {word: run for run in runs for word in (run.info.run_id[:SHORT], str(run.info.run_name))}
    near = difflib.get_close_matches(said, by_word, n=SHOWN, cutoff=0.4)
    chosen = [by_word[word] for word in near] or runs[:SHOWN]
    names = ", ".join(dict.fromkeys(f"{run.info.run_id[:SHORT]} ({run.info.run_name})" for run in chosen))
    return f"; {'the nearest' if near else 'the newest'}: {names}"
