"""The command line's words become a config."""

from pathlib import Path

import pytest

from erasure_bench.bench.planning.config import names, parse_batch_size, parse_config
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


def test_a_batch_size_is_a_number_or_auto() -> None:
    for given, taken in ((4, 4), ("auto", "auto")):
        assert parse_config({"suite": "s", "batch_size": given}).batch_size == taken
    for wrong in (0, True, 1.5, "many", "-3"):
        with pytest.raises(BenchError, match=r"^--batch-size: .* neither a whole number from 1 nor auto$"):
            parse_config({"suite": "s", "batch_size": wrong})
    assert (parse_batch_size("16"), parse_batch_size("auto"), parse_batch_size("-3")) == (16, "auto", "-3")
