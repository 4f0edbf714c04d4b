"""Weights that no hub has: a file by the user's path, or in the folder of local copies."""

import os
from pathlib import Path

from erasure_bench.errors import NotHere
from erasure_bench.user_paths import user_path

FOLDER = "BENCH_MODELS"


def local_weights(given: str | None, copy: str, what: str, option: str, how: str) -> Path:
    """The file `given` by the user, else $BENCH_MODELS/`copy`.

    Raises BenchError where it is not there: `what` says what it is for ("evaluator 'perceptual'"), `option`
    is how to name it ("--evaluator-option perceptual.weights"), `how` the way to get it.
    """
    place = user_path(given) if given else copy_in_models(copy)
    if place and place.is_file():
        return place
    looked = str(place) if place else f"${FOLDER}/{copy} (${FOLDER} is not set)"
    raise NotHere(f"{what}: weights are missing, looked for {looked}. {how}; or name them: {option}=FILE")


def copy_in_models(name: str) -> Path | None:
    """$BENCH_MODELS/`name`, which need not be there; None where the variable is not set."""
    root = os.environ.get(FOLDER)
    return user_path(root) / name if root else None
