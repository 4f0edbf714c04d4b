"""A TorchScript file as a function from one array to another."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from erasure_bench.errors import BenchError
from erasure_bench.evaluators.packages import required_module

Network = Callable[[NDArray[Any]], Any]


def open_torchscript(file: Path, device: str, needed_by: str) -> Network:
    """The network in `file` on `device`: a batch as an array to its float32 output as an array.

    One that gives several outputs gives a tuple of arrays. Raises BenchError where the file is none.
    """
    torch = required_module("torch", "torch", needed_by)
    try:
        with warnings.catch_warnings():
            # torch deprecates the format, but it is what published networks come in.
            warnings.simplefilter("ignore", FutureWarning)
            network = torch.jit.load(str(file), map_location=device).eval()
    except Exception as error:
        raise BenchError(
            f"{file} cannot be opened as TorchScript: {' '.join(str(error).split())[:200]}; plain "
            f"checkpoints lack "
            f"their network: save one with torch.jit.save or as ONNX"
        ) from error

    def run(batch: NDArray[Any]) -> Any:
        with torch.inference_mode():
            given = network(torch.from_numpy(batch).to(device))
            if isinstance(given, tuple | list):
                return tuple(each.float().cpu().numpy() for each in given)
            return given.float().cpu().numpy()

    return run
