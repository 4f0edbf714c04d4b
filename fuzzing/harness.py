"""What a parser is fuzzed by: examples to start from, and a call that ends well or in a BenchError."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from erasure_bench.errors import BenchError


class Harness(NamedTuple):
    """A parser under attack.

    `seeds` are inputs to start from, most of which it takes; `parse` is given any bytes and returns, or
    raises BenchError. `reads` says what the bytes are.
    """

    name: str
    reads: str
    seeds: Callable[[], Sequence[bytes]]
    parse: Callable[[bytes], None]


LONGEST_MESSAGE = 20_000
"""Characters: of more, a terminal shows the end alone."""


def survives(harness: Harness, data: bytes) -> bool:
    """Whether the parser took the bytes; False where it refused them. Everything else is raised."""
    try:
        harness.parse(data)
    except BenchError as error:
        if len(str(error)) > LONGEST_MESSAGE:
            raise AssertionError(
                f"a message of {len(str(error)):,} characters: {str(error)[:200]}"
            ) from error
        return False
    return True
