"""A cross-data-set result as metrics of the run that made the model, where the MLflow UI compares runs."""

import time
from typing import Final

from mien.crossdata.evaluate import CrossEvaluation

MEASURES: Final = ("accuracy", "unweighted_average_recall", "macro_f1", "ece", "nll")


def publish_cross(cross: CrossEvaluation) -> str:
    """Log `cross/DATA/accuracy` and others to the run of a registered model; what went wrong, or nothing.

    A model that is not registered has no run, and nothing is logged. The files hold the result either way, so a store
    that fails is no error.
    """
    if cross.model.run_id is None:
        return ""
    from mlflow.entities import Metric

    from mien.tracking.failure import first_line
    from mien.tracking.store import connect

    overall, now = cross.evaluation.whole.intervals.overall, int(time.time() * 1000)
    values = {name: overall[name].value for name in MEASURES} | {"faces": float(cross.evaluation.whole.faces)}
    prefix = f"cross/{cross.data.name}"
    try:
        connect().log_batch(cross.model.run_id, [Metric(f"{prefix}/{k}", v, now, 0) for k, v in values.items()])
    # Whatever goes wrong in the store is no reason to lose a report that is written.
    except Exception as error:
        return f"the tracking store failed ({first_line(error)}), so the result is not among the run's metrics."
    return ""
