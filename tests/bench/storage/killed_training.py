"""A real erasure with checkpoints at every step, to be killed: `killed_training.py MODEL STORE`.

Tells every picture, Fisher sample and step on a line of its own; the edit is saved in STORE/edit.
"""

import sys
from pathlib import Path

from erasure_bench.bench.storage.cache import StoreCache
from erasure_bench.bench.storage.checkpoints import StoreCheckpoints
from erasure_bench.bench.storage.store import Store
from erasure_bench.methods.base import EraseContext
from erasure_bench.methods.selective_amnesia.amnesia import SelectiveAmnesia
from erasure_bench.models.diffusion_model import DiffusionModel
from erasure_bench.prompt_suites.concepts import Concept

CAT = Concept(name="cat", kind="object", targets=("grumpy cat",), anchor="cat")
SETTINGS = SelectiveAmnesia(
    surrogate_images=3,
    general_images=3,
    fisher="fast",
    fisher_terms=4,
    sampling_steps=2,
    parameters="xattn",
    steps=12,
    batch_size=2,
    ema_decay=0.9,
)


def main(model: Path, store: Store) -> None:
    context = EraseContext(
        report=lambda progress: print("step", progress.step, flush=True),
        prepared=lambda made: print(made.unit, made.made, flush=True),
        general_prompts=("a tree", "a boat", "a cup"),
        cache=StoreCache(store, "tiny", "float32", checkpoint_seconds=0),
        checkpoints=StoreCheckpoints(store, "ab" * 32, 0),
    )
    edit = SETTINGS.erase(DiffusionModel.from_directory(model), [CAT], context)
    edit.save(store.root / "edit")


if __name__ == "__main__":
    with Store(Path(sys.argv[2])) as store:
        main(Path(sys.argv[1]), store)
