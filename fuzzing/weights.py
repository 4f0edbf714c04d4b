"""Files of weights and arrays that others publish: none of them is run, none takes more than it is."""

import io
import json
import pickle
from functools import cache
from typing import Any

import numpy as np
import torch
from safetensors.torch import save

from erasure_bench.evaluators.array_file import read_array, read_tensors
from erasure_bench.evaluators.numpy_pickle import read_arrays
from erasure_bench.models.checkpoints.reading import read_file
from erasure_bench.models.json_files import read_json
from erasure_bench.models.weight_files import shards
from fuzzing.harness import Harness
from fuzzing.places import written


def _safetensors(data: bytes) -> None:
    path = written("model.safetensors", data)
    for shapes_only in (True, False):
        read_file(path, shapes_only=shapes_only)


def _checkpoint(data: bytes) -> None:
    path = written("model.ckpt", data)
    for shapes_only in (True, False):
        read_file(path, shapes_only=shapes_only)


def _array(data: bytes) -> None:
    ending = "npy" if data.startswith(b"\x93NUMPY") else "pkl"
    read_array(written(f"array.{ending}", data), "--weights")


def _tensors(data: bytes) -> None:
    read_tensors(written("state.pkl", data), "--weights")


def _arrays(data: bytes) -> None:
    read_arrays(data, "lin.pth")


def _config(data: bytes) -> None:
    read_json(written("config.json", data))
    shards(written("model.safetensors.index.json", data))


def _torch_save(value: Any, **settings: Any) -> bytes:
    out = io.BytesIO()
    torch.save(value, out, **settings)
    return out.getvalue()


@cache
def _state() -> dict[str, torch.Tensor]:
    return {"unet.a": torch.arange(6.0).reshape(2, 3), "text.b": torch.ones(2, dtype=torch.float16)}


def _numpy_seeds() -> list[bytes]:
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    values: tuple[Any, ...] = (array, {"lin": [array, array]}, [0.5, 1.5], {"a": array.astype(np.float64)})
    return [pickle.dumps(value, protocol) for value in values for protocol in (2, 4)]


def _npy() -> bytes:
    out = io.BytesIO()
    np.save(out, np.arange(6, dtype=np.float32).reshape(2, 3))
    return out.getvalue()


HARNESSES = (
    Harness(
        "safetensors",
        "weights: safetensors, headers and values",
        lambda: [save(_state(), {"format": "pt"}), save({"x": torch.zeros(0, 4)})],
        _safetensors,
    ),
    Harness(
        "checkpoint",
        "weights: what torch.save wrote",
        lambda: [
            _torch_save(_state()),
            _torch_save({"state_dict": _state(), "epoch": 3}, _use_new_zipfile_serialization=False),
        ],
        _checkpoint,
    ),
    Harness(
        "array-file",
        "arrays: .npy, .pkl",
        lambda: [_npy(), *_numpy_seeds()],
        _array,
    ),
    Harness(
        "state-pickle",
        "named tensors: .pkl",
        lambda: [pickle.dumps(_state()), *_numpy_seeds()],
        _tensors,
    ),
    Harness(
        "numpy-pickle",
        "a pickle of numpy arrays",
        _numpy_seeds,
        _arrays,
    ),
    Harness(
        "weights-json",
        "a network's config, an index of shards: JSON",
        lambda: [json.dumps({"weight_map": {"a": "x-1.safetensors", "b": "x-2.safetensors"}}).encode()],
        _config,
    ),
)
