"""What the oracle sees instead is counted per subject asked for, from what a run left in its store."""

from pathlib import Path

import pandas as pd
import pytest

from erasure_bench.bench.planning.config import RunConfig
from erasure_bench.bench.planning.prepare import prepare
from erasure_bench.bench.storage.store import Store
from studies.running import bench_run
from studies.seen_instead import holds, misses, predictions


def test_misses_are_counted_among_the_pictures_that_asked_for_the_same() -> None:
    seen = pd.DataFrame(
        [("s", "m", "neighbour", "a/cat", label) for label in ("a/cat", "a/dog", "a/dog", "a/owl")]
        + [("s", "m", "retention", "a/cat", "a/cat"), ("s", "other", "neighbour", "a/cat", "a/dog")],
        columns=["suite", "method", "role", "asked", "seen"],
    )
    found = misses([seen.iloc[:3], seen.iloc[3:]])
    assert [tuple(row) for row in found.itertuples(index=False)] == [
        ("s", "m", "neighbour", "a/cat", "a/dog", 2, 4),
        ("s", "m", "neighbour", "a/cat", "a/owl", 1, 4),
        ("s", "other", "neighbour", "a/cat", "a/dog", 1, 1),
    ]


def test_a_composed_label_is_missed_where_no_alternative_is_seen_whole() -> None:
    either = "left/boat & right/car | left/car & right/boat"
    assert holds(either, "left/car & right/boat") and holds(either, "left/boat & right/car")
    assert not holds(either, "left/car & right/car")
    assert holds("object/cup | left/cup", "object/several & left/cup")
    assert not holds("object/cup & count/3", "object/cup & count/2")


@pytest.mark.slow
@pytest.mark.usefixtures("microworld")
def test_predictions_are_those_of_a_run(tmp_path: Path) -> None:
    suite, store = "microworld-implicit", tmp_path / "store"
    bench_run(
        *("--suite", suite, "--methods", "none", "--evaluators", "classifier", "--limit", "2"),
        *("--store", str(store), "--out", str(tmp_path / "run")),
    )
    config = RunConfig(suite=suite, methods=("none",), evaluators=("classifier",), limit=2)
    seen = predictions(prepare(config, store).plan, Store(store))
    scores = pd.read_parquet(tmp_path / "run" / "scores.parquet")
    right = scores[(scores["metric"] == "class_accuracy") & scores["role"].isin(set(seen["role"]))]
    assert len(seen) == len(right) > 0
    held = [holds(*each) for each in zip(seen["asked"], seen["seen"], strict=True)]
    assert sum(held) == right["value"].sum()
