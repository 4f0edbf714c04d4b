"""Evaluator weights that ship with a built-in generator."""

from importlib import util
from pathlib import Path


def shipped_folder(generator: str, part: str) -> Path:
    """models/<generator>/weights/<part>, where `part` ("clip", "oracle") of a built-in generator lies.

    The folder need not exist. Found from the package's place, without importing what is in it.
    """
    found = util.find_spec("models")
    if found is None or not found.submodule_search_locations:
        return Path("models") / generator / "weights" / part
    return Path(next(iter(found.submodule_search_locations))) / generator / "weights" / part
