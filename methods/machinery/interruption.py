"""Checkpoints in memory that interrupt the work, to try out whether it goes on as it had gone on before."""

import copy
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from erasure_bench.methods.base import Checkpoint


class Interruption(KeyboardInterrupt):
    """The work was interrupted on purpose; as Ctrl-C, nobody's `except Exception` stops it."""


class Interrupting:
    """`methods.base.Checkpoints` that keeps one at every chance and interrupts when `after` of them are kept.

    With `after` None it keeps none and interrupts nothing: for the second try, by `resumed`.
    """

    def __init__(self, after: int | None, kept: Mapping[str, Checkpoint] | None = None) -> None:
        self.after = after
        self.kept = dict(kept or {})
        self.loaded: list[str] = []
        self._asked: Counter[str] = Counter()
        self._count = 0

    def resumed(self) -> "Interrupting":
        """What the second try is given."""
        return Interrupting(None, self.kept)

    def numbered(self, name: str) -> str:
        """`name-1`, `name-2`, …"""
        self._asked[name] += 1
        return f"{name}-{self._asked[name]}"

    def due(self) -> bool:
        """Always in the first try."""
        return self.after is not None

    def load(self, name: str) -> Checkpoint | None:
        """The last one."""
        found = self.kept.get(name)
        if found is not None:
            self.loaded.append(name)
        return copy.deepcopy(found)

    def draft(self, name: str, state: Mapping[str, Any]) -> Callable[[Mapping[str, Any]], None]:
        """Copies the state; keeping it may interrupt."""
        copied = copy.deepcopy(dict(state))

        def keep(expected: Mapping[str, Any]) -> None:
            self.kept[name] = Checkpoint(copied, dict(expected))
            self._count += 1
            if self._count == self.after:
                raise Interruption

        return keep
