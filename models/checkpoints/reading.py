"""Reads weight files without ever running code that is in them."""

import pickle
import re
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from erasure_bench.errors import BenchError
from erasure_bench.models.checkpoints.bombs import refuse_packed
from erasure_bench.stand_ins import refuse_stand_in

Tree = Mapping[str, Any]
"""A file's tensors by name; a value is a Tensor or such a mapping again."""

LARGEST_HEADER = 100 << 20
"""Bytes; safetensors itself allows no more."""

SHAPES_ONLY = "meta"
"""The torch device on which a tensor has a name, a shape and a dtype, but no values."""

WRAPPERS = frozenset({"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"})
"""Levels that DistributedDataParallel, torch.compile, FSDP and activation checkpointing put into names."""


class FileContent(NamedTuple):
    """Tensors, on the CPU and where possible still on the disk, and a safetensors file's metadata.

    Where only shapes are read, the tensors are on `SHAPES_ONLY` instead.
    """

    tree: Tree
    metadata: Mapping[str, str]


def read_files(paths: Sequence[Path], *, shapes_only: bool = False) -> FileContent:
    """What shards hold together, or a single file.

    Raises BenchError as `read_file` does, and where two files hold a tensor of the same name.
    """
    tree: dict[str, Any] = {}
    metadata: dict[str, str] = {}
    for path in paths:
        content = read_file(path, shapes_only=shapes_only)
        if twice := sorted(tree.keys() & content.tree.keys()):
            raise BenchError(f"{path}: {twice[0]} is in another of the shards too")
        tree |= content.tree
        metadata |= content.metadata
    return FileContent(tree, metadata)


def read_file(path: Path, *, shapes_only: bool = False) -> FileContent:
    """What a safetensors file, or a file of `torch.save`, holds; its content says which it is.

    Pickles are read with `weights_only`: whatever is no tensor is left out. Levels that only wrappers
    put into names (`WRAPPERS`) are dropped. With `shapes_only` no tensor is read, and a file that
    is cut short is found out all the same. Raises BenchError for another kind of file, for a damaged
    one, and for a pickle that only its own code could read.
    """
    refuse_stand_in(path)
    try:
        with path.open("rb") as file:
            start = file.read(16)
        size = path.stat().st_size
    except OSError as error:
        raise BenchError(f"{path}: cannot be read: {error.strerror}") from error
    if _is_safetensors(start, size):
        content = _read_safetensors(path, shapes_only)
    elif start.startswith((b"PK\x03\x04", b"\x80")):
        content = FileContent(_read_pickle(path, shapes_only), {})
    else:
        raise BenchError(f"{path}: neither a safetensors file nor one that torch.save wrote, or damaged")
    return content._replace(tree=_unwrapped(path, content.tree))


def flat_names(tree: Tree, prefix: str = "") -> list[str]:
    """The names of all tensors, inner levels joined by dots."""
    names = []
    for name, value in tree.items():
        if isinstance(value, Mapping):
            names += flat_names(value, f"{prefix}{name}.")
        else:
            names.append(f"{prefix}{name}")
    return names


def _is_safetensors(start: bytes, size: int) -> bool:
    return start[8:9] == b"{" and 8 + int.from_bytes(start[:8], "little") <= min(size, LARGEST_HEADER)


def _unwrapped(path: Path, tree: Tree) -> Tree:
    """The tree without wrappers' levels in its names: "unet._orig_mod.x" is "unet.x"."""
    unwrapped: dict[str, Any] = {}
    for name, value in tree.items():
        bare = ".".join(level for level in name.split(".") if level not in WRAPPERS) or name
        if bare in unwrapped:
            raise BenchError(f"{path}: holds {bare} twice, with and without a wrapper's name ({name})")
        unwrapped[bare] = _unwrapped(path, value) if isinstance(value, Mapping) else value
    return unwrapped


def _read_safetensors(path: Path, shapes_only: bool) -> FileContent:
    try:
        with safe_open(path, framework="pt") as file:
            tree = {
                name: _shape_of(file, name) if shapes_only else file.get_tensor(name)
                for name in list(file.keys())
            }
            return FileContent(tree, file.metadata() or {})
    except (SafetensorError, OSError) as error:
        raise BenchError(f"{path} is damaged: {_one_line(error)}") from error


