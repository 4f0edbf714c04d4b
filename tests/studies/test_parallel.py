"""Work is spread over processes, and ends in time and with errors that say what they said."""

import math
import os
import subprocess
import sys
import time
from collections.abc import Callable
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


def test_a_command_that_ends_the_process_is_told_with_its_log(tmp_path: Path) -> None:
    """What it said of itself went to that log."""
    with pytest.raises(BenchError, match=r"3: ended with exit status 3; why is in .*\.log"):
        list(in_processes(sys.exit, [3], 1, math.inf, tmp_path))


PARENT = """
import math, sys, time
from pathlib import Path

from studies.parallel import in_processes


def wait_on(folder):
    for beat in range(600):
        Path(folder, "beat").write_text(str(beat))
        time.sleep(0.1)


if __name__ == "__main__":
    list(in_processes(wait_on, [sys.argv[1]], 1, math.inf, Path(sys.argv[1])))
"""


def test_no_process_outlives_a_parent_that_is_killed(tmp_path: Path) -> None:
    script, beat = tmp_path / "parent.py", tmp_path / "beat"
    script.write_text(PARENT)
    here = str(Path(__file__).resolve().parents[2])
    known = os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH")]))
    parent = subprocess.Popen([sys.executable, script, tmp_path], env=os.environ | {"PYTHONPATH": known})
    try:
        in_time(beat.exists)
    finally:
        parent.kill()
        parent.wait()

    def has_ended() -> bool:
        before = beat.read_text()
        time.sleep(2)
        return beat.read_text() == before

    in_time(has_ended)


def in_time(happened: Callable[[], bool]) -> None:
    """Waits, for less than what `PARENT` would work."""
    end = time.monotonic() + 40
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.05)
