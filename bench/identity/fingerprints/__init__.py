"""What code makes of fixed small inputs, in a handful of numbers: one module for each kind that has versions.

Each has `cases` (name → what to measure, as settings), `defaults` (those of the settings' class),
`version` and `measure`.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from erasure_bench.bench.identity.table import Kind, Numbers

Json = dict[str, Any]


class NotHere(Exception):
    """Something that a measurement needs is not on this machine: weights, a package."""


class NoLonger(Exception):
    """The settings are none of the code's any more: nothing asks for them."""


class Fingerprints(NamedTuple):
    """How a kind is measured; all but `version` may raise what an import raises."""

    version: Callable[[str], str]
    defaults: Callable[[str], Json]
    cases: Callable[[str], Mapping[str, Json]]
    measure: Callable[[str, Json], Numbers]


def fingerprints_of(kind: Kind) -> Fingerprints:
    """The functions that measure a kind; imports torch for most."""
    import importlib

    module = importlib.import_module(f"{__name__}.of_{kind}s")
    return Fingerprints(module.version, module.defaults, module.cases, module.measure)
