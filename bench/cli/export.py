"""Finds one edit of a finished run, from what the run's folder says of it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from erasure_bench.bench.planning.cases import slug
from erasure_bench.bench.reporting.record import read_record
from erasure_bench.prompt_suites.errors import BenchError, UnknownName


class FoundEdit(NamedTuple):
    """An edit's folder in the store, and the base model as the run was asked for it."""

    folder: Path
    model: str


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
        raise BenchError(f"{run} was merged from other runs: export the edit from the one that made it")
    cells = [cell for cell in record["cells"] if cell["method"] == method]
    cells = _narrowed(cells, "concept", concept, "--concept")
    cells = _narrowed(cells, "seed", seed, "--seed")
    edits = {cell["edit"] for cell in cells}
    if len(edits) > 1:
        concepts = ", ".join(dict.fromkeys(cell["concept"] for cell in cells))
        seeds = ", ".join(dict.fromkeys(str(cell["seed"]) for cell in cells))
        raise BenchError(
            f"{run} has {len(edits)} edits of {method}: choose one with --concept ({concepts}) "
            f"and --seed ({seeds})"
        )
    folder = Path(record["store"]) / edits.pop()
    if not folder.is_dir():
        raise BenchError(
            f"the store has no {folder}: the erasure failed, or the store was moved; "
            "run the same bench run again"
        )
    return FoundEdit(folder, record["config"]["model"] or record["model"])


def _narrowed(cells: Sequence[dict[str, Any]], key: str, wanted: Any, flag: str) -> list[dict[str, Any]]:
    if wanted is None:
        return list(cells)
    found = [cell for cell in cells if slug(str(cell[key])) == slug(str(wanted))]
    if not found:
        raise UnknownName(key, str(wanted), dict.fromkeys(str(cell[key]) for cell in cells), flag)
    return found
