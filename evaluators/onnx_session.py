"""An onnxruntime session on the device that the user asked for."""

from pathlib import Path
from typing import Any

from erasure_bench.errors import BenchError
from erasure_bench.evaluators.packages import required_module, version_of

Provider = str | tuple[str, dict[str, int]]


def runtime_version() -> str:
    """The version of onnxruntime, whose build for GPUs is installed under another name."""
    return version_of("onnxruntime", "onnxruntime-gpu")


def open_session(file: Path, device: str, needed_by: str) -> Any:
    """An `InferenceSession` on `device` ("cpu", "cuda", "cuda:1"), or a `BenchError` where that cannot be."""
    onnxruntime = required_module("onnxruntime", "onnxruntime", needed_by)
    providers = execution_providers(device, needed_by)
    try:
        return onnxruntime.InferenceSession(str(file), providers=providers)
    except Exception as error:
        why = " ".join(str(error).split())[:300]
        raise BenchError(f"{file} cannot be opened as an ONNX network: {why}") from error


def execution_providers(device: str, needed_by: str) -> list[Provider]:
    """What onnxruntime calls `device`; raises `BenchError` where this installation cannot run on it."""
    onnxruntime = required_module("onnxruntime", "onnxruntime", needed_by)
    kind, colon, index = device.partition(":")
    provider = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}.get(kind)
    usable = provider in onnxruntime.get_available_providers()
    if provider is None or not usable or (colon and not index.isdecimal()):
        raise BenchError(
            f"evaluator {needed_by!r}: this onnxruntime cannot run on {device!r}: use --evaluator-option "
            f"device=cpu"
            f"{', or pip install onnxruntime-gpu' if kind == 'cuda' else ''}"
        )
    return [(provider, {"device_id": int(index)}) if index else provider]
