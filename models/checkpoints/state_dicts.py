"""State dicts in diffusers' and transformers' names: full, partial (ESD, UCE), nested (CA, ESD)."""

from collections.abc import Mapping

from torch import Tensor

from erasure_bench.models.checkpoints.contents import Contents, Format, Source, Target, is_flat, is_nested
from erasure_bench.models.checkpoints.names import extents, is_known, left_out_note, renamed
from erasure_bench.models.checkpoints.reading import Tree

PARTS = ("unet", "text_encoder")
DELTA_LEVELS = {*PARTS, "modifier_token"}


def read_part(source: Source, part: str) -> Contents:
    """A file that is known to hold one whole part, in diffusers' or transformers' names."""
    found = renamed(source.tree, part)
    return Contents(part, found.tensors, left_out_note(found.left_out), complete=(part,))


def _matches_flat(tree: Tree) -> bool:
    return is_flat(tree) and any(is_known(name) for name in tree)


def _read_flat(source: Source, target: Target) -> Contents:
    found = renamed(source.tree)
    return Contents(
        f"state dict in diffusers names: {extents(found.tensors, target.base)}",
        found.tensors,
        left_out_note(found.left_out),
    )


def _matches_delta(tree: Tree) -> bool:
    return is_nested(tree) and tree.keys() <= DELTA_LEVELS and not tree.keys().isdisjoint(PARTS)


def _read_delta(source: Source, target: Target) -> Contents:
    """Concept Ablation's and Custom Diffusion's delta.bin: the changed tensors' new values, whole."""
    tensors: dict[str, Tensor] = {}
    left_out: list[str] = []
    for part in PARTS:
        found = renamed(source.tree.get(part, {}), part)
        tensors |= found.tensors
        left_out += found.left_out
    notes = left_out_note(left_out)
    if tokens := source.tree.get("modifier_token"):
        notes += (f"the new tokens {', '.join(tokens)} are not used: no prompt of a suite names them",)
    return Contents(
        f"state dicts by part (Concept Ablation's delta): {extents(tensors, target.base)}", tensors, notes
    )


def _matches_modules(tree: Tree) -> bool:
    return is_nested(tree) and any(is_known(f"{module}.") for module in tree)


def _read_modules(source: Source, target: Target) -> Contents:
    """The ESD notebooks' files: the state dict of every trained module by the module's name."""
    flat = {
        f"{module}.{name}": tensor
        for module, tensors in source.tree.items()
        if isinstance(tensors, Mapping)
        for name, tensor in tensors.items()
    }
    found = renamed(flat)
    return Contents(
        f"state dicts by module (ESD): {extents(found.tensors, target.base)}",
        found.tensors,
        left_out_note(found.left_out),
    )


DELTA = Format("Concept Ablation delta.bin", _matches_delta, _read_delta)
MODULES = Format("ESD's .pt of state dicts by module", _matches_modules, _read_modules)
STATE_DICT = Format("state dict, full or partial, in diffusers or CLIP names", _matches_flat, _read_flat)
