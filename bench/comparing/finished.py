"""A finished run as its files tell it: rows, scores, metrics. Nothing is drawn, loaded or imported for it."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pandas import DataFrame

from erasure_bench.bench.reporting.counting import read_scores
from erasure_bench.bench.reporting.metric_record import recorded_metric
from erasure_bench.bench.reporting.reading import read_document
from erasure_bench.bench.reporting.record import failure_of, read_record
from erasure_bench.bench.reporting.results import SCORES
from erasure_bench.bench.reporting.run_file import bound
from erasure_bench.bench.running.failures import Failure
from erasure_bench.errors import BenchError
from erasure_bench.evaluators.base import Metric


@dataclass(frozen=True)
class FinishedRun:
    """`record` is run.json, `document` leaderboard.json, `scores` has the columns `RUN_COLUMNS`."""

    folder: Path
    record: Mapping[str, Any]
    document: Mapping[str, Any]
    scores: DataFrame

    @property
    def methods(self) -> tuple[str, ...]:
        """Its rows, the base model's first."""
        return tuple(self.document["methods"])

    @property
    def baseline(self) -> str:
        return str(self.document["baseline"])

    @property
    def suite(self) -> str:
        """Name and version."""
        return f"{self.record['suite']} {self.record['suite_version']}"

    @cached_property
    def metrics(self) -> dict[str, tuple[Metric, ...]]:
        """By evaluator."""
        return {
            name: tuple(map(recorded_metric, about["metrics"]))
            for name, about in self.document["evaluators"].items()
        }

    @cached_property
    def protocols(self) -> dict[str, str]:
        """By evaluator: the short name of its protocol."""
        return {name: str(about["key"]) for name, about in self.document["evaluators"].items()}

    @cached_property
    def failures(self) -> tuple[Failure, ...]:
        return tuple(map(failure_of, self.record["failures"]))

    @cached_property
    def models(self) -> dict[tuple[str, str, int], str]:
        """The id of each method's, concept's and seed's edited model."""
        return {
            (cell["method"], cell["concept"], cell["seed"]): str(cell["model"])
            for cell in self.record["cells"]
        }


def read_finished(folder: Path) -> FinishedRun:
    """The run in the folder, checked against its digests.

    Raises BenchError where it is none, was changed, or was made before runs said what they measured.
    """
    record, document = read_record(folder), read_document(folder)
    evaluators = document.get("evaluators", {}).values()
    if not all("metrics" in about for about in evaluators) or not all("model" in c for c in record["cells"]):
        raise BenchError(
            f"{folder}: made by an earlier version, which did not write down what its metrics mean; "
            "run the same bench run again: nothing that is in the store is done anew"
        )
    return FinishedRun(folder, record, document, read_scores(bound(folder, record, SCORES), folder / SCORES))
