"""The kinds of guidance that a saved edit may hold, by name; apart from the methods that use them.

An edit's content id covers the code that it imports: a new line in the table of methods must not
make every edit a different one.
"""

from erasure_bench.foreign.files import defined_in, imported_files
from erasure_bench.foreign.installed import offered

GUIDANCES: dict[str, str] = {
    "classifier-free": "erasure_bench.models.guidance:ClassifierFree",
    "sld": "erasure_bench.methods.sld:SafeLatentGuidance",
}
"""Kinds of guidance that a saved edit may hold."""

GUIDANCE_ENTRY_POINTS = "erasure_bench.guidances"


def guidances() -> dict[str, str]:
    """Our kinds of guidance, those of installed packages and those of the files that methods lie in."""
    return _guidances_in_files() | offered(GUIDANCE_ENTRY_POINTS) | GUIDANCES


def _guidances_in_files() -> dict[str, str]:
    """The kinds that imported files of users define, each by its own target."""
    targets = [
        f"{module.__name__}:{name}"
        for module in imported_files()
        for name, found in vars(module).items()
        if defined_in(module, found) and callable(getattr(found, "combine", None))
    ]
    return {target: target for target in targets}
