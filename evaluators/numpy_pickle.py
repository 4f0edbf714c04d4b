"""Pickles that hold nothing but numbers in numpy arrays, read without running anything of theirs.

A pickle is a program. The three names that an array's pickle calls are answered by this module, each
other is refused, so that a file from anywhere can do no more than give float32 arrays.
"""

import io
import math
import pickle
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from erasure_bench.errors import BenchError
from erasure_bench.evaluators.pickle_bombs import Budget, refuse_bombs

Array = NDArray[np.float32]


def read_arrays(content: bytes, source: str) -> Any:
    """The dicts, numbers, texts and float32 arrays in a pickle.

    Raises BenchError, which names `source`, for anything else.
    """
    try:
        refuse_bombs(content)
        return _opened(_Arrays(io.BytesIO(content)).load(), Budget(len(content)))
    except BenchError:
        raise
    except Exception as error:  # what a damaged pickle ends in
        why = " ".join(str(error).split())[:200]
        raise BenchError(f"{source}: is no pickle of numpy arrays: {why or type(error).__name__}") from error


class _Type:
    """What stands for a numpy dtype: only float32 is one."""

    def __init__(self, code: str, *_: Any) -> None:
        if code != "f4":
            raise ValueError(f"an array of {code!r} instead of float32")
        self.order: Literal["<", ">", "="] = "="

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if state[1] not in ("<", ">", "="):
            raise ValueError(f"an array with bytes in the order {state[1]!r}")
        self.order = state[1]


class _Array:
    """What stands for a numpy array until all of it is read."""

    value: Array | None = None

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, kind, by_columns, content = state
        if not isinstance(kind, _Type) or not isinstance(content, bytes):
            raise ValueError("an array without float32 numbers")
        if len(content) != 4 * math.prod(shape):
            raise ValueError(f"{len(content)} bytes for an array of shape {shape}")
        numbers = np.frombuffer(content, np.dtype(np.float32).newbyteorder(kind.order))
        self.value = numbers.reshape(shape, order="F" if by_columns else "C").astype(np.float32)


def _reconstruct(*_: Any) -> _Array:
    return _Array()


_KNOWN = {
    "_reconstruct": _reconstruct,
    "ndarray": _Array,
    "dtype": _Type,
}
_MODULES = ("numpy", "numpy.core.multiarray", "numpy._core.multiarray")


class _Arrays(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if module not in _MODULES or name not in _KNOWN:
            raise ValueError(f"it calls {module}.{name}, which is no array")
        return _KNOWN[name]

    def persistent_load(self, pid: Any) -> Any:
        raise ValueError("it refers to something outside of itself")


def _opened(value: Any, budget: Budget) -> Any:
    """The arrays in place of what stood for them."""
    budget.take()
    if isinstance(value, dict):
        return {_opened(key, budget): _opened(each, budget) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_opened(each, budget) for each in value)
    if isinstance(value, _Array):
        if value.value is None:
            raise ValueError("an array without numbers")
        return value.value
    if isinstance(value, _Type):
        raise ValueError("a number type without an array")
    return value
