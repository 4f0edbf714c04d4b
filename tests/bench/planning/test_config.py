"""The command line's words become a config."""

from pathlib import Path

import pytest

from erasure_bench.bench.planning.config import names, parse_config
from erasure_bench.errors import BenchError


def test_a_comma_in_parentheses_belongs_to_the_name() -> None:
    assert names("mosaic (with neon, sketch), pop art,", "--concepts") == (
        "mosaic (with neon, sketch)",
        "pop art",
    )
    assert names(None, "--concepts") == ()
    with pytest.raises(BenchError, match="--concepts is empty"):
        names(" , ", "--concepts")


@pytest.mark.parametrize("name", ["x\x1b[31m", "two\nlines", "\u202etxt"])
def test_a_row_has_a_name_that_can_be_shown(name: str) -> None:
    with pytest.raises(BenchError, match="printable"):
        parse_config({"suite": "s", "edits": {name: Path("x")}})
