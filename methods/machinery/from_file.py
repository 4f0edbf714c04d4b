"""Methods in a user's own file: PATH.py:NAME, where NAME is a method's class or a MethodCard."""

import ast
import inspect
import sys
import traceback
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from erasure_bench.methods.machinery.syntax import syntax_digest
from erasure_bench.prompt_suites.errors import BenchError, UnknownName

SUFFIX = ".py"
MODULE_PREFIX = "method_file_"


class _Place(NamedTuple):
    """A file as the user wrote it, where that is, and the name within it."""

    written: str
    path: Path
    name: str


def in_file(method: str) -> bool:
    """Whether `method` means something in a file, and is no name of the registry."""
    return method.endswith(SUFFIX) or method.rpartition(":")[0].endswith(SUFFIX)


def file_target(method: str) -> str:
    """The registry's kind of target, `module:NAME`, of the method that PATH.py:NAME means; imports the file.

    The module is named by a digest of the file's code. So two files never share a module unless
    their code is the same, the name is the same wherever the file lies, and a comment, a docstring
    or a line break does not change it. A file whose code has changed is imported anew.

    Raises BenchError, in one line, where the file cannot be read or imported or has no such name.
    """
    place = _place(method)
    module = _module(place)
    if not place.name:
        raise BenchError(f"{place.written}: which method of it? write {place.written}:NAME; {_offer(module)}")
    if not hasattr(module, place.name):
        if known := _methods_in(module):
            raise UnknownName(f"name in {place.written}", place.name, known)
        raise BenchError(f"{place.written} has no {place.name!r}: {_offer(module)}")
    return f"{module.__name__}:{place.name}"


def absolute(method: str) -> str:
    """The same method, named so that it is found from any folder."""
    place = _place(method)
    return f"{place.path}:{place.name}"


def guidances_in_files() -> dict[str, str]:
    """The kinds of guidance that imported files define, each by its own target: an edit may hold one."""
    targets = [
        f"{module.__name__}:{name}"
        for module in [module for name, module in sys.modules.items() if name.startswith(MODULE_PREFIX)]
        for name, found in vars(module).items()
        if _defined_in(module, found) and callable(getattr(found, "combine", None))
    ]
    return {target: target for target in targets}


def described(error: BaseException, file: Path | str | None) -> str:
    """An exception in one line: "line 7: ValueError: why", the line being the last of `file` on its way."""
    own_syntax = isinstance(error, SyntaxError) and error.filename == str(file)
    words = " ".join((error.msg if own_syntax else str(error)).split())  # type: ignore[attr-defined]
    if isinstance(error, BenchError):
        return words
    kind = type(error).__name__
    line = _line(error, str(file))
    return f"{f'line {line}: ' if line else ''}{kind}{f': {words}' if words else ''}"


def _place(method: str) -> _Place:
    written, _, name = (method, "", "") if method.endswith(SUFFIX) else method.rpartition(":")
    return _Place(written, Path(written).expanduser().resolve(), name)


def _module(place: _Place) -> ModuleType:
    try:
        source = place.path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise BenchError(f"{place.written}: no such file (a method in a file is PATH.py:NAME)") from None
    except (OSError, UnicodeDecodeError) as error:
        raise BenchError(f"{place.written}: cannot be read: {getattr(error, 'strerror', error)}") from error
    try:
        name = MODULE_PREFIX + syntax_digest(ast.parse(source, filename=str(place.path)))[:16]
        code = compile(source, str(place.path), "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:  # ValueError: null bytes
        raise BenchError(f"{place.written}, {described(error, place.path)}") from error
    known = sys.modules.get(name)
    if known is not None and known.__file__ == str(place.path):
        return known
    return _imported(name, place, code)


def _imported(name: str, place: _Place, code: Any) -> ModuleType:
    spec = spec_from_file_location(name, place.path)
    assert spec is not None
    module = module_from_spec(spec)
    before = sys.modules.get(name)
    sys.modules[name] = module  # as an import does: a dataclass looks its own module up
    try:
        # Not by the spec's loader, which would leave compiled code beside the user's file.
        exec(code, vars(module))
    except (Exception, SystemExit) as error:
        sys.modules.pop(name)
        if before is not None:
            sys.modules[name] = before
        raise BenchError(f"{place.written} cannot be imported: {described(error, place.path)}") from error
    return module


def _line(error: BaseException, file: str) -> int | None:
    if isinstance(error, SyntaxError) and error.filename == file:
        return error.lineno
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    return lines[-1] if lines else None


def _offer(module: ModuleType) -> str:
    names = _methods_in(module)
    return f"valid: {', '.join(names)}" if names else "the file has no class with `erase` and no MethodCard"


def _methods_in(module: ModuleType) -> list[str]:
    """The names in a file that may be methods: its own classes with `erase`, and cards."""
    return [
        name
        for name, found in vars(module).items()
        if (_defined_in(module, found) and hasattr(found, "erase"))
        or (not inspect.isclass(found) and hasattr(found, "build") and hasattr(found, "presets"))
    ]


def _defined_in(module: ModuleType, found: Any) -> bool:
    return inspect.isclass(found) and found.__module__ == module.__name__
