"""`python -m benchmarks.unet_passes`: a UNet's pass by batch, memory layout and compiler, on one device.

Random weights of Stable Diffusion 1.4's or SDXL's shape (`benchmarks.shapes`): `python -m
benchmarks.unet_passes --shape sdxl --device cuda --dtype bfloat16`. For each number of rows and each way:
rows a second, how that compares with the plain way (timed in turns, with the 95 % interval over pairs)
and the share of the device's measured matrix rate; for each compiled way the seconds of compiling, and
how often it was compiled anew for ten edits whose weights are put into the network's own tensors. A batch
that does not fit ends its way. Writes `results/performance/unet-SHAPE-DEVICE.json`.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch._dynamo.utils import counters

from benchmarks.devices import device_record, flops_of, matrix_rate, waiting
from benchmarks.pairs import in_turns, ratio_of
from benchmarks.recording import record
from benchmarks.shapes import UNETS, pass_of, unet_of
from erasure_bench.models.batches import is_out_of_memory, release_memory
from erasure_bench.models.compiling import release

EDITS = 10
WAYS: dict[str, tuple[bool, dict[str, Any] | None]] = {
    "plain": (False, None),
    "channels last": (True, None),
    "compiled": (False, {}),
    "compiled, channels last": (True, {}),
    "compiled, CUDA graphs": (True, {"mode": "reduce-overhead"}),
    "compiled, tuned": (True, {"mode": "max-autotune"}),
}
"""Whether weights lie channels last, and the options of `torch.compile`, None where nothing is compiled."""


def measure(
    shape: str,
    device: str,
    dtype: str,
    *,
    rows: list[int],
    ways: list[str],
    pairs: int,
    compiler: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """The figures; `compiler` are options that every compiled way has besides its own."""
    precision = getattr(torch, dtype)
    plain, wait = unet_of(shape, device, precision), waiting(device)
    rate = matrix_rate(device, precision)
    flops = flops_of(plain, {**pass_of(plain, 1).inputs, "return_dict": False})
    found: dict[str, Any] = {}
    for name in ways:
        channels_last, options = WAYS[name]
        network = unet_of(shape, device, precision)
        if channels_last:
            network.to(memory_format=torch.channels_last)
        compiles = options is not None
        asked = torch.compile(network, **{**options, **(compiler or {})}) if options is not None else network
        found[name] = {"rows": {}}
        for count in rows:
            try:
                release_memory()
                figures = _of_rows(plain, network, asked, count, pairs, wait, compiles=compiles)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                found[name]["rows"][count] = "out of memory"
                break
            figures["share_of_matrix_rate"] = round(figures["rows_per_second"] * flops / rate, 3)
            found[name]["rows"][count] = figures
        if compiles:
            found[name]["compiled_anew_over_edits"] = recompiles(network, asked, rows[0])
        release()
    return {
        "shape": shape,
        "dtype": dtype,
        "device": device_record(device),
        "giga_operations_per_row": float(f"{flops / 1e9:.4g}"),
        "matrix_tera_operations_per_second": round(rate / 1e12, 3),
        "ways": found,
    }


def _of_rows(
    plain: Any,
    network: Any,
    asked: Callable[..., Any],
    count: int,
    pairs: int,
    wait: Callable[[], None],
    *,
    compiles: bool,
) -> dict[str, Any]:
    mine, other = pass_of(network, count), pass_of(plain, count)
    with torch.inference_mode():
        started = time.perf_counter()
        mine(asked)
        wait()
        first = time.perf_counter() - started
        ours, theirs = in_turns(lambda: mine(asked), other, pairs, wait=wait)
    figures = {
        "rows_per_second": round(count / min(ours), 3),
        "times_as_fast_as_plain": ratio_of(ours, theirs).record(),
    }
    return {**figures, "compile_seconds": round(first, 1)} if compiles else figures


def recompiles(network: Any, asked: Callable[..., Any], count: int, edits: int = EDITS) -> int:
    """How often it is compiled anew while so many edits are put in place and taken out again."""
    one = pass_of(network, count)
    weights = [tensor for name, tensor in network.named_parameters() if "attn2.to_k" in name]
    with torch.inference_mode():
        one(asked)
        before = counters["stats"]["unique_graphs"]
        for edit in range(1, edits + 1):
            for weight in weights:
                weight.mul_(1 + edit / 100)
            one(asked)
    return int(counters["stats"]["unique_graphs"] - before)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.unet_passes", description=__doc__)
    parser.add_argument("--shape", choices=tuple(UNETS), default="sd14")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--rows", default="2,8,16,32,64,128", help="comma list; two for each picture")
    parser.add_argument("--ways", default="|".join(WAYS), help="list with | between")
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    figures = measure(
        asked.shape,
        asked.device,
        asked.dtype,
        rows=[int(count) for count in asked.rows.split(",")],
        ways=asked.ways.split("|"),
        pairs=asked.pairs,
    )
    name = f"unet-{asked.shape}-{asked.device.partition(':')[0]}.json"
    record(figures, asked.out or Path("results/performance") / name)


if __name__ == "__main__":
    main()
