"""Numbers of the command line that are none: `nan`, `inf`."""

import math
from collections.abc import Iterable

from erasure_bench.errors import BenchError


def refuse_endless(built: object, options: Iterable[str], flag: str, what: str) -> None:
    """Raises BenchError where one of the `options`, fields of `built`, came to no finite number."""
    for name in options:
        value = getattr(built, name)
        items = value if isinstance(value, tuple | list | set | frozenset) else (value,)
        if not all(math.isfinite(item) for item in items if isinstance(item, float)):
            raise BenchError(f"{what}: {name}={value}: not a finite number ({flag})")
