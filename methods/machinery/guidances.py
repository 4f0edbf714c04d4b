"""The kinds of guidance that a saved edit may hold, by name; apart from the methods that use them.

An edit's content id covers the code that it imports: a new line in the table of methods must not
make every edit a different one.
"""

import importlib
from importlib.metadata import entry_points
from typing import Any

from erasure_bench.methods.machinery.from_file import described, guidances_in_files
from erasure_bench.prompt_suites.errors import BenchError

GUIDANCES: dict[str, str] = {
    "classifier-free": "erasure_bench.models.guidance:ClassifierFree",
    "sld": "erasure_bench.methods.sld:SafeLatentGuidance",
}
"""Kinds of guidance that a saved edit may hold."""

GUIDANCE_ENTRY_POINTS = "erasure_bench.guidances"


def guidances() -> dict[str, str]:
    """Our kinds of guidance, those of installed packages and those of the files that methods lie in."""
    installed = {point.name: point.value for point in entry_points(group=GUIDANCE_ENTRY_POINTS)}
    return guidances_in_files() | installed | GUIDANCES


def load_target(target: str, what: str) -> Any:
    """What a `module:name` string points at."""
    module, _, attribute = target.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise BenchError(f"{what} cannot be loaded from {target}: {error}") from error
    except Exception as error:  # a package's code, which may do anything
        raise BenchError(f"{what} cannot be loaded from {target}: {described(error, None)}") from error
