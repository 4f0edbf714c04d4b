"""What an import in a user's file means: a module beside it, one of our rooms, or what it always means."""

import importlib
import sys
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

PACKAGE = __name__.partition(".")[0]
ROOMS = frozenset({"attacks", "bench", "evaluators", "methods", "models", "prompt_suites"})
SUFFIXES = (".py", *EXTENSION_SUFFIXES)

Meaning = Literal["beside", "room", "elsewhere"]


def meaning(name: str, folder: Path) -> Meaning:
    """What the absolute import of `name` means to a file in `folder`.

    Modules and packages beside the file come before installed ones, as they do for a script; a folder
    without `__init__.py` comes after them. The standard library and this package are never hidden. In
    our own source tree a room is the room, not a second copy of it.
    """
    top = name.partition(".")[0]
    if top == PACKAGE or top in sys.stdlib_module_names:
        return "elsewhere"
    if top in ROOMS:
        return "beside" if _is_code(folder / top) and not _is_our_source_tree(folder) else "room"
    if _is_code(folder / top) or ((folder / top).is_dir() and not _is_known(top)):
        return "beside"
    return "elsewhere"


def source_beside(folder: Path, parts: list[str]) -> Path | None:
    """The file of the module that these parts of a dotted name mean below a folder."""
    base = folder.joinpath(*parts)
    plain = [base.with_name(base.name + suffix) for suffix in SUFFIXES]
    return next((path for path in (base / "__init__.py", *plain) if path.is_file()), None)


def _is_code(base: Path) -> bool:
    return source_beside(base.parent, [base.name]) is not None


def _is_known(top: str) -> bool:
    try:
        return find_spec(top) is not None
    except (ImportError, ValueError):
        return False


def _is_our_source_tree(folder: Path) -> bool:
    ours = Path(importlib.import_module(PACKAGE).__file__ or "").resolve().parent.parent
    return folder == ours
