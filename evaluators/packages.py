"""Optional packages: a named error with the way to get them, and their versions for the protocol."""

import importlib
from contextlib import suppress
from importlib import metadata, util
from pathlib import Path
from types import ModuleType

from erasure_bench.errors import NotHere


def required_module(module: str, distribution: str, needed_by: str) -> ModuleType:
    """The imported module, or a `BenchError` that says what to install."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise _absent(module, distribution, needed_by, str(error)) from error


def package_folder(module: str, distribution: str, needed_by: str) -> Path:
    """Where a package is installed, without importing it."""
    found = util.find_spec(module)
    if found is None or not found.submodule_search_locations:
        raise _absent(module, distribution, needed_by, "not installed")
    return Path(next(iter(found.submodule_search_locations)))


def version_of(*distributions: str) -> str:
    """The version of the first that is installed of a package's builds, `absent` where none is."""
    for distribution in distributions:
        with suppress(metadata.PackageNotFoundError):
            return metadata.version(distribution)
    return "absent"


def _absent(module: str, distribution: str, needed_by: str, why: str) -> NotHere:
    return NotHere(
        f"evaluator {needed_by!r} needs the package {module!r} ({why}): "
        f"pip install '{distribution}', or install erasure-bench again with its dependencies"
    )
