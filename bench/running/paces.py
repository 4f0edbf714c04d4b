"""How fast kinds of work go on this machine: from this run, and before that from earlier ones."""

import math
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from erasure_bench.bench.identity.ids import content_id
from erasure_bench.bench.storage.memory import recall, remember

FOLDER = "paces"
FADES = 0.7
"""What an earlier measurement counts beside the next one: the load of a machine changes."""
MOST_KEPT = 2000


class Paces:
    """Seconds for a unit of each kind of work. `file` is what earlier runs left; None remembers nothing."""

    def __init__(self, file: Path | None = None) -> None:
        self.file = file
        self._known = _read(file) if file is not None else {}
        self._seconds: dict[str, float] = {}
        self._sizes: dict[str, float] = {}

    def measured(self, kind: str, seconds: float, size: float) -> None:
        """So many units of a kind took so long."""
        if size > 0 and seconds >= 0:
            self._seconds[kind] = FADES * self._seconds.get(kind, 0.0) + seconds
            self._sizes[kind] = FADES * self._sizes.get(kind, 0.0) + size

    def of(self, kind: str) -> float | None:
        """Seconds for one unit; None where nothing is known."""
        if kind in self._sizes:
            return self._seconds[kind] / self._sizes[kind]
        return self._known.get(kind)

    def keep(self) -> None:
        """Remembers them for later runs, beside what other processes have remembered meanwhile."""
        if self.file is None or not self._sizes:
            return
        now = {kind: self._seconds[kind] / size for kind, size in self._sizes.items()}
        older = {kind: pace for kind, pace in _read(self.file).items() if kind not in now}
        kept = dict(list({**older, **now}.items())[-MOST_KEPT:])
        with suppress(OSError):  # a store that cannot be written is reported where it matters
            remember(self.file, kept)


def paces_file(store: Path, device: str) -> Path:
    """Where a store keeps the paces of this machine: `device` is the name of its processor or GPU."""
    threads = os.environ.get("OMP_NUM_THREADS", "")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return store / FOLDER / f"{content_id([device, cores, threads])[:16]}.json"


def _read(file: Path) -> dict[str, float]:
    found: Mapping[str, object] = recall(file) or {}
    return {
        kind: float(pace)
        for kind, pace in found.items()
        if isinstance(pace, int | float) and math.isfinite(pace) and pace >= 0
    }
