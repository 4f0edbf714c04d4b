"""Arrays and named tensors from files that others publish, pickles among them, without running their code."""

import io
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from erasure_bench.errors import BenchError
from erasure_bench.evaluators.pickle_bombs import BombError, Budget, refuse_bombs
from erasure_bench.models.checkpoints.bombs import refuse_packed

Array = NDArray[np.float32]
FORMATS = ".npy, .safetensors, .p, .pkl, .pickle, .pt, .pth"


def read_array(file: Path, what: str) -> Array:
    """The one array in a file of the `FORMATS`, as float32. Raises BenchError where there is none."""
    found = _read(file, what)
    if isinstance(found, Mapping):
        if len(found) != 1:
            raise BenchError(f"{what} {file}: {len(found)} tensors ({', '.join(map(str, found))}), not one")
        (found,) = found.values()
    return _as_array(found, file, what)


def read_tensors(file: Path, what: str) -> dict[str, Array]:
    """Every named tensor of a state dict, a Lightning checkpoint's too, as float32. Raises BenchError."""
    found = _read(file, what)
    if isinstance(found, Mapping) and isinstance(found.get("state_dict"), Mapping):
        found = found["state_dict"]
    if not isinstance(found, Mapping) or not found:
        raise BenchError(f"{what} {file}: no named tensors in it")
    return {str(name): _as_array(value, file, what) for name, value in found.items()}


def _read(file: Path, what: str) -> Any:
    try:
        match file.suffix.lower():
            case ".npy":
                return np.load(file, allow_pickle=False)
            case ".safetensors":
                from safetensors.numpy import load_file

                return load_file(file)
            case ".p" | ".pkl" | ".pickle":
                content = file.read_bytes()
                refuse_bombs(content)
                return _Restricted(io.BytesIO(content)).load()
            case ".pt" | ".pth" | ".ckpt":
                refuse_packed(file)
                return _load_tensors(file)
    except BenchError:
        raise
    except Exception as error:  # each format's own
        raise BenchError(f"{what} {file} cannot be read: {why_unread(error)}") from error
    raise BenchError(f"{what} {file}: unknown kind of file; valid: {FORMATS}")


def why_unread(error: Exception) -> str:
    """In one line; not in torch's words of a pickle with more than tensors: they advise to run its code."""
    name, words = type(error).__name__, " ".join(str(error).split())[:200]
    return name if "weights_only" in str(error) or not words else f"{name}: {words}"


def _as_array(value: Any, file: Path, what: str) -> Array:
    """Raises BenchError where it is no array of finite numbers."""
    try:
        _check_size(value, Budget(file.stat().st_size))
        plain = value.detach().float().cpu().numpy() if hasattr(value, "detach") else value
        array = np.asarray(plain, dtype=np.float32)
    except BombError as error:
        raise BenchError(f"{what} {file}: {error}") from error
    except (TypeError, ValueError):
        raise BenchError(f"{what} {file}: it holds a {type(value).__name__}, no array of numbers") from None
    if not np.isfinite(array).all():
        raise BenchError(f"{what} {file}: not all of its numbers are finite")
    return array


def _check_size(value: Any, budget: Budget) -> None:
    """Raises BombError where there are more numbers than the file has bytes."""
    if isinstance(value, list | tuple):
        budget.take()
        for each in value:
            _check_size(each, budget)
    elif hasattr(value, "numel"):
        budget.take(value.numel())
    else:
        budget.take(getattr(value, "size", 1))


class _Restricted(pickle.Unpickler):
    """Makes numpy arrays and torch tensors, lists and numbers, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _ARRAYS:
            return super().find_class(module, name)
        if (module, name) == ("torch.storage", "_load_from_bytes"):
            return _from_bytes
        if (module, name) in _TENSORS:
            return _TENSORS[module, name]()
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is no part of an array")


_ARRAYS = {
    (module, name)
    for module in ("numpy.core.multiarray", "numpy._core.multiarray")
    for name in ("_reconstruct", "scalar")
} | {("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode"), ("collections", "OrderedDict")}


def _rebuild_tensor() -> Callable[..., Any]:
    from torch._utils import _rebuild_tensor_v2

    return _rebuild_tensor_v2


def _rebuild_parameter() -> Callable[..., Any]:
    from torch._utils import _rebuild_parameter

    return _rebuild_parameter


_TENSORS: dict[tuple[str, str], Callable[[], Callable[..., Any]]] = {
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
}


def _from_bytes(data: bytes) -> Any:
    """A pickled tensor's storage, which torch would unpickle without a look at what it asks for."""
    return _load_tensors(io.BytesIO(data))


def _load_tensors(file: Path | io.BytesIO) -> Any:
    import torch

    return torch.load(file, map_location="cpu", weights_only=True)
