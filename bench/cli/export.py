"""Finds one edit of a finished run, from what the run's folder says of it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from erasure_bench.bench.planning.cases import slug
from erasure_bench.bench.reporting.record import read_record
from erasure_bench.bench.storage.store import Entry, Store
from erasure_bench.errors import BenchError, UnknownName


class FoundEdit(NamedTuple):
    """An edit in the store, the base model as the run was asked for it, what the run says of it."""

    entry: Entry
    model: str
    origin: dict[str, Any]


def find_edit(run: Path, method: str, concept: str | None, seed: int | None) -> FoundEdit:
    """The one edit of `method` in the run's folder that `concept` and `seed` leave over.

    Raises UnknownName for a row, concept or seed that the run does not have, BenchError where several
    edits are left, where the row has none of its own, or where the store no longer has it.
    """
    record = read_record(run)
    settings = {entry["method"]: entry for entry in record["method_settings"]}
    if method not in settings:
        raise UnknownName(f"row of {run}", method, settings, "METHOD")
    if settings[method]["base"] != record["model_digest"] or method == record["baseline"]:
        raise BenchError(f"{method} is a base model as it is: there is nothing to export")
    if record["store"] is None:
        parts = " or ".join(record.get("merged", ())) or "the run that made it"
        raise BenchError(f"{run} was merged and has no edits of its own: export from {parts}")
    cells = [cell for cell in record["cells"] if cell["method"] == method]
    cells = _narrowed(cells, "concept", concept, "--concept")
    cells = _narrowed(cells, "seed", seed, "--seed")
    if len({cell["edit"] for cell in cells}) > 1:
        raise BenchError(f"{run} has several edits of {method}: choose one with {_choice(cells)}")
    store, edit = Store(Path(record["store"])), cells[0]["edit"].rpartition("/")[2]
    if not store.has("erase", edit):
        gone = store.folder("erase", edit)
        why = next((failure["reason"] for failure in record["failures"] if _is_of(failure, cells)), None)
        raise BenchError(
            f"{run}: the erasure of {cells[0]['concept']} by {method} failed: {why}"
            if why
            else f"the store has no {gone}: it was moved or removed; run the same bench run again"
        )
    seeds = [cell["seed"] for cell in cells]
    origin = {
        "made_by": f"erasure-bench {record['versions'].get('erasure-bench', '')}",
        "row": method,
        "preset": settings[method]["preset"],
        "seed": seeds[0] if len(seeds) == 1 else seeds,
        "suite": f"{record['suite']} {record['suite_version']}",
        "base": record["model"],
        "edit": edit,
    }
    return FoundEdit(store.entry("erase", edit), record["config"]["model"] or record["model"], origin)


def _choice(cells: Sequence[dict[str, Any]]) -> str:
    """The flags that tell the cells apart, with their values."""
    values = {key: list(dict.fromkeys(str(cell[key]) for cell in cells)) for key in ("concept", "seed")}
    return " and ".join(f"--{key} ({', '.join(found)})" for key, found in values.items() if len(found) > 1)


def _is_of(failure: dict[str, Any], cells: Sequence[dict[str, Any]]) -> bool:
    """Whether it is the failed erasure of one of the cells."""
    keys = [(cell["method"], cell["concept"], cell["seed"]) for cell in cells]
    return failure["stage"] == "erase" and (failure["method"], failure["concept"], failure["seed"]) in keys


def _narrowed(cells: Sequence[dict[str, Any]], key: str, wanted: Any, flag: str) -> list[dict[str, Any]]:
    if wanted is None:
        return list(cells)
    found = [cell for cell in cells if slug(str(cell[key])) == slug(str(wanted))]
    if not found:
        raise UnknownName(key, str(wanted), dict.fromkeys(str(cell[key]) for cell in cells), flag)
    return found
