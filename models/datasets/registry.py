"""The data sets by name. Adding one is a line here and a module with a `DatasetCard` in it."""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from erasure_bench.errors import UnknownName
from erasure_bench.prompt_suites.registry import data_folder

if TYPE_CHECKING:
    from erasure_bench.models.datasets.base import DatasetCard, LabelledParts

DATASETS: dict[str, str] = {
    "digits": "erasure_bench.models.datasets.digits:CARD",
    "mnist": "erasure_bench.models.datasets.mnist:CARD",
    "fashion-mnist": "erasure_bench.models.datasets.fashion_mnist:CARD",
    "cifar10": "erasure_bench.models.datasets.cifar10:CARD",
    "stl10": "erasure_bench.models.datasets.stl10:CARD",
}


def dataset_card(name: str) -> "DatasetCard":
    """The card; reads no pictures. Raises UnknownName."""
    if name not in DATASETS:
        raise UnknownName("data set", name, DATASETS)
    module, attribute = DATASETS[name].split(":")
    card: DatasetCard = getattr(import_module(module), attribute)
    return card


def load_dataset(name: str, data_dir: Path | None = None) -> "LabelledParts":
    """The pictures, from `data_dir`, else $BENCH_DATA, else a package that has them.

    Raises UnknownName, and BenchError for pictures that are missing or damaged.
    """
    return dataset_card(name).load(data_folder(data_dir))
