"""TensorBoard: event files in the run's folder, tensorboard/ROW for each row (`tensorboard --logdir RUN`)."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from erasure_bench.bench.planning.cases import slug
from erasure_bench.bench.tracking.base import OF_THE_RUN, TrackedRun

FOLDER = "tensorboard"


class TensorBoardTracker:
    """Files stay where they are: `keep` has nothing to do."""

    def __init__(self) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer_of: Any = SummaryWriter
        self._writers: dict[str, Any] = {}

    def begin(self, run: TrackedRun) -> None:
        for row, settings in {OF_THE_RUN: run.settings, **run.rows}.items():
            folder = run.folder / FOLDER / (slug(row) if row else "run")
            self._writers[row] = self._writer_of(log_dir=str(folder))
            text = json.dumps(dict(settings), indent=1, ensure_ascii=False)
            self._writers[row].add_text("settings", f"```json\n{text}\n```", 0)
            self._writers[row].flush()

    def log(self, row: str, values: Mapping[str, float], step: int) -> None:
        for name, value in values.items():
            self._writers[row].add_scalar(name, value, step)
        self._writers[row].flush()

    def keep(self, file: Path) -> None: ...

    def end(self, *, well: bool) -> None:
        for writer in self._writers.values():
            writer.close()
