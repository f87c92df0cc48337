"""The view of an experiment that the MLflow UI offers under "Views": the best runs first, with scores and outcome.

MLflow 3.17 keeps a saved view as a tag of the experiment: JSON with a name and the page's state, which is compressed.
Without one its table of runs shows neither scores nor outcomes.
"""

import base64
import json
import time
import zlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

TAG: Final = "mlflow.sharedViewState.mien"
NAME: Final = "Best first, with intervals and outcome"
COLUMNS: Final = (
    "metrics.`test/accuracy`",
    "metrics.`test/interval/accuracy_low`",
    "metrics.`test/interval/accuracy_high`",
    "tags.`mien.alias`",
    "tags.`mien.outcome`",
    "params.`choice.model`",
    "params.`optim.lr`",
)
# All that the page keeps, as MLflow's own "Save as new view" writes it.
STATE: Final[dict[str, Any]] = {
    "searchFilter": "tags.`mien.kind` = 'training'",
    "orderByKey": "metrics.`test/accuracy`",
    "orderByAsc": False,
    "startTime": "ALL",
    "lifecycleFilter": "Active",
    "datasetsFilter": [],
    "modelVersionFilter": "All Runs",
    "selectedColumns": list(COLUMNS),
    "columnOrder": [],
    "columnWidths": {},
    "runsHiddenMode": "FIRST_10_RUNS",
    "viewMaximized": False,
    "runListHidden": False,
    "isAccordionReordered": False,
    "useGroupedValuesInCharts": True,
    "hideEmptyCharts": True,
    "groupBy": None,
    "groupsExpanded": {},
    "globalLineChartConfig": {"xAxisKey": "step", "lineSmoothness": 0, "selectedXAxisMetricKey": ""},
}


def view_tag() -> dict[str, str]:
    """The tag that makes the view."""
    packed = base64.b64encode(zlib.compress(json.dumps(STATE).encode())).decode("ascii")
    now = int(time.time() * 1000)
    return {TAG: json.dumps({"name": NAME, "createdAt": now, "updatedAt": now, "state": f"deflate;{packed}"})}


def offer_view(client: "MlflowClient", experiment: str) -> None:
    """Add the view to an experiment of this name that was made without it; it replaces nobody's."""
    found = client.get_experiment_by_name(experiment)
    if found is not None and TAG not in found.tags:
        for key, value in view_tag().items():
            client.set_experiment_tag(found.experiment_id, key, value)
