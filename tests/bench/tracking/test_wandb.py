"""What Weights & Biases is told: by a stand-in for its package, as its own needs an account or a process."""

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from erasure_bench.bench.tracking.base import OF_THE_RUN, TrackedRun
from erasure_bench.bench.tracking.registry import build_tracker


class Recorded:
    """One run of wandb's."""

    def __init__(self, **about: Any) -> None:
        self.about = about
        self.logged: list[dict[str, float]] = []
        self.steps: dict[str, str] = {}
        self.saved: list[tuple[str, str]] = []
        self.exit_code: int | None = None

    def define_metric(self, name: str, step_metric: str) -> None:
        assert name not in self.steps, "each is defined once"
        self.steps[name] = step_metric

    def log(self, values: dict[str, float]) -> None:
        self.logged.append(values)

    def save(self, path: str, base_path: str, policy: str) -> None:
        self.saved.append((path, policy))

    def finish(self, exit_code: int) -> None:
        self.exit_code = exit_code


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[Recorded]:
    made: list[Recorded] = []

    def init(**about: Any) -> Recorded:
        made.append(Recorded(**about))
        return made[-1]

    module = ModuleType("wandb")
    module.init = init  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "wandb", module)
    monkeypatch.setenv("WANDB_PROJECT", "mine")
    return made


def test_rows_are_runs_of_one_group_and_each_number_has_its_own_step(
    runs: list[Recorded], tmp_path: Path
) -> None:
    tracker = build_tracker("wandb")
    tracker.begin(TrackedRun("demo", tmp_path, {"suite": "s"}, {"dim": {"strength": "0.5"}}))
    tracker.log("dim", {"loss/a.b/seed 0": 2.0}, 1)
    tracker.log("dim", {"loss/a.b/seed 0": 1.0}, 2)
    tracker.log("dim", {"loss/c/seed 0": 3.0}, 1)
    tracker.log(OF_THE_RUN, {"progress/tasks": 1.0}, 1)
    tracker.keep(tmp_path / "run.json")
    tracker.end(well=False)

    whole, dim = runs
    assert {run.about["group"] for run in runs} == {"demo"} and whole.about["project"] == "mine"
    assert (whole.about["name"], dim.about["name"]) == ("demo", "dim")
    assert dim.about["config"] == {"strength": "0.5"} and dim.about["mode"] is None
    assert dim.steps == {"loss/a_b/seed 0": "step/loss/a_b/seed 0", "loss/c/seed 0": "step/loss/c/seed 0"}
    assert dim.logged == [
        {"loss/a_b/seed 0": 2.0, "step/loss/a_b/seed 0": 1},
        {"loss/a_b/seed 0": 1.0, "step/loss/a_b/seed 0": 2},
        {"loss/c/seed 0": 3.0, "step/loss/c/seed 0": 1},
    ], "a dot in a name would make levels of it, and hide the number"
    assert whole.saved == [(str(tmp_path / "run.json"), "now")]
    assert [run.exit_code for run in runs] == [1, 1]


def test_offline_it_sends_nothing(
    runs: list[Recorded], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_OFFLINE", "1")
    build_tracker("wandb").begin(TrackedRun("demo", tmp_path, {}, {}))
    assert [run.about["mode"] for run in runs] == ["offline"]
