"""All scores of a run in one tidy table, and what the work cost, both read from the store."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pandas import DataFrame

from erasure_bench.bench.identity.ids import content_id
from erasure_bench.bench.planning.plan import Plan
from erasure_bench.bench.planning.tasks import ScoreTask
from erasure_bench.bench.running.pictures import picture_names
from erasure_bench.bench.running.scoring import SCORES_FILE
from erasure_bench.bench.storage.store import Store
from erasure_bench.evaluators.base import SCORE_COLUMNS, Metric
from erasure_bench.evaluators.score_frames import WrongScores, checked_frame, is_checked

RUN_COLUMNS = (
    "method",
    "concept",
    "seed",
    "role",
    "evaluator",
    "evaluator_protocol",
    "repeated",
    *SCORE_COLUMNS,
)
"""Columns of `scores.parquet`: `evaluator_protocol` as in leaderboard.json's `evaluators`; `repeated` is
true where the picture is the one of an earlier seed, as of a prompt with a seed of its own."""

VALUE = "value"

_SCHEMA = pa.schema(
    [
        ("prompt_id", pa.string()),
        ("image_index", pa.int64()),
        ("metric", pa.string()),
        (VALUE, pa.float64()),
        ("status", pa.string()),
        ("reason", pa.string()),
    ]
)
RUN_SCHEMA = pa.schema(
    [
        ("method", pa.string()),
        ("concept", pa.string()),
        ("seed", pa.int64()),
        ("role", pa.string()),
        ("evaluator", pa.string()),
        ("evaluator_protocol", pa.string()),
        ("repeated", pa.bool_()),
        *_SCHEMA,
    ]
)
"""Types of the columns `RUN_COLUMNS`."""


class CellCost(NamedTuple):
    """What one cell cost: None where it was not done. `images` were drawn in `generate_seconds`."""

    erase_seconds: float | None
    peak_memory_bytes: int | None
    generate_seconds: float
    images: int


def protocol_key(protocol: Mapping[str, object]) -> str:
    """A short name of an evaluator's protocol."""
    return content_id(protocol)[:12]


def collect_scores(plan: Plan, store: Store) -> DataFrame:
    """Every score in the store that belongs to the plan, columns `RUN_COLUMNS`.

    Scores that two cells share (the base model's) appear under each of them.
    """
    known: dict[str, pa.Table] = {}
    metrics = {evaluator.name: evaluator.metrics for evaluator in plan.evaluators}
    keys = {evaluator.name: protocol_key(evaluator.protocol) for evaluator in plan.evaluators}
    counted = set()
    parts = []
    for cell in plan.cells:
        for task in cell.score:
            if task.id not in known:
                if not store.has(task.kind, task.id):
                    continue
                known[task.id] = _kept(store, task, metrics[task.evaluator])
            own = (cell.method.name, cell.case.name, task.id)
            parts.append(
                {
                    "method": cell.method.name,
                    "concept": cell.case.name,
                    "seed": cell.seed,
                    "role": task.generate.images.role,
                    "evaluator": task.evaluator,
                    "evaluator_protocol": keys[task.evaluator],
                    "repeated": own in counted,
                    "table": known[task.id],
                }
            )
            counted.add(own)
    if not parts:
        return DataFrame({column: [] for column in RUN_COLUMNS})
    frame = _together([part["table"] for part in parts]).to_pandas()
    repeats = [part["table"].num_rows for part in parts]
    for column in RUN_COLUMNS[: -len(SCORE_COLUMNS)]:
        frame[column] = pd.Series([part[column] for part in parts]).repeat(repeats).to_numpy()
    return frame[list(RUN_COLUMNS)]


def collect_costs(
    plan: Plan, store: Store, seconds: Mapping[str, float]
) -> dict[tuple[str, str, int], CellCost]:
    """Cost of each cell by (method, concept, seed); `seconds` is how long drawing took, by tasks' ids."""
    edits: dict[str, tuple[float | None, int | None]] = {}
    costs = {}
    for cell in plan.cells:
        if cell.erase.id not in edits:
            edits[cell.erase.id] = _erase_cost(store, cell.erase.id)
        drawn = [task for task in cell.generate if task.id in seconds]
        costs[cell.method.name, cell.case.name, cell.seed] = CellCost(
            *edits[cell.erase.id],
            generate_seconds=sum(seconds[task.id] for task in drawn),
            images=sum(len(task.images) for task in drawn),
        )
    return costs


def _erase_cost(store: Store, task_id: str) -> tuple[float | None, int | None]:
    if not store.has("erase", task_id):
        return None, None
    about = store.entry("erase", task_id).about
    if about["erase_seconds"] is None:  # a user's weights: nobody knows what they cost
        return None, None
    return float(about["erase_seconds"]), int(about["peak_memory_bytes"])


def score_table(store: Store, task: ScoreTask, metrics: Sequence[Metric]) -> pa.Table:
    """The scores of one task, columns `SCORE_COLUMNS`.

    Raises DamagedEntry where the file is not what an evaluator's scores must be.
    """
    return _kept(store, task, metrics).cast(_SCHEMA)


def _together(tables: Sequence[pa.Table]) -> pa.Table:
    """One after the other, in the types of `_SCHEMA`; casting many small ones costs more than one large."""
    alike = all(table.schema.equals(tables[0].schema) for table in tables)
    return pa.concat_tables(tables if alike else [table.cast(_SCHEMA) for table in tables]).cast(_SCHEMA)


def _kept(store: Store, task: ScoreTask, metrics: Sequence[Metric]) -> pa.Table:
    """`score_table` in the types of the file, which can be cast to those of `_SCHEMA`."""
    entry = store.entry(task.kind, task.id)
    data = entry.read(SCORES_FILE)
    try:
        table = pq.ParquetFile(pa.BufferReader(data)).read(list(SCORE_COLUMNS), use_threads=False)
        if is_checked(table, metrics, picture_names(task.generate)):
            return table.select(list(SCORE_COLUMNS))
        checked = checked_frame(table.to_pandas(), metrics, picture_names(task.generate))
    except (pa.ArrowException, WrongScores) as error:
        raise entry.damaged(f"{SCORES_FILE}: {error}") from error
    return pa.Table.from_pandas(checked, schema=_SCHEMA, preserve_index=False)


def write_scores(path: Path, scores: DataFrame) -> None:
    """A run's scores.parquet: names as dictionaries, values byte by byte, as their last bytes differ most."""
    scores.to_parquet(
        path,
        index=False,
        compression="zstd",
        use_dictionary=[name for name in scores.columns if name != VALUE],
        column_encoding={VALUE: "BYTE_STREAM_SPLIT"},
    )
