"""The aliases of versions, said on their runs too: the table of runs knows nothing of the registry's aliases."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

ALIAS: Final = "mien.alias"
GONE: Final = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")  # a version or run that a person deleted


def mark_runs(client: "MlflowClient", name: str, versions: Iterable[int | None]) -> None:
    """Let the runs of these versions say which aliases the versions carry now; what a person deleted is passed over."""
    from mlflow.exceptions import MlflowException

    for version in sorted({one for one in versions if one is not None}):
        try:
            _mark(client, name, version)
        except MlflowException as error:
            if error.error_code not in GONE:
                raise


def _mark(client: "MlflowClient", name: str, version: int) -> None:
    found = client.get_model_version(name, str(version))
    if not found.run_id:
        return
    aliases = ", ".join(sorted(found.aliases))
    said = client.get_run(found.run_id).data.tags.get(ALIAS, "")
    if aliases and aliases != said:
        client.set_tag(found.run_id, ALIAS, aliases)
    elif said and not aliases:
        client.delete_tag(found.run_id, ALIAS)
