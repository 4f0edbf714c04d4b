"""Work is spread over processes, and ends in time and with errors that say what they said."""

import math
import time
from pathlib import Path

import pytest

from erasure_bench.errors import BenchError
from erasure_bench.prompt_suites.registry import suite_card
from studies.parallel import in_processes


def test_work_is_spread_over_processes_until_there_is_no_time_left(tmp_path: Path) -> None:
    until = time.monotonic() + 60
    assert sorted(in_processes(abs, [-3, -2, 1], 2, until, tmp_path)) == [(-3, 3), (-2, 2), (1, 1)]
    assert list(in_processes(abs, [-3], 2, time.monotonic(), tmp_path)) == []


def test_an_error_for_users_comes_back_as_it_is(tmp_path: Path) -> None:
    """Not every exception can be handed from one process to another."""
    with pytest.raises(BenchError, match="unknown suite 'microwrld-styles'.*did you mean microworld-styles"):
        list(in_processes(suite_card, ["microwrld-styles"], 1, math.inf, tmp_path))
