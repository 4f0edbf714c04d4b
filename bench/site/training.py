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
    known: dict[str, list[float | int | None]] = {}
    for cell in run.record["cells"]:
        edit = cell.get("edit")
        if store is None or edit is None:
            continue
        if edit not in known:
            losses = _losses(Path(store), edit)
            known[edit] = losses
            if losses:
                curves.append(
                    {
                        "method": one_line(cell["method"]),
                        "concept": one_line(cell["concept"]),
                        "seed": cell["seed"],
                        **_thinned(losses),
                    }
                )
    costs = [
        {
            "method": one_line(cell["method"]),
            "concept": one_line(cell["concept"]),
            "seed": cell["seed"],
            **{name: rounded(value) for name, value in cost_of(cell)._asdict().items()},
        }
        for cell in run.record["cells"]
    ]
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
