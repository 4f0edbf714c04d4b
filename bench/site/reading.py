"""A finished run as a report shows it: from its folder's files alone, checked against their digests."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pandas import DataFrame

from erasure_bench.bench.reporting.counting import read_scores
from erasure_bench.bench.reporting.metric_record import recorded_metric
from erasure_bench.bench.reporting.prompt_list import read_prompts
from erasure_bench.bench.reporting.reading import read_document, whole_row
from erasure_bench.bench.reporting.record import read_record
from erasure_bench.bench.reporting.results import SCORES
from erasure_bench.bench.reporting.run_file import RUN, bound
from erasure_bench.errors import BenchError
from erasure_bench.evaluators.base import Metric
from erasure_bench.prompt_suites.registry import load_suite, suite_names

Json = Mapping[str, Any]


@dataclass(frozen=True)
class ReportedRun:
    """`record` is run.json, `document` what leaderboard.json holds, its rows with all of their columns.

    `scores` has the columns of `bench.reporting.scores.RUN_COLUMNS`, `prompts` each prompt's text by its id.
    """

    folder: Path
    record: Json
    document: Json
    scores: DataFrame
    prompts: Mapping[str, str]

    @property
    def name(self) -> str:
        """What the run's folder is called."""
        return self.folder.resolve().name

    @cached_property
    def metrics(self) -> dict[tuple[str, str], Metric]:
        """By evaluator and name; none that an earlier version did not write down."""
        return {
            (evaluator, metric["name"]): recorded_metric(metric)
            for evaluator, about in self.document["evaluators"].items()
            for metric in about.get("metrics", ())
        }

    @cached_property
    def unsafe_concepts(self) -> frozenset[str]:
        """The concepts whose pictures are not to be shown unasked, by the names of their cases."""
        return frozenset(
            name
            for name, case in self.record.get("concept_definitions", {}).items()
            if any(concept["kind"] == "unsafe" for concept in case["erased"])
        )


def run_folders(place: Path) -> list[Path]:
    """The run that lies in a folder, else those that lie in the folders in it, by name."""
    if (place / RUN).is_file():
        return [place]
    return sorted(file.parent for file in place.glob(f"*/{RUN}"))


def read_reported(folder: Path) -> ReportedRun:
    """The run in the folder.

    Raises BenchError where it is none or was changed after it was written.
    """
    record = read_record(folder)
    document = read_document(folder)
    document = {**document, "rows": [whole_row(row) for row in document["rows"]]}
    scores = read_scores(bound(folder, record, SCORES), folder / SCORES)
    return ReportedRun(folder, record, document, scores, _prompts(folder, record))


def _prompts(folder: Path, record: Json) -> dict[str, str]:
    """The run's own list; else the texts of a registered suite of the same version, if its data are here."""
    if found := read_prompts(folder, record):
        return found
    config = record["config"]
    if config["suite"] not in suite_names() or config.get("transform"):
        return {}
    try:
        suite = load_suite(config["suite"], options=config["suite_options"])
    except BenchError:
        return {}
    if suite.version != record["suite_version"]:
        return {}
    return {prompt.id: prompt.text for prompts in suite.prompts.values() for prompt in prompts}


def slugs(names: Iterable[str]) -> list[str]:
    """Names for files and addresses: letters, digits and hyphens, no two alike."""
    found: list[str] = []
    for name in names:
        plain = "-".join("".join(c if c.isascii() and c.isalnum() else " " for c in name.lower()).split())
        number, own = 1, plain[:60] or "run"
        while own in found:
            number += 1
            own = f"{plain[:60] or 'run'}-{number}"
        found.append(own)
    return found
