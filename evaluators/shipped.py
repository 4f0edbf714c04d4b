"""Evaluator weights that ship with a built-in generator."""

from importlib import util
from pathlib import Path

MODELS = "erasure_bench.models"


def shipped_folder(name: str, part: str) -> Path | None:
    """Where the `part` ("clip", "oracle") of the built-in generator `name` lies; None for another name.

    models/<name>/weights/<part>, which need not be whole. Found from the package's place, without importing
    what is in it. A built-in name goes before a folder of that name in the working folder, as with models:
    who means the folder writes ./NAME.
    """
    found = util.find_spec(MODELS)
    places = found.submodule_search_locations if found else None
    weights = Path(next(iter(places or (MODELS,)))) / name / "weights"
    return weights / part if name.isidentifier() and weights.is_dir() else None
