"""How a user's file imports: what lies beside it, and our rooms by their bare names.

`import helper` means the `helper.py` beside the file, as for a script, but the file's folder is put on
no search path: two files in two folders would get each other's. The module that a file becomes is a
package of its folder instead, and `helper` is `user_file_….helper`, which no other file sees.
`from methods.base import Method` means `erasure_bench.methods`: in a source tree, whose rooms lie at
the top, the bare name would be a second copy with other classes.

So such modules get an `__import__` of their own, which no other code sees: it serves imports at the
top and those inside functions, whenever they run. An import by a name that is computed
(`importlib.import_module`) goes its usual way, and finds nothing that lies beside the file.
"""

import builtins
import importlib
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import (
    EXTENSION_SUFFIXES,
    SOURCE_SUFFIXES,
    ExtensionFileLoader,
    FileFinder,
    ModuleSpec,
    SourceFileLoader,
)
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from erasure_bench.foreign.meaning import PACKAGE, meaning

MODULE_PREFIX = "user_file_"


def builtins_for(module: str, folder: Path) -> dict[str, Any]:
    """What `module`, made of a file in `folder`, and the modules beside it have as their `__builtins__`."""
    if not any(isinstance(finder, _Beside) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Beside())
    return {**vars(builtins), "__import__": _Import(module, folder)}


class _Import:
    """`__import__` with what lies beside a file, and with the rooms under their bare names."""

    def __init__(self, module: str, folder: Path) -> None:
        self._module, self._folder = module, folder

    def __call__(
        self, name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0
    ) -> Any:
        meant = "elsewhere" if level else meaning(name, self._folder)
        if meant == "elsewhere":
            return builtins.__import__(name, globals, locals, fromlist, level)
        above = self._module if meant == "beside" else PACKAGE
        if fromlist:
            return builtins.__import__(f"{above}.{name}", globals, locals, fromlist, 0)
        importlib.import_module(f"{above}.{name}")  # `import models.guidance` binds `models`
        return importlib.import_module(f"{above}.{name.partition('.')[0]}")


class _Beside(MetaPathFinder):
    """Finds the modules beside users' files, as submodules of what the files became."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if path is None or not fullname.startswith(MODULE_PREFIX):
            return None
        kinds = (ExtensionFileLoader, EXTENSION_SUFFIXES), (_Loader, SOURCE_SUFFIXES)
        found = (FileFinder(folder, *kinds).find_spec(fullname) for folder in path)
        return next((spec for spec in found if spec is not None), None)


class _Loader(SourceFileLoader):
    """Runs a module beside a user's file; leaves no compiled code there, and takes none."""

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        code: CodeType = self.source_to_code(self.get_data(path), path)
        return code

    def exec_module(self, module: ModuleType) -> None:
        root = sys.modules[module.__name__.partition(".")[0]]
        module.__dict__["__builtins__"] = builtins_for(root.__name__, Path(root.__path__[0]))
        super().exec_module(module)
