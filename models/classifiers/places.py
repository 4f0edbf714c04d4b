"""Where the evaluation classifiers of data sets lie: with the package, or where `bench train` put them."""

import os
from collections.abc import Iterator
from pathlib import Path

from platformdirs import user_data_path

from erasure_bench.errors import NotHere
from erasure_bench.models.classifiers.names import CARD_FILE, CLASSIFIERS
from erasure_bench.user_paths import user_path

PLAIN = "-plain"
"""Ends the names of classifiers that judge no base: `bench train` makes none."""
SHIPPED = Path(__file__).parent / "weights"


def classifier_folder(name: str) -> Path | None:
    """The folder with the classifier of that name; None for a name that no classifier here has.

    Raises NotHere for one that is still to be trained.
    """
    if name not in CLASSIFIERS:
        return None
    looked = tuple(_places(name))
    found = next((place for place in looked if (place / CARD_FILE).is_file()), None)
    if found is None:
        raise NotHere(
            f"classifier {name!r}: not trained here: looked in {', '.join(map(str, looked))}; to get it: "
            f"`python -m erasure_bench.models.classifiers.train {name}`"
            + ("" if name.endswith(PLAIN) else ", or bench train a base of its data")
        )
    return found


def trained_place(name: str) -> Path:
    """Where a classifier that is trained here is put: in $BENCH_MODELS, else in the user's data folder."""
    return next(place for place in _places(name) if place.parent != SHIPPED)


def _places(name: str) -> Iterator[Path]:
    yield SHIPPED / name
    if models := os.environ.get("BENCH_MODELS"):
        yield user_path(models) / "classifiers" / name
    yield user_data_path("erasure-bench") / "classifiers" / name
