"""The command line's words become a config."""

import pytest

from erasure_bench.bench.planning.config import names
from erasure_bench.prompt_suites.errors import BenchError


def test_a_comma_in_parentheses_belongs_to_the_name() -> None:
    assert names("mosaic (with neon, sketch), pop art,", "--concepts") == (
        "mosaic (with neon, sketch)",
        "pop art",
    )
    assert names(None, "--concepts") == ()
    with pytest.raises(BenchError, match="--concepts is empty"):
        names(" , ", "--concepts")
