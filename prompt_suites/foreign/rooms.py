"""The names of our rooms in a user's file: `from methods.base import Method` means `erasure_bench.methods`.

In a source tree the rooms lie at the top, and where that folder is on the search path the bare name
would be found there, as a second copy with other classes. So a file gets an `__import__` of its own,
which no other code sees: it serves imports at the top and those inside functions, whenever they run.
"""

import builtins
import importlib
from pathlib import Path
from typing import Any

PACKAGE = __name__.partition(".")[0]
ROOMS = frozenset({"bench", "evaluators", "methods", "models", "prompt_suites"})


def builtins_for(file: Path) -> dict[str, Any]:
    """What a module made of `file` is to have as its `__builtins__`.

    A room's name stays the user's own where the file's folder has a module or package of that name.
    """
    return {**vars(builtins), "__import__": _Import(file.parent)}


class _Import:
    """`__import__` with the rooms under their bare names."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(
        self, name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0
    ) -> Any:
        room = name.partition(".")[0]
        if level or room not in ROOMS or self._is_the_users(room):
            return builtins.__import__(name, globals, locals, fromlist, level)
        if fromlist:
            return builtins.__import__(f"{PACKAGE}.{name}", globals, locals, fromlist, 0)
        importlib.import_module(f"{PACKAGE}.{name}")  # `import models.guidance` binds `models`
        return importlib.import_module(f"{PACKAGE}.{room}")

    def _is_the_users(self, room: str) -> bool:
        own = self._folder / f"{room}.py", self._folder / room / "__init__.py"
        return any(file.is_file() for file in own) and not self._is_our_source_tree

    @property
    def _is_our_source_tree(self) -> bool:
        ours = Path(importlib.import_module(PACKAGE).__file__ or "").resolve().parent.parent
        return self._folder == ours
