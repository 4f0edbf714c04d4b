"""An onnxruntime session on the device that the user asked for."""

from pathlib import Path
from typing import Any

from erasure_bench.errors import BenchError
from erasure_bench.evaluators.packages import required_module


def open_session(file: Path, device: str, needed_by: str) -> Any:
    """An `InferenceSession` on `device` ("cpu", "cuda", "cuda:1"), or a `BenchError` where that cannot be."""
    onnxruntime = required_module("onnxruntime", "onnxruntime", needed_by)
    kind, colon, index = device.partition(":")
    provider = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}.get(kind)
    if provider not in onnxruntime.get_available_providers() or (colon and not index.isdecimal()):
        raise BenchError(
            f"evaluator {needed_by!r}: this onnxruntime cannot run on {device!r}: use --evaluator-option "
            f"device=cpu"
            f"{', or pip install onnxruntime-gpu' if kind == 'cuda' else ''}"
        )
    where = (provider, {"device_id": int(index)}) if index else provider
    try:
        return onnxruntime.InferenceSession(str(file), providers=[where])
    except Exception as error:
        why = " ".join(str(error).split())[:300]
        raise BenchError(f"{file} cannot be opened as an ONNX network: {why}") from error
