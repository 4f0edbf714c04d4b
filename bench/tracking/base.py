"""What a tracker of experiments is to a run."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, Protocol

OF_THE_RUN = ""
"""The row of what belongs to no method: progress, files."""


class TrackedRun(NamedTuple):
    """A run as a tracker first hears of it: a name, where its results will lie, its settings, its rows'."""

    name: str
    folder: Path
    settings: Mapping[str, str]
    rows: Mapping[str, Mapping[str, str]]


class Tracker(Protocol):
    """Keeps what a run tells. Rows are methods: each is a run of its own there, with the same metrics.

    All calls come from one thread, one after the other, `begin` first and `end` last. Any of them may raise:
    the tracker is then told nothing more, and the run goes on.
    """

    def begin(self, run: TrackedRun) -> None:
        """Opens the run."""

    def log(self, row: str, values: Mapping[str, float], step: int) -> None:
        """Finite numbers by their names (`target/clip/clip_score`), of a method's row or `OF_THE_RUN`."""

    def keep(self, file: Path) -> None:
        """A file of the results, for the whole run."""

    def end(self, *, well: bool) -> None:
        """The run is over: finished, or (not `well`) stopped before its end."""
