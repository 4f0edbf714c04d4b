"""Work that goes over its limit is ended, whatever it catches, and nothing rings later."""

import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress

import pytest

from erasure_bench.foreign import time_limit as limits
from erasure_bench.foreign.errors import contained
from erasure_bench.foreign.time_limit import TookTooLong, time_limit


def test_work_within_its_limit_is_left_alone() -> None:
    earlier = signal.getsignal(signal.SIGALRM)
    with time_limit(0.2, "it"):
        pass
    time.sleep(0.3)
    assert signal.getsignal(signal.SIGALRM) is earlier
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    assert threading.active_count() == 1 or not any(
        isinstance(thread, threading.Timer) and not thread.finished.is_set()
        for thread in threading.enumerate()
    )


def test_no_limit_is_none() -> None:
    with time_limit(None, "it"):
        assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_work_over_its_limit_ends_soon_after_it() -> None:
    started = time.perf_counter()
    with (
        pytest.raises(TookTooLong, match=r"^took longer than 0\.1 s \(--task-timeout\)$"),
        time_limit(0.1, "it"),
    ):
        while True:
            time.sleep(10)
    assert time.perf_counter() - started < 5


def catches_exceptions() -> None:
    while True:
        try:
            time.sleep(10)
        except Exception:
            continue


def turns_it_into_another_error() -> None:
    try:
        time.sleep(10)
    except BaseException:
        raise ValueError("something happened") from None


def catches_everything_once() -> None:
    with suppress(BaseException):
        time.sleep(10)


def catches_everything_and_goes_on() -> None:
    ends = time.perf_counter() + 20
    while time.perf_counter() < ends:
        try:
            time.sleep(10)
        except BaseException:
            break
    time.sleep(20)


@pytest.mark.parametrize(
    "work",
    [
        catches_exceptions,
        turns_it_into_another_error,
        catches_everything_once,
        catches_everything_and_goes_on,
    ],
)
def test_no_except_clause_makes_a_late_result_count(work, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "AGAIN_SECONDS", 0.1)
    after = []
    started = time.perf_counter()
    with pytest.raises(TookTooLong), time_limit(0.1, "it"):
        with contained("someone's code"):
            work()
        after.append("the result was used")
    assert after == []
    assert time.perf_counter() - started < 8
    with time_limit(60, "the next"), contained("someone's code"):
        pass


def test_errors_of_the_work_pass() -> None:
    with pytest.raises(ValueError, match="bad"), time_limit(60, "it"):
        raise ValueError("bad")


def test_what_hangs_in_c_ends_the_process_with_one_line() -> None:
    """As nothing here hangs in C, the signal is blocked: it does not arrive either."""
    code = (
        "import signal, time\n"
        "from erasure_bench.foreign.time_limit import time_limit\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])\n"
        "with time_limit(0.1, 'esd-x of cat: erasing', grace=0.2):\n"
        "    time.sleep(60)\n"
    )
    started = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert time.perf_counter() - started < 50
    assert done.returncode == 1
    assert done.stderr == (
        "bench: esd-x of cat: erasing took longer than 0.1 s (--task-timeout) and hangs where nothing can "
        "stop it: the run ends here; what is finished is kept\n"
    )
