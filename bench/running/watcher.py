"""Whoever is told how a task goes on."""

from typing import Protocol


class Watcher(Protocol):
    """Is told how work goes on; never changes it."""

    def preparing(self, made: int, total: int, unit: str) -> None: ...

    def step(self, step: int, steps: int, loss: float) -> None: ...

    def images(self, count: int) -> None: ...

    def aside(self, seconds: float) -> None: ...

    def note(self, line: str) -> None: ...
