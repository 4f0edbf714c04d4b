"""What each edit cost, and how its loss went, for the page's scripts."""

import json
import math
from pathlib import Path
from typing import Any

from erasure_bench.bench.reporting.record import cost_of
from erasure_bench.bench.site.reading import ReportedRun
from erasure_bench.bench.site.scripts import rounded
from erasure_bench.bench.site.stored import StoredEntry
from erasure_bench.bench.words.showing import one_line

EDIT_FILE = "edit.json"
"""`methods.edit.EDIT_FILE`, without torch, which importing that would bring."""
POINTS = 240
"""Of a loss curve: each is the mean of the steps that fall to it, so that no curve is longer."""


def training(run: ReportedRun) -> dict[str, Any]:
    """Costs of every cell; the curves of those whose edit the run's store still has."""
    store = run.record["store"]
    curves: list[dict[str, Any]] = []
    costs: list[dict[str, Any]] = []
    seen: set[str | None] = {None}
    for cell in run.record["cells"]:
        about: dict[str, Any] = {name: one_line(cell[name]) for name in ("method", "concept")} | {
            "seed": cell["seed"]
        }
        costs.append(about | {name: rounded(value) for name, value in cost_of(cell)._asdict().items()})
        edit = cell.get("edit")
        if store is not None and edit not in seen and (losses := _losses(Path(store), edit)):
            curves.append(about | _thinned(losses))
        seen.add(edit)
    return {"curves": curves, "costs": costs}


def _losses(store: Path, edit: str) -> list[float | int | None]:
    """The training's loss at every step; none where the store no longer has the edit as it was written."""
    entry = StoredEntry.find(store, edit, "erase")
    data = entry.read(EDIT_FILE) if entry else None
    if data is None:
        return []
    try:
        losses = json.loads(data)["losses"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return []
    return [loss if isinstance(loss, int | float) else None for loss in losses]


def _thinned(losses: list[float | int | None]) -> dict[str, Any]:
    """Means over `every` steps: `steps` in all."""
    every = max(1, math.ceil(len(losses) / POINTS))
    points = []
    for start in range(0, len(losses), every):
        part = [loss for loss in losses[start : start + every] if loss is not None and math.isfinite(loss)]
        points.append(rounded(sum(part) / len(part)) if part else None)
    return {"steps": len(losses), "every": every, "losses": points}
