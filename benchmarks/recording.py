"""What every benchmark writes down beside its figures: date, machine, versions."""

import json
import os
import platform
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from erasure_bench.bench.running.versions import hardware, package_versions
from erasure_bench.bench.storage.atomic import write_text

MEMORY = Path("/dev/shm")
"""Where fsync costs nothing, as the disk's own speed is not what is measured."""


class Clock:
    """Wall time and this process' time on a core, in seconds, of one part after the other."""

    def __init__(self) -> None:
        self.laps: dict[str, dict[str, float]] = {}
        self._since = time.perf_counter(), time.process_time()

    def lap(self, what: str) -> None:
        """What was done since the last lap."""
        now = time.perf_counter(), time.process_time()
        wall, core = (after - before for after, before in zip(now, self._since, strict=True))
        self.laps[what] = {"wall": round(wall, 3), "on_a_core": round(core, 3)}
        self._since = time.perf_counter(), time.process_time()

    @property
    def total(self) -> dict[str, float]:
        """Of all laps."""
        return {of: round(sum(lap[of] for lap in self.laps.values()), 3) for of in ("wall", "on_a_core")}


def record(figures: Mapping[str, Any], out: Path) -> None:
    """Writes the figures to `out` and prints them, as JSON, with when and on what they were measured."""
    document = {
        **figures,
        "date": datetime.now(UTC).date().isoformat(),
        "machine": {**hardware(), "load_average": round(os.getloadavg()[0], 1)},
        "python": platform.python_version(),
        "versions": package_versions(),
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(document, indent=1, ensure_ascii=False)
    write_text(out, text + "\n")
    print(text)
