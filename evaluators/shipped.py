"""Evaluator weights that ship with a built-in generator."""

from importlib import util
from pathlib import Path

MODELS = "erasure_bench.models"


def shipped_folder(generator: str, part: str) -> Path:
    """models/<generator>/weights/<part>, where `part` ("clip", "oracle") of a built-in generator lies.

    The folder need not exist. Found from the package's place, without importing what is in it.
    """
    found = util.find_spec(MODELS)
    places = found.submodule_search_locations if found else None
    return Path(next(iter(places or (MODELS,)))) / generator / "weights" / part
