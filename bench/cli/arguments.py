"""What a command line says: a slip that would otherwise be taken for a wish, and what is only a default."""

from collections.abc import Collection, Sequence
from itertools import pairwise
from typing import Any

from erasure_bench.errors import BenchError


def refuse_empty(arguments: Sequence[str]) -> None:
    """Raises BenchError for an empty argument: most often a variable of the shell that is not set.

    As a path it would mean the current folder, as a name the default.
    """
    for before, word in pairwise(("bench", *arguments)):
        if not word:
            raise BenchError(f"the argument after {before} is empty: is a variable of the shell not set?")
        if word.startswith("--") and word.find("=") == len(word) - 1:
            raise BenchError(f"{word} has no value: give it one, or leave it out")


def said_here(context: Any, keys: Collection[str]) -> set[str]:
    """Those of the keys that stand on the command line; an option that may be repeated has its plural."""
    said = {
        name
        for name in context.params
        if (source := context.get_parameter_source(name)) and source.name != "DEFAULT"
    }
    return {key for key in keys if {key, key.removesuffix("s")} & said}
