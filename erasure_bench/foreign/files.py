"""Methods and evaluators in a user's own file: PATH.py:NAME, where NAME is a class or a card."""

import inspect
import os
import sys
from collections.abc import Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from erasure_bench.errors import BenchError, UnknownName
from erasure_bench.foreign.errors import contained, described
from erasure_bench.foreign.process import left_alone
from erasure_bench.foreign.rooms import MODULE_PREFIX, builtins_for
from erasure_bench.foreign.sources import digest_of_file
from erasure_bench.foreign.wanted import KINDS, Wanted
from erasure_bench.user_paths import user_path

SUFFIX = ".py"


class _Place(NamedTuple):
    """A file as the user wrote it, where that is, and the name within it."""

    written: str
    path: Path
    name: str


def in_file(name: str) -> bool:
    """Whether `name` means something in a file, and is no name of a registry."""
    return name.endswith(SUFFIX) or name.rpartition(":")[0].endswith(SUFFIX)


def file_target(name: str, wanted: Wanted) -> str:
    """A registry's kind of target, `module:NAME`, of what PATH.py:NAME means; imports the file.

    The module is named by a digest of the file's code and that of what it imports from beside it. So two
    files never share a module unless their code is the same, the name is the same wherever the file
    lies, and a comment, a docstring or a line break does not change it. A file is imported anew where its
    code has changed, or that beside it.

    Raises BenchError, in one line, where the file cannot be read or imported or has no such name.
    """
    place = _place(name)
    module = _module(place, wanted.noun)
    offer = _offer(module, (wanted,))
    if not place.name:
        raise BenchError(f"{place.written}: which {wanted.noun} of it? write {place.written}:NAME; {offer}")
    if not hasattr(module, place.name):
        if known := _those_in(module, wanted):
            raise UnknownName(f"name in {place.written}", place.name, known)
        raise BenchError(f"{place.written} has no {place.name!r}: {offer}")
    return f"{module.__name__}:{place.name}"


def kind_in_file(name: str) -> Wanted:
    """Whether PATH.py:NAME means a method or an evaluator; imports the file.

    Raises BenchError where it means neither.
    """
    place = _place(name)
    module = _module(place, " or ".join(kind.noun for kind in KINDS))
    if place.name and hasattr(module, place.name):
        for kind in KINDS:
            if _is_one(getattr(module, place.name), kind):
                return kind
    offer = _offer(module, KINDS)
    if not place.name:
        raise BenchError(f"{place.written}: which of it? write {place.written}:NAME; {offer}")
    if not hasattr(module, place.name) and (known := [n for kind in KINDS for n in _those_in(module, kind)]):
        raise UnknownName(f"name in {place.written}", place.name, known)
    raise BenchError(f"{name} is neither a method nor an evaluator: {offer}")


def absolute(name: str) -> str:
    """The same thing, named so that it is found from any folder."""
    place = _place(name)
    return f"{place.path}:{place.name}"


def file_of(name: str) -> Path:
    """The file that PATH.py:NAME means."""
    return _place(name).path


def imported_files() -> Iterator[ModuleType]:
    """The modules that users' files have become."""
    yield from [module for name, module in sys.modules.copy().items() if name.startswith(MODULE_PREFIX)]


def defined_in(module: ModuleType, found: Any) -> bool:
    """Whether this is a class of the module's own."""
    return inspect.isclass(found) and found.__module__ == module.__name__


def _place(name: str) -> _Place:
    written, _, within = (name, "", "") if name.endswith(SUFFIX) else name.rpartition(":")
    return _Place(written, Path(os.path.realpath(user_path(written))), within)


def _module(place: _Place, noun: str) -> ModuleType:
    try:
        source = place.path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise BenchError(f"{place.written}: no such file (a {noun} in a file is PATH.py:NAME)") from None
    except (OSError, UnicodeDecodeError) as error:
        raise BenchError(f"{place.written}: cannot be read: {getattr(error, 'strerror', error)}") from error
    try:
        code = compile(source, str(place.path), "exec", dont_inherit=True)
        name = MODULE_PREFIX + digest_of_file(place.path, own_only=True)[:16]
    except (SyntaxError, ValueError) as error:  # ValueError: null bytes
        raise BenchError(f"{place.written}, {described(error, place.path)}") from error
    known = sys.modules.get(name)
    if known is not None and known.__file__ == str(place.path):
        return known
    return _imported(name, place, code)


def _imported(name: str, place: _Place, code: Any) -> ModuleType:
    folder = place.path.parent
    spec = spec_from_file_location(name, place.path, submodule_search_locations=[str(folder)])
    assert spec is not None
    module = module_from_spec(spec)
    module.__dict__["__builtins__"] = builtins_for(name, folder)
    before = sys.modules.get(name)
    for beside in [other for other in sys.modules.copy() if other.startswith(f"{name}.")]:
        del sys.modules[beside]  # the same code of another folder
    sys.modules[name] = module  # as an import does: a dataclass looks its own module up
    try:
        # Not by the spec's loader, which would leave compiled code beside the user's file.
        with left_alone("importing it"), contained("the file", place.path):
            exec(code, vars(module))
    except BaseException as error:
        sys.modules.pop(name, None)
        if before is not None:
            sys.modules[name] = before
        if not isinstance(error, Exception):
            raise
        raise BenchError(f"{place.written} cannot be imported: {described(error, place.path)}") from error
    return module


def _offer(module: ModuleType, kinds: tuple[Wanted, ...]) -> str:
    names = [name for kind in kinds for name in _those_in(module, kind)]
    if names:
        return f"valid: {', '.join(names)}"
    return f"the file has {', '.join(f'no class with `{kind.does}` and no {kind.card}' for kind in kinds)}"


def _those_in(module: ModuleType, wanted: Wanted) -> list[str]:
    """The names in a file that may be what is wanted: its own classes, and cards."""
    return [
        name
        for name, found in vars(module).items()
        if _is_one(found, wanted) and (not inspect.isclass(found) or defined_in(module, found))
    ]


def _is_one(found: Any, wanted: Wanted) -> bool:
    """Whether this may be a class of that kind, or a card."""
    if inspect.isclass(found):
        return hasattr(found, wanted.does)
    return any(kind.__name__ == wanted.card for kind in type(found).__mro__)
