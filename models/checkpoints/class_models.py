"""State dicts of class-conditional models, whose one network has names that no library shares."""

from erasure_bench.models.checkpoints.contents import Contents, Source, Target, is_flat

TITLE = "state dict of a class-conditional model"


def read_own_names(source: Source, target: Target, *, whole: bool = False) -> Contents | None:
    """The file's tensors, if all have the names that the model's one network gives them; else None.

    The network's name may stand before each. A `whole` file is bound to hold every tensor.
    """
    parts = {name.partition(".")[0] for name in target.base}
    if len(parts) != 1 or not is_flat(source.tree):
        return None
    (part,) = parts
    tensors = {f"{part}.{name.removeprefix(f'{part}.')}": tensor for name, tensor in source.tree.items()}
    if not whole and not tensors.keys() <= target.base.keys():
        return None
    held = f"{len(tensors)} of {len(target.base)} tensors"
    return Contents(f"{TITLE}: {held}", tensors, complete=(part,) if whole else ())
