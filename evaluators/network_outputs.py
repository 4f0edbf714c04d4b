"""A network in an ONNX or TorchScript file as a function from one array to all that it gives."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from erasure_bench.evaluators.onnx_session import open_session
from erasure_bench.evaluators.torchscript_network import open_torchscript

Outputs = tuple[NDArray[Any], ...]


def open_outputs(file: Path, device: str, needed_by: str) -> Callable[[NDArray[Any]], Outputs]:
    """ONNX by the suffix .onnx, else TorchScript. Raises `BenchError` for a file that is neither."""
    if file.suffix == ".onnx":
        session = open_session(file, device, needed_by)
        name = session.get_inputs()[0].name
        return lambda batch: tuple(session.run(None, {name: batch}))
    network = open_torchscript(file, device, needed_by)

    def run(batch: NDArray[Any]) -> Outputs:
        given = network(batch)
        return given if isinstance(given, tuple) else (given,)

    return run
