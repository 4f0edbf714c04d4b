"""A run goes on where it was stopped: nothing finished is done twice, the tables are the same."""

import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest

from erasure_bench.bench.storage.store import Store

ROOT = Path(__file__).resolve().parents[3]
FAKE_RUN = Path(__file__).parents[1] / "fake_run.py"
KILLS = 2
TABLES = ("leaderboard.json", "leaderboard.csv", "leaderboard.md", "scores.parquet", "images.png")


def test_a_second_run_does_nothing_and_gives_the_same_files(fake: ModuleType, tmp_path: Path) -> None:
    plan = fake.tiny_plan()
    first = fake.FakeWorker(Store(tmp_path / "store"))
    fake.run(plan, tmp_path / "store", tmp_path / "one", first)
    assert sorted(first.calls) == sorted(task.id for task in plan.tasks), "each task exactly once"

    second = fake.FakeWorker(Store(tmp_path / "store"))
    outcome, _ = fake.run(fake.tiny_plan(), tmp_path / "store", tmp_path / "two", second)
    assert (second.calls, outcome.done, second.prepared) == ([], {}, [])
    for name in TABLES:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name


def test_what_a_process_left_that_was_killed_after_its_last_task_goes_with_the_next_run(
    fake: ModuleType, tmp_path: Path
) -> None:
    fake.run(fake.tiny_plan(), tmp_path / "store", tmp_path / "out")
    code = (
        "import os, sys; from pathlib import Path; from erasure_bench.bench.storage.store import Store\n"
        "Store(Path(sys.argv[1])).scratch(); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "store")], check=False)
    assert len(list((tmp_path / "store" / "tmp").iterdir())) == 2
    fake.run(fake.tiny_plan(), tmp_path / "store", tmp_path / "out")
    assert list((tmp_path / "store" / "tmp").iterdir()) == []


def test_only_what_is_missing_is_done(fake: ModuleType, tmp_path: Path) -> None:
    store = Store(tmp_path)
    fake.run(
        fake.tiny_plan(methods=[fake.method("none")]), tmp_path, tmp_path / "out", fake.FakeWorker(store)
    )
    plan = fake.tiny_plan()
    new = {task.id for task in plan.tasks if not store.has(task.kind, task.id)}
    assert 0 < len(new) < len(plan.tasks)
    worker = fake.FakeWorker(Store(tmp_path))
    fake.run(plan, tmp_path, tmp_path / "out", worker)
    assert set(worker.calls) == new


def test_a_run_killed_again_and_again_ends_with_the_same_bytes(fake: ModuleType, tmp_path: Path) -> None:
    fake.run(fake.tiny_plan(), tmp_path / "whole", tmp_path / "expected")
    log, out = tmp_path / "log", tmp_path / "out"
    command = [sys.executable, str(FAKE_RUN), str(tmp_path / "store"), str(out), "0.03", str(log)]
    pause = random.Random(1)
    kills = 0
    for attempt in range(KILLS + 1):
        before = _ended(log)
        process = subprocess.Popen(command, env=os.environ | {"PYTHONPATH": str(ROOT)})
        while not log.exists() and process.poll() is None:
            time.sleep(0.01)
        deadline = time.monotonic() + 60
        # Let it get somewhere, then kill it at no particular point; the last attempt may finish.
        while process.poll() is None and time.monotonic() < deadline:
            if attempt < KILLS and len(_ended(log)) > len(before) + 3:
                time.sleep(pause.uniform(0, 0.06))
                process.kill()
                break
            time.sleep(0.005)
        if process.wait() == 0:
            break
        kills += 1
    assert kills == KILLS
    ended = Counter(_ended(log))
    assert max(ended.values()) == 1, "a finished task was done again"
    for name in TABLES:
        assert (out / name).read_bytes() == (tmp_path / "expected" / name).read_bytes(), name
    assert json.loads((out / "run.json").read_text())["failures"] == []
    assert list((tmp_path / "store" / "tmp").iterdir()) == []


def test_an_interrupt_passes_through_and_keeps_what_is_finished(fake: ModuleType, tmp_path: Path) -> None:
    plan = fake.tiny_plan()
    worker = fake.FakeWorker(Store(tmp_path))

    def interrupt(task: object) -> bool:
        if len(worker.calls) == 6:
            raise KeyboardInterrupt
        return False

    worker.break_on = interrupt
    with pytest.raises(KeyboardInterrupt):
        fake.run(plan, tmp_path, tmp_path / "out", worker)
    again = fake.FakeWorker(Store(tmp_path))
    fake.run(plan, tmp_path, tmp_path / "out", again)
    assert len(again.calls) == len(plan.tasks) - 5
    assert not set(again.calls) & set(worker.calls[:5])


def _ended(log: Path) -> list[str]:
    lines = log.read_text().splitlines() if log.exists() else []
    return [line.split()[1] for line in lines if line.startswith("end ")]