def _shape_of(file: Any, name: str) -> Tensor:
    held = file.get_slice(name)
    # A slice of no rows has the dtype, whatever name the format has for it, and reads nothing.
    shape = held.get_shape()
    dtype = held[:0].dtype if shape else file.get_tensor(name).dtype
    return torch.empty(shape, dtype=dtype, device=SHAPES_ONLY)


def _read_pickle(path: Path, shapes_only: bool) -> Tree:
    refuse_packed(path)
    try:
        with torch.serialization.safe_globals(list(STAND_INS)):
            value = _load(path, shapes_only)
    except pickle.UnpicklingError as error:
        if needed := re.search(r"GLOBAL (\S+)", str(error)):
            raise BenchError(_unsafe(path, needed[1])) from error
        raise BenchError(f"{path} is damaged or not safe to load: {_one_line(error)}") from error
    except Exception as error:  # a damaged file can fail anywhere in torch's reader
        raise BenchError(f"{path} is damaged: {type(error).__name__}: {_one_line(error)}") from error
    if not isinstance(value, Mapping):
        raise BenchError(f"{path}: holds a {type(value).__name__}; expected tensors by name")
    tensors = _tensors(value)
    _refuse_expanded(path, tensors)
    return tensors


def _refuse_expanded(path: Path, tree: Tree) -> None:
    """Raises BenchError for a tensor of more values than the file has bytes: one value, shown many times."""
    for name, value in tree.items():
        if isinstance(value, Mapping):
            _refuse_expanded(path, value)
        elif value.numel() > path.stat().st_size:
            raise BenchError(f"{path}: {name} has {value.numel():,} values, the file fewer bytes: refused")


def _load(path: Path, shapes_only: bool) -> Any:
    settings: dict[str, Any] = {"map_location": SHAPES_ONLY if shapes_only else "cpu", "weights_only": True}
    if zipfile.is_zipfile(path) and path.suffix != ".safetensors":
        return torch.load(path, mmap=True, **settings)
    # Newer versions of torch choose the reader by the name, which a stream has none of.
    with path.open("rb") as file:
        return torch.load(file, **settings)


def _unsafe(path: Path, needed: str) -> str:
    return (
        f"{path}: refused: reading this pickle would run code ({needed}). Where you trust it, convert it to "
        "safetensors elsewhere: data = torch.load(file, weights_only=False); "
        "safetensors.torch.save_file({name: tensor.contiguous() for name, tensor in "
        "data.get('state_dict', data).items() if torch.is_tensor(tensor)}, new_file)"
    )


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


def _tensors(value: Mapping[Any, Any]) -> dict[str, Any]:
    """`value` without what is neither a tensor nor holds one."""
    kept: dict[str, Any] = {}
    for name, item in value.items():
        if not isinstance(name, str):
            continue
        if isinstance(item, Tensor):
            kept[name] = item.detach()
        elif isinstance(item, Mapping):
            if inner := _tensors(item):
                kept[name] = inner
        elif isinstance(item, int | float) and name.endswith(".alpha"):  # some LoRA scripts save it bare
            kept[name] = torch.tensor(float(item))
    return kept


class _StandIn:
    """Takes the place of an object that says how training went; does nothing and holds nothing."""

    def __new__(cls, *arguments: object, **named: object) -> "_StandIn":
        return super().__new__(cls)

    def __init__(self, *arguments: object, **named: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass


# Stable Diffusion's own .ckpt files, and all that were fine-tuned in its code base, hold the state of
# Lightning's callbacks beside the weights. Reading past it needs the names, not the code behind them.
STAND_INS = tuple(
    type(name, (_StandIn,), {"__module__": module})
    for module, name in (
        ("pytorch_lightning.callbacks.model_checkpoint", "ModelCheckpoint"),
        ("lightning.pytorch.callbacks.model_checkpoint", "ModelCheckpoint"),
        ("numpy.core.multiarray", "scalar"),
        ("numpy._core.multiarray", "scalar"),
        ("numpy", "dtype"),
    )
)
