"""Evaluator weights that ship with a built-in generator, or belong to a data set."""

from importlib import util
from pathlib import Path

from erasure_bench.models.classifiers.places import classifier_folder

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


def shipped_classifier(name: str) -> Path | None:
    """The folder of a built-in generator's oracle, or of a data set's classifier; None for another name.

    Raises NotHere for a data set whose classifier is still to be trained.
    """
    return shipped_folder(name, "oracle") or classifier_folder(name)
