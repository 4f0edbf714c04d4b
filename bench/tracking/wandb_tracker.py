"""Weights & Biases: a run for each row in one group. Project: $WANDB_PROJECT, else `erasure-bench`.

With --offline, or $WANDB_MODE=offline, it is kept in ./wandb until `wandb sync`.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from erasure_bench.bench.tracking.base import OF_THE_RUN, TrackedRun
from erasure_bench.environment import is_offline

PROJECT = "erasure-bench"


class WandbTracker:
    """Keeps what `wandb.init` gives; its own process does the sending."""

    def __init__(self) -> None:
        import wandb

        self._wandb: Any = wandb
        self._runs: dict[str, Any] = {}
        self._named: set[tuple[str, str]] = set()

    def begin(self, run: TrackedRun) -> None:
        for row, settings in {OF_THE_RUN: run.settings, **run.rows}.items():
            self._runs[row] = self._wandb.init(
                project=os.environ.get("WANDB_PROJECT", PROJECT),
                group=run.name,
                name=row or run.name,
                job_type="row" if row else "run",
                config=dict(settings),
                mode="offline" if is_offline() else None,
                reinit="create_new",
            )

    def log(self, row: str, values: Mapping[str, float], step: int) -> None:
        # A dot in a name would be a level; its own step only ever grows, and each training counts from 1.
        run = self._runs[row]
        numbers = {name.replace(".", "_"): value for name, value in values.items()}
        for name in numbers:
            if (row, name) not in self._named:
                run.define_metric(name, step_metric=f"step/{name}")
                self._named.add((row, name))
        run.log({**numbers, **{f"step/{name}": step for name in numbers}})

    def keep(self, file: Path) -> None:
        self._runs[OF_THE_RUN].save(str(file), base_path=str(file.parent), policy="now")

    def end(self, *, well: bool) -> None:
        for run in reversed(self._runs.values()):
            run.finish(exit_code=0 if well else 1)
