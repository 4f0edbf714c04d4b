"""Content ids: the same name for the same result, whoever computes it, wherever and when."""

import ast
import functools
import hashlib
import importlib.util
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from erasure_bench.prompt_suites.foreign.syntax import syntax_digest

OURS = "erasure_bench"
"""The package that holds every room."""


def plain(value: Any) -> Any:
    """`value` in JSON's own types: dataclasses and mappings become dicts, sequences lists, sets sorted lists.

    Raises TypeError for anything else, so that no id ever rests on an object's address.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, set | frozenset):
        return sorted((plain(item) for item in value), key=repr)
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} {value!r} cannot be part of a content id")


def canonical_json(value: Any) -> str:
    """One spelling for equal values: sorted keys, no spaces, floats as Python's shortest repr."""
    return json.dumps(plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def content_id(value: Any) -> str:
    """sha256 of the canonical JSON, 64 lower-case hex digits."""
    return hashlib.sha256(canonical_json(value).encode("utf-8", "surrogatepass")).hexdigest()


def code_version(module_name: str) -> str:
    """Digest of what a module's code does: 64 hex digits.

    Covers the module and every module of this project that it imports statically, directly or
    not, each as its syntax tree without docstrings: a comment, a docstring or a line break never
    changes it, code does. A third party's module covers its own package and ours.
    """
    rooms = {OURS, module_name.partition(".")[0]}
    seen: dict[str, str] = {}
    waiting = [module_name]
    while waiting:
        name = waiting.pop()
        if name in seen or name.partition(".")[0] not in rooms:
            continue
        path = module_file(name)
        if path is None:
            if name == module_name:
                raise ModuleNotFoundError(f"no source file for module {name}")
            continue
        code = _read_code(path, path.stat().st_mtime_ns, name)
        seen[name] = code.digest
        waiting += code.imports
    return content_id(seen)


def module_file(name: str) -> Path | None:
    """The source file of a module or package, found without importing it; None where there is none."""
    top, *rest = name.split(".")
    for folder in _package_folders(top, tuple(sys.path)):
        base = folder.joinpath(*rest)
        for candidate in (base.with_suffix(".py") if rest else None, base / "__init__.py"):
            if candidate is not None and candidate.is_file():
                return candidate
    if not rest and (spec := importlib.util.find_spec(top)) and spec.origin and spec.origin.endswith(".py"):
        return Path(spec.origin)
    return None


@functools.cache
def _package_folders(top: str, search_path: tuple[str, ...]) -> tuple[Path, ...]:
    spec = importlib.util.find_spec(top)
    return tuple(Path(folder) for folder in (spec.submodule_search_locations or ())) if spec else ()


class _Code:
    def __init__(self, digest: str, imports: tuple[str, ...]) -> None:
        self.digest, self.imports = digest, imports


@functools.cache
def _read_code(path: Path, modified: int, name: str) -> _Code:
    tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    imports = tuple(_imported(tree, name, is_package=path.name == "__init__.py"))
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
            above = package[: len(package) - node.level + 1] if node.level else []
            parts = above + (node.module.split(".") if node.module else [])
            yield from (".".join(parts[:depth]) for depth in range(1, len(parts) + 1))
            # `from package import x`: x may be a module; where it is not, no file is found for it.
            yield from (".".join([*parts, alias.name]) for alias in node.names)
