"""Features of pictures as a run's folder has them, so that its statistics can be computed again elsewhere."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from erasure_bench.bench.planning.plan import Plan
from erasure_bench.bench.running.kept_features import KeptFeatures, checked_features, read_features
from erasure_bench.bench.storage.store import Store
from erasure_bench.errors import BenchError

FEATURES = "features.parquet"
_SCHEMA = pa.schema(
    [("task", pa.string()), ("reason", pa.string()), ("features", pa.large_list(pa.float32()))]
)
"""One row for each picture, in its task's order: the id of the task, why it has no features, its features."""


class _Stored(Mapping[str, KeptFeatures]):
    """Reads what it is asked for: a run's features may be larger than the memory."""

    def __init__(self, store: Store, sizes: Mapping[str, int]) -> None:
        self._store, self._sizes = store, sizes

    def __getitem__(self, task_id: str) -> KeptFeatures:
        size = self._sizes[task_id]
        return read_features(self._store.entry("features", task_id), size)

    def __contains__(self, task_id: object) -> bool:
        return task_id in self._sizes

    def __iter__(self) -> Iterator[str]:
        return iter(self._sizes)

    def __len__(self) -> int:
        return len(self._sizes)


def stored_features(plan: Plan, store: Store) -> Mapping[str, KeptFeatures]:
    """What the store has of the plan, by the tasks' ids; a value raises DamagedEntry where it is damaged."""
    tasks = (task for cell in plan.cells for task in cell.features)
    return _Stored(store, {task.id: len(task) for task in tasks if store.has(task.kind, task.id)})


def write_feature_table(path: Path, features: Mapping[str, KeptFeatures]) -> None:
    """Writes them task by task."""
    with pq.ParquetWriter(path, _SCHEMA) as writer:
        for task_id, kept in features.items():
            count, length = kept.values.shape
            vectors = pa.LargeListArray.from_arrays(
                pa.array(np.arange(count + 1) * length, type=pa.int64()), pa.array(kept.values.ravel())
            )
            columns = [pa.array([task_id] * count), pa.array(kept.reasons, type=pa.string()), vectors]
            writer.write_table(pa.Table.from_arrays(columns, schema=_SCHEMA))


def read_feature_table(data: bytes, counts: Mapping[str, int], path: Path) -> dict[str, KeptFeatures]:
    """Those of the tasks in `counts`, which says how many pictures each has.

    Raises BenchError where the file is something else, or a task's features are not what they should be.
    """
    found: dict[str, KeptFeatures] = {}
    try:
        file = pq.ParquetFile(pa.BufferReader(data))
        for group in range(file.num_row_groups):
            table = file.read_row_group(group).cast(_SCHEMA)
            (task_id,) = set(table["task"].to_pylist())
            if task_id in counts:
                rows = table["features"].combine_chunks()
                values = rows.flatten().to_numpy(zero_copy_only=False).reshape(len(rows), -1)
                found[task_id] = checked_features(values, table["reason"].to_pylist(), counts[task_id])
    except (pa.ArrowException, OSError, ValueError, TypeError, KeyError) as error:
        raise BenchError(
            f"{path}: these are no features of a run: {error}; run the same bench run again"
        ) from error
    return found
