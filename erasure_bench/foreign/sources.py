"""The digest of all code that a module rests on, found statically, without importing any.

Of our own modules it covers those of this package that are imported, directly or not. Of someone
else's, their own package besides, and whatever they import that lies in no installed distribution:
modules beside the file, and what the search path leads to. Installed distributions count by name and
version. Nothing is known of imports by computed names, of data files, and of what an installed
distribution imports in its turn.
"""

import ast
import functools
import hashlib
import importlib.util
import sys
from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import Path
from typing import NamedTuple

from erasure_bench.foreign.meaning import PACKAGE, meaning, source_beside
from erasure_bench.foreign.rooms import MODULE_PREFIX
from erasure_bench.foreign.syntax import syntax_digest

FILE = "<file>"
"""A user's file itself; the modules beside it are `<file>.helper`."""
INSTALLED = {"site-packages", "dist-packages"}
"""Folders that distributions are installed into."""


def code_digest(module: str) -> str:
    """Digest of what a module's code does: 64 hex digits; `module` may be what a user's
    file became, or what lies beside it and was imported with it.

    Every source counts as its syntax tree without docstrings and a card's words: a comment or a line
    break never changes the digest, code does. Raises ModuleNotFoundError where there is no source,
    SyntaxError where it is none.
    """
    if module.startswith(MODULE_PREFIX):
        became = sys.modules.get(module.partition(".")[0])
        if became is not None and became.__file__:
            return digest_of_file(Path(became.__file__))
    return _digest(_Walk(module, None))


def digest_of_file(path: Path, *, own_only: bool = False) -> str:
    """The same of a user's file; with `own_only` of what lies beside it alone, wherever that is."""
    return _digest(_Walk(FILE, path.resolve(), own_only=own_only))


def module_file(name: str) -> Path | None:
    """The source file of a module or package, found without importing it; None where there is none."""
    top, *rest = name.split(".")
    spec = _spec(top, tuple(sys.path))
    if spec is None:
        return None
    for folder in spec.folders:
        found = source_beside(Path(folder), rest) if rest else Path(folder) / "__init__.py"
        if found is not None and found.is_file():
            return found
    return Path(spec.origin) if not rest and spec.origin.endswith(".py") else None


class _Spec(NamedTuple):
    folders: tuple[str, ...]
    origin: str


@functools.cache
def _spec(top: str, search_path: tuple[str, ...]) -> _Spec | None:
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None
    return None if spec is None else _Spec(tuple(spec.submodule_search_locations or ()), spec.origin or "")


class _Walk:
    """Follows imports from one module: `sources` by name, `distributions` as "name version"."""

    def __init__(self, root: str, file: Path | None, *, own_only: bool = False) -> None:
        self.root, self.file, self.own_only = root, file, own_only
        self.sources: dict[str, str] = {}
        self.distributions: set[str] = set()
        waiting = [root]
        while waiting:
            name = waiting.pop()
            if name not in self.sources and (path := self._path(name)) is not None:
                code = self._read(name, path)
                self.sources[name] = code.digest
                waiting += self._followed(name, code.imports)
        if root not in self.sources:
            raise ModuleNotFoundError(f"no source file for module {root}")

    def _path(self, name: str) -> Path | None:
        if self.file is None or name.partition(".")[0] != FILE:
            return module_file(name)
        return self.file if name == FILE else source_beside(self.file.parent, name.split(".")[1:])

    def _read(self, name: str, path: Path) -> "_Code":
        data = path.read_bytes()
        try:
            return _code(data, name, name == FILE or path.name == "__init__.py", str(path))
        except (SyntaxError, ValueError):  # compiled, or never imported
            if name == self.root:
                raise
            return _Code(hashlib.sha256(data).hexdigest(), ())

    def _followed(self, name: str, imports: Iterable[str]) -> Iterator[str]:
        """Which of a module's imports count as sources; those of distributions are noted."""
        is_ours = name.partition(".")[0] == PACKAGE
        for imported in imports:
            top = imported.partition(".")[0]
            if not is_ours and self.file is not None and top not in (FILE, PACKAGE):
                match meaning(imported, self.file.parent):
                    case "beside":
                        imported, top = f"{FILE}.{imported}", FILE
                    case "room":
                        imported, top = f"{PACKAGE}.{imported}", PACKAGE
            if self.own_only and top != FILE:
                continue
            if top in (FILE, PACKAGE, self.root.partition(".")[0]):
                yield imported
            elif not is_ours and top not in sys.stdlib_module_names:
                if found := _distributions(top, tuple(sys.path)):
                    self.distributions |= set(found)
                else:
                    yield imported


@functools.cache
def _distributions(top: str, search_path: tuple[str, ...]) -> tuple[str, ...]:
    """What a top-level module was installed by, each as "name version"; empty for anything else."""
    spec = _spec(top, search_path)
    places = [] if spec is None else [*spec.folders, spec.origin]
    if not any(INSTALLED.intersection(Path(place).parts) for place in places):
        return ()
    found = []
    for distribution in sorted(set(packages_distributions().get(top, ()))):
        try:
            found.append(f"{distribution} {version(distribution)}")
        except PackageNotFoundError:
            continue
    return tuple(found)


class _Code(NamedTuple):
    digest: str
    imports: tuple[str, ...]


@functools.lru_cache(maxsize=4096)
def _code(data: bytes, name: str, is_package: bool, filename: str) -> _Code:
    tree = ast.parse(data, filename=filename)
    imports = tuple(_imported(tree, name, is_package=is_package))
    return _Code(syntax_digest(tree), imports)


def _imported(tree: ast.Module, name: str, *, is_package: bool) -> Iterator[str]:
    package = name.split(".") if is_package else name.split(".")[:-1]
    yield from (".".join(package[:depth]) for depth in range(1, len(package) + 1))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                parts = alias.name.split(".")
                yield from (".".join(parts[:depth]) for depth in range(1, len(parts) + 1))
        elif isinstance(node, ast.ImportFrom):
            if node.level > len(package):
                continue  # beyond the top: such an import fails
            above = package[: len(package) - node.level + 1] if node.level else []
            parts = above + (node.module.split(".") if node.module else [])
            yield from (".".join(parts[:depth]) for depth in range(1, len(parts) + 1))
            # `from package import x`: x may be a module; where it is not, no file is found for it.
            yield from (".".join([*parts, alias.name]) for alias in node.names)


def _digest(walk: _Walk) -> str:
    lines = [f"{name} {walk.sources[name]}" for name in sorted(walk.sources)]
    return hashlib.sha256("\n".join([*lines, *sorted(walk.distributions)]).encode()).hexdigest()
