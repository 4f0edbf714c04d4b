"""The harness: what is asked, what does it, what is made of the scores, and the command line."""

from importlib import import_module
from typing import Any


def __getattr__(name: str) -> Any:
    """`load_run` here too, so that `from bench import load_run` works in a checkout's root."""
    if name == "load_run":
        return import_module("erasure_bench").load_run
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
