"""MLflow: a run for the whole and a nested one for each row, where $MLFLOW_TRACKING_URI says, or its default.

Experiment: $MLFLOW_EXPERIMENT_NAME, else `erasure-bench`.
"""

import os
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from erasure_bench.bench.tracking.base import OF_THE_RUN, TrackedRun
from erasure_bench.environment import why_offline
from erasure_bench.errors import BenchError

EXPERIMENT = "erasure-bench"
_LONGEST = 500
"""Characters of a parameter that every MLflow server takes."""
_MOST_PARAMETERS, _MOST_METRICS = 100, 1000
"""Of one call of `log_batch`."""
_QUICKLY = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "15"}
"""A server that is away is noticed in seconds, not in the minutes that MLflow's own settings take."""

_QUIETLY = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_LOGGING_LEVEL": "WARNING"}


class MLflowTracker:
    """Raises BenchError where the tracking server is on the network and the run is to stay off it."""

    def __init__(self) -> None:
        for name, value in {**_QUICKLY, **_QUIETLY}.items():
            os.environ.setdefault(name, value)
        from mlflow.tracking import MlflowClient, get_tracking_uri

        uri = get_tracking_uri()
        if why_offline() and not uri.startswith(("file:", "sqlite:", "/", ".")):
            raise BenchError(
                f"--track mlflow: {uri} is on the network, and {why_offline()} (MLFLOW_TRACKING_URI)"
            )
        self._client: Any = MlflowClient()
        self._runs: dict[str, str] = {}

    def begin(self, run: TrackedRun) -> None:
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", EXPERIMENT)
        found = self._client.get_experiment_by_name(name)
        experiment = found.experiment_id if found else self._client.create_experiment(name)
        whole = self._open(experiment, run.name, run.settings, {})
        self._runs[OF_THE_RUN] = whole
        for row, settings in run.rows.items():
            self._runs[row] = self._open(experiment, row, settings, {"mlflow.parentRunId": whole})

    def log(self, row: str, values: Mapping[str, float], step: int) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [Metric(_plain(name), value, now, step) for name, value in values.items()]
        for start in range(0, len(metrics), _MOST_METRICS):
            self._client.log_batch(self._runs[row], metrics=metrics[start : start + _MOST_METRICS])

    def keep(self, file: Path) -> None:
        self._client.log_artifact(self._runs[OF_THE_RUN], str(file))

    def end(self, *, well: bool) -> None:
        for run in reversed(self._runs.values()):
            self._client.set_terminated(run, "FINISHED" if well else "KILLED")

    def _open(self, experiment: str, name: str, settings: Mapping[str, str], tags: Mapping[str, str]) -> str:
        run: str = self._client.create_run(experiment, run_name=name, tags=dict(tags)).info.run_id
        parameters = list(_parameters(settings))
        for start in range(0, len(parameters), _MOST_PARAMETERS):
            self._client.log_batch(run, params=parameters[start : start + _MOST_PARAMETERS])
        return run


def _parameters(settings: Mapping[str, str]) -> Iterator[Any]:
    from mlflow.entities import Param

    for name, text in settings.items():
        yield Param(_plain(name), text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…")


def _plain(name: str) -> str:
    """With the characters that MLflow takes in names."""
    return re.sub(r"[^\w\-. /]", "_", name)
