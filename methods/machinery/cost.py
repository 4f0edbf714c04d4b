"""What an erasure cost: wall time and peak memory."""

import resource
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Literal, Self

import torch

Memory = Literal["process", "cuda"]


@dataclass(frozen=True)
class Cost:
    """Wall seconds, peak memory in bytes and optimiser steps of one erasure.

    `memory` says what the peak is of: `cuda` is memory allocated by tensors on the GPU, `process`
    the resident memory of the whole process, interpreter and model included. The two cannot be
    compared with each other.

    In a run the figures are the harness's own, of the whole of `erase`: pictures that it draws and a Fisher
    diagonal count, with the seconds that they took once where they are found in the store. What the
    method says of itself is kept beside them. Loading the model and drawing the results do not count,
    nor does the memory of what was kept.
    """

    seconds: float = 0.0
    peak_memory_bytes: int = 0
    steps: int = 0
    memory: Memory = "process"


class Meter:
    """Measures what happens inside its `with` block: `cost(steps)` after the block, or so far within it.

    One meter may run inside another: each gives its own peak.
    """

    _running: ClassVar[list["Meter"]] = []

    def __init__(self, device: torch.device | str) -> None:
        self.device = torch.device(device)
        self.seconds: float | None = None
        self.peak: int | None = None
        self.earlier_seconds, self.earlier_peak = 0.0, 0  # before an interruption, before a meter within

    def resume(self, seconds: float, peak: int) -> None:
        """Counts what the same work took before it was interrupted, as well."""
        for meter in {self, *self._running}:
            meter.earlier_seconds += seconds
            meter.earlier_peak = max(meter.earlier_peak, peak)

    def __enter__(self) -> Self:
        for outer in self._running:  # what starts a new peak here ends theirs
            outer.earlier_peak = outer._peak()
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
            torch.cuda.reset_peak_memory_stats(self.device)
        else:
            _forget_peak_of_process()
        self._running.append(self)
        self.started = time.perf_counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.seconds, self.peak = self._seconds(), self._peak()
        self._running.remove(self)

    def cost(self, steps: int) -> Cost:
        """The cost of `steps` optimiser steps."""
        return Cost(
            seconds=self._seconds() if self.seconds is None else self.seconds,
            peak_memory_bytes=self._peak() if self.peak is None else self.peak,
            steps=steps,
            memory="cuda" if self.device.type == "cuda" else "process",
        )

    def _seconds(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return self.earlier_seconds + time.perf_counter() - self.started

    def _peak(self) -> int:
        if self.device.type == "cuda":
            return max(self.earlier_peak, int(torch.cuda.max_memory_allocated(self.device)))
        return max(self.earlier_peak, _peak_of_process())


def _forget_peak_of_process() -> None:
    """Linux lets a process reset its own high-water mark; elsewhere the peak is that of its whole life."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def _peak_of_process() -> int:
    """Peak resident memory in bytes since the last reset."""
    try:
        status = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        status = []
    for line in status:
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # macOS counts bytes, Linux KiB
