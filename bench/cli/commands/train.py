"""What `bench train` does: reads the data, trains with progress on stderr, says where the base lies."""

from collections.abc import Mapping
from pathlib import Path

from erasure_bench.bench.cli.output import make_folder, print_json, stderr_console, stdout_console, words
from erasure_bench.bench.cli.paths import check_store, store_folder
from erasure_bench.bench.planning.devices import pick_device
from erasure_bench.bench.running.base_training import train_base
from erasure_bench.bench.running.libraries import full_precision
from erasure_bench.bench.running.training_bar import TrainingBar
from erasure_bench.bench.storage.store import Store
from erasure_bench.errors import BenchError
from erasure_bench.models.classifiers.train import classifier_ready, why_no_classifier
from erasure_bench.models.conditional.description import (
    Description,
    class_model_digest,
    is_class_model,
    read_description,
)
from erasure_bench.models.conditional.recipes import BASES, Recipe
from erasure_bench.models.datasets.registry import dataset_card, load_dataset
from erasure_bench.models.zoo import trained_place


def train_named(
    name: str,
    out: Path | None,
    said: Mapping[str, int],
    device: str,
    data_dir: Path | None,
    store: Path | None,
    *,
    as_json: bool,
) -> int:
    """Trains unless the folder has that very base already, and then the classifier of its data if need be.

    `said` are fields of the recipe that are to be others. That the classifier cannot be trained here is said
    at once and not after days. Raises BenchError where the folder has another base, and where the classifier
    cannot be trained.
    """
    full_precision()
    base, folder = BASES[name], out or trained_place(name)
    recipe = base.training.model_copy(update=dict(said))
    parts = load_dataset(base.data, data_dir)
    if is_class_model(folder):
        description = _the_same(folder, recipe, parts.digest())
    else:
        if why := why_no_classifier(base.data):
            stderr_console().print(words(f"{name} will be trained, its classifier not: {why}", "yellow"))
        root = store_folder(store)
        check_store(root)
        make_folder(folder)
        with Store(root) as kept, TrainingBar(stderr_console(), name) as bar:
            description = train_base(
                base,
                recipe,
                parts,
                dataset_card(base.data).classes,
                folder,
                kept,
                device=device,
                report=bar.step,
                say=bar.say,
            )
    try:
        classifier = classifier_ready(base.data, data_dir, device=pick_device(device))
    except BenchError as error:
        raise BenchError(
            f"{folder} is there, but not the classifier that judges its pictures: {error}"
        ) from error
    if as_json:
        print_json(
            {
                "base": name,
                "folder": str(folder),
                "classifier": None if classifier is None else str(classifier),
                "digest": class_model_digest(folder),
                **description.model_dump(mode="json"),
            }
        )
    else:
        stdout_console().print(str(folder), soft_wrap=True, highlight=False, markup=False)
    return 0


def _the_same(folder: Path, recipe: Recipe, data: str) -> Description:
    found = read_description(folder)
    asked = recipe.model_dump(mode="json")
    if found.recipe != asked or found.origin is None or found.origin.digest != data:
        raise BenchError(
            f"{folder}: another base lies there, trained otherwise or on other pictures; remove it or give "
            "--out FOLDER"
        )
    return found
