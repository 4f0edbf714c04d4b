"""The one name that an installation takes: the rooms are `erasure_bench.bench`, `erasure_bench.methods`, …

In the source tree the rooms lie at the top and this folder holds links to them; a wheel holds the files.
So no `models` or `methods` of a user's own repository can be taken for ours, nor ours for theirs.
"""

from importlib import import_module
from typing import Any

from erasure_bench.environment import go_offline, is_offline, send_nothing_home

__version__ = "0.1.0"

send_nothing_home()
if is_offline():
    go_offline()


def __getattr__(name: str) -> Any:
    """`load_run`, which is imported only where it is asked for: this package is imported by every command."""
    if name == "load_run":
        return import_module("erasure_bench.bench.sharing.loading").load_run
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
