"""What a store holds of a plan: read once, and the same in whatever types files have their columns."""

from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow as pa
import pytest

from erasure_bench.bench.planning.config import RunConfig
from erasure_bench.bench.reporting.evidence import Evidence, of_store
from erasure_bench.bench.reporting.results import gather
from erasure_bench.bench.reporting.scores import _SCHEMA, _together
from erasure_bench.bench.storage import store as store_module
from erasure_bench.bench.storage.store import Store


def test_each_entry_is_read_once(fake: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = fake.tiny_plan(RunConfig(suite="tiny", methods=("dim",), seeds=(0, 1)))
    fake.run(plan, tmp_path / "store", tmp_path / "run")
    read: Counter[str] = Counter()
    real = store_module.read_manifest

    def counting(folder: Path, kind: str, task_id: str) -> Any:
        read[task_id] += 1
        return real(folder, kind, task_id)

    with Store(tmp_path / "store") as store:
        assert not plan.unfinished(store)
        monkeypatch.setattr(store_module, "read_manifest", counting)
        evidence = of_store(plan, store, ())

    assert set(read) == {task.id for task in plan.tasks} and set(read.values()) == {1}
    assert len(evidence.costs) == len(plan.cells) and evidence.drawn_with["device"]


def test_costs_of_several_devices_come_with_a_caution(fake: ModuleType, tmp_path: Path) -> None:
    plan = fake.tiny_plan()
    fake.run(plan, tmp_path / "store", tmp_path / "run")
    with Store(tmp_path / "store") as store:
        evidence = of_store(plan, store, ())
    mixed = evidence._replace(drawn_with={**evidence.drawn_with, "device": ["a CPU", "a GPU"]})

    def cautions(of: Evidence) -> list[str]:
        return [line for line in gather(plan, of).document["cautions"] if line.startswith("Costs are means")]

    assert not cautions(evidence)
    (caution,) = cautions(mixed)
    assert "a CPU and a GPU" in caution and "they do not compare" in caution


def test_files_of_different_types_make_one_table() -> None:
    texts = [name for name in _SCHEMA.names if _SCHEMA.field(name).type == pa.string()]
    row = {name: "text" if name in texts else 1 for name in _SCHEMA.names}
    small = pa.Table.from_pylist([row], schema=_SCHEMA)
    large = pa.Table.from_pylist(
        [row],
        schema=pa.schema(
            [(each.name, pa.large_string()) if each.name in texts else each for each in _SCHEMA]
        ),
    )
    expected = pa.concat_tables([small, small])
    assert _together([small, large]) == _together([large, large]) == expected
    assert _together([large, small]).schema == _SCHEMA
