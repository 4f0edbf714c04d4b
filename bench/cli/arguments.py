"""A slip in a command line that would otherwise be taken for a wish."""

from collections.abc import Sequence
from itertools import pairwise

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
