"""The file that LPIPS is read from: each backbone's features and layer weights, named as in torchvision.

A safetensors file with `alex.features.0.weight`, `alex.lin.0` and so on, `vgg.…` the same; it may have one
backbone alone. `bench weights lpips` writes it.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from erasure_bench.errors import BenchError
from erasure_bench.stand_ins import refuse_stand_in

if TYPE_CHECKING:
    from erasure_bench.evaluators.lpips_network import LPIPS

COPY = "lpips/lpips.safetensors"
"""Where the file is looked for below $BENCH_MODELS."""
COMMAND = "bench weights lpips"
Tensors = Mapping[str, NDArray[np.float32]]


def write_weights(
    file: Path, networks: Mapping[str, Tensors], sources: Mapping[str, Mapping[str, str]]
) -> None:
    """Write backbones, name -> its tensors; `sources` says what they were read from.

    Same tensors and sources, same bytes. Raises BenchError where the file cannot be written.
    """
    from safetensors.numpy import save

    tensors = {
        f"{network}.{name}": np.ascontiguousarray(tensor, dtype=np.float32)
        for network, named in networks.items()
        for name, tensor in named.items()
    }
    said = json.dumps({"version": "0.1", "sources": sources}, sort_keys=True)
    content = save(tensors, metadata={"lpips": said})  # one entry: safetensors writes several in any order
    half_written = file.with_name(f"{file.name}.{os.getpid()}.tmp")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        half_written.write_bytes(content)
        half_written.replace(file)
    except OSError as error:
        raise BenchError(f"{file} cannot be written: {error.strerror or error} (--out FILE)") from error


def load_network(file: Path, network: str, device: str) -> "LPIPS":
    """The metric with one backbone of the file; raises BenchError where that is not whole."""
    import torch

    from erasure_bench.evaluators.lpips_network import BACKBONES, LPIPS

    backbone = BACKBONES[network]
    found = _tensors(file, network)
    for name, shape in backbone.shapes().items():
        if name not in found:
            raise BenchError(f"{file}: {network}.{name} is missing; make the file again: {COMMAND}")
        if found[name].shape != shape:
            shapes = f"{list(found[name].shape)} instead of {list(shape)}"
            raise BenchError(f"{file}: {network}.{name} has shape {shapes}; make the file again: {COMMAND}")
        if not np.isfinite(found[name]).all():
            raise BenchError(f"{file}: {network}.{name} is not finite; make the file again: {COMMAND}")
    tensors = {name: torch.from_numpy(each.astype(np.float32)) for name, each in found.items()}
    return LPIPS(backbone, tensors).to(device)


def digest_of(file: Path, network: str) -> str:
    """sha256 of one backbone's tensors, the same whatever else the file holds."""
    stat = file.stat()
    key = (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino, stat.st_dev)
    return _digest(file.resolve(), network, key)


@lru_cache(maxsize=16)
def _digest(file: Path, network: str, key: tuple[int, ...]) -> str:
    found = _tensors(file, network)
    digest = hashlib.sha256()
    for name in sorted(found):
        tensor = np.ascontiguousarray(found[name])
        digest.update(f"{name} {tensor.dtype.str} {list(tensor.shape)}\n".encode())
        digest.update(tensor.tobytes())
    return digest.hexdigest()


def _tensors(file: Path, network: str) -> dict[str, NDArray[Any]]:
    """The tensors of one backbone by their names in it; raises BenchError where there are none."""
    from safetensors import safe_open

    refuse_stand_in(file)
    start = f"{network}."
    try:
        with safe_open(file, framework="numpy") as opened:
            names = [*opened.keys()]
            found = {
                name.removeprefix(start): opened.get_tensor(name) for name in names if name.startswith(start)
            }
    except Exception as error:
        why = " ".join(str(error).split())[:200]
        raise BenchError(f"{file} is no safetensors file: {why}; make it with {COMMAND}") from error
    if not found:
        held = ", ".join(sorted({name.partition(".")[0] for name in names})) or "nothing"
        raise BenchError(
            f"{file}: no LPIPS weights for {network!r} in it, it holds {held}: make one that has them with "
            f"{COMMAND}, or leave {network} out (--evaluator-option perceptual.networks=LIST)"
        )
    return found
