"""The trackers by their names on the command line."""

from collections.abc import Iterable, Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import NamedTuple

from erasure_bench.bench.tracking.base import Tracker
from erasure_bench.errors import BenchError, UnknownName


class Entry(NamedTuple):
    """Where a tracker's class lies, and the package that it needs, which the extra of its name installs."""

    target: str
    package: str


TRACKERS: Mapping[str, Entry] = {
    "mlflow": Entry("erasure_bench.bench.tracking.mlflow_tracker:MLflowTracker", "mlflow"),
    "tensorboard": Entry(
        "erasure_bench.bench.tracking.tensorboard_tracker:TensorBoardTracker", "tensorboard"
    ),
    "wandb": Entry("erasure_bench.bench.tracking.wandb_tracker:WandbTracker", "wandb"),
}


def check_trackers(names: Iterable[str]) -> None:
    """Raises UnknownName, or BenchError where a package is not installed: before hours of work, not after."""
    for name in names:
        if name not in TRACKERS:
            raise UnknownName("tracker", name, TRACKERS, "--track")
        if find_spec(TRACKERS[name].package) is None:
            raise BenchError(
                f"--track {name}: the package {TRACKERS[name].package} is not installed: "
                f"pip install 'erasure-bench[{name}]', or leave {name} out"
            )


def build_tracker(name: str) -> Tracker:
    """Imports the tracker's package; raises what that raises."""
    module, _, cls = TRACKERS[name].target.partition(":")
    tracker: Tracker = getattr(import_module(module), cls)()
    return tracker
