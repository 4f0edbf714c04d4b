"""Trains a class-conditional base by its recipe; a training that was interrupted goes on where it was."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from erasure_bench.bench.identity.ids import content_id, plain
from erasure_bench.bench.planning.devices import pick_device
from erasure_bench.bench.storage.checkpoints import StoreCheckpoints
from erasure_bench.bench.storage.store import Store
from erasure_bench.models.conditional.description import Description, Origin
from erasure_bench.models.conditional.recipes import BaseRecipe, Recipe

if TYPE_CHECKING:
    from erasure_bench.methods.base import Progress
    from erasure_bench.models.datasets.base import LabelledParts

CHECKPOINT_SECONDS = 120.0


def train_base(
    base: BaseRecipe,
    recipe: Recipe,
    parts: "LabelledParts",
    classes: tuple[str, ...],
    out: Path,
    store: Store,
    *,
    device: str,
    report: "Callable[[Progress], None]",
    say: Callable[[str], None],
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
) -> Description:
    """Trains on `parts`, writes the folder `out` when it is done, and says what is in it.

    Checkpoints lie in `store` until then. Raises what `methods.machinery.training.Training` raises.
    """
    from erasure_bench.methods.base import EraseContext
    from erasure_bench.methods.machinery.teaching import taught, teach
    from erasure_bench.models.conditional.folder import build, save_class_model, with_network

    pictures = taught(parts, recipe)
    description = Description(
        classes=classes,
        side=base.side,
        channels=pictures.channels,
        sizes=base.sizes,
        preset=base.name,
        origin=Origin(data=base.data, digest=parts.digest(), pictures=len(pictures.labels)),
        recipe=recipe.model_dump(mode="json"),
    )
    task = content_id({"kind": "base", "description": plain(description.model_dump(mode="json"))})
    checkpoints = StoreCheckpoints(store, task, checkpoint_seconds, say)
    network = build(description, recipe.seed)
    model = with_network(network, description, name=base.name, digest="", device=pick_device(device))
    context = EraseContext(seed=recipe.seed, report=report, checkpoints=checkpoints)
    tuning = teach(model, pictures, recipe, context)
    (part,) = model.parts
    trained = {name.removeprefix(f"{part}."): tensor for name, tensor in tuning.tensors.items()}
    save_class_model(out, description, {**network.state_dict(), **trained})
    checkpoints.clear()
    return description
