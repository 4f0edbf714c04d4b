"""`python -m erasure_bench.models.classifiers.train NAME`: trains the evaluation classifier of a data set.

It goes on where it stopped. `bench train` does the same beside a base model.
"""

import argparse
import sys
from pathlib import Path

from erasure_bench.errors import BenchError, NotHere, UnknownName
from erasure_bench.models.classifiers.places import classifier_folder, trained_place
from erasure_bench.models.classifiers.recipes import RECIPES
from erasure_bench.user_paths import user_path


def ensure_classifier(
    name: str,
    data_dir: Path | None = None,
    *,
    folder: Path | None = None,
    work: Path | None = None,
    device: str = "cpu",
    seed: int = 0,
) -> Path:
    """Trains the classifier `name` into `folder` (by default its place), its checkpoints being in `work`.

    Raises UnknownName, and BenchError where its data or the weights that it begins with are not here.
    """
    from erasure_bench.models.classifiers.training import train_classifier
    from erasure_bench.models.datasets.registry import dataset_card, load_dataset

    if name not in RECIPES:
        raise UnknownName("classifier", name, RECIPES)
    recipe = RECIPES[name]
    place = folder or trained_place(name)
    data = load_dataset(recipe.dataset, data_dir)
    checkpoints = work or place.with_name(f"{place.name}.training")
    train_classifier(recipe, dataset_card(recipe.dataset), data, place, checkpoints, seed=seed, device=device)
    return place


def classifier_ready(name: str, data_dir: Path | None = None, *, device: str = "cpu") -> Path | None:
    """Where the classifier `name` lies, trained now if it has not been; None for a name that has none.

    Raises what `ensure_classifier` raises.
    """
    try:
        return classifier_folder(name)
    except NotHere:
        return ensure_classifier(name, data_dir, device=device)


def why_no_classifier(name: str) -> str:
    """Why the classifier `name` cannot be trained here: what it begins with is not here. Else nothing."""
    try:
        classifier_folder(name)
    except NotHere:
        begin_with = RECIPES[name].sizes
        if start := begin_with.get("start"):
            from erasure_bench.models.classifiers.residual import published

            try:
                published(begin_with["network"], start)
            except NotHere as error:
                return str(error)
    return ""


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m erasure_bench.models.classifiers.train", description=__doc__
    )
    parser.add_argument("name", choices=tuple(RECIPES))
    parser.add_argument("--data-dir", type=user_path, help="folder with the data set's files")
    parser.add_argument("--out", type=user_path, help="folder for weights and card")
    parser.add_argument("--work", type=user_path, help="folder for checkpoints")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    try:
        place = ensure_classifier(
            given.name,
            given.data_dir,
            folder=given.out,
            work=given.work,
            device=given.device,
            seed=given.seed,
        )
    except BenchError as error:
        raise SystemExit(str(error)) from error
    print(place, file=sys.stdout)


if __name__ == "__main__":
    main()
