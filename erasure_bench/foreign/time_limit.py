"""A limit on how long other people's code may take."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from erasure_bench.errors import BenchError

AGAIN_SECONDS = 5.0
"""After so long the work is interrupted once more, in case someone's `except:` has caught the first."""
GRACE_SECONDS = 60.0
"""So long after its limit, work that is deaf to interruptions ends the whole process."""


class TimeIsUp(BaseException):
    """The limit is over. No Exception, so that nobody takes it for an error of the work."""


class TookTooLong(BenchError):
    """Work that its time limit has ended."""

    exit_code = 1


_expired = False


def check_time() -> None:
    """Raises TimeIsUp where the limit of the work at hand is over, as someone's code may have caught it."""
    if _expired:
        raise TimeIsUp


@contextmanager
def time_limit(
    seconds: float | None,
    what: str,
    *,
    grace: float = GRACE_SECONDS,
    end_process: Callable[[str], None] | None = None,
) -> Iterator[None]:
    """Interrupts what runs inside after `seconds` (None: never), and raises TookTooLong; `what` names it.

    Python code is interrupted at its next instruction, by SIGALRM, so this must be the main thread.
    C code is not: a kernel that is running goes on to its end. What has not come back `grace` seconds
    after the limit is taken for hanging: nothing can stop it but the end of the process, with one line
    and exit code 1. The watch is a thread, so that C code which never gives up Python's lock hangs on.
    """
    if seconds is None:
        yield
        return
    over = f"took longer than {seconds:g} s (--task-timeout)"
    watch = threading.Timer(
        seconds + grace,
        end_process or end_this_process,
        [f"{what} {over} and hangs where nothing can stop it: the run ends here; what is finished is kept"],
    )
    watch.daemon = True
    watch.start()
    try:
        with _alarm(seconds):
            yield
        check_time()
    except TimeIsUp:
        raise TookTooLong(over) from None
    except Exception as error:
        if not _expired:
            raise
        raise TookTooLong(over) from error  # what became of the interruption in someone's hands
    finally:
        watch.cancel()
        _set_expired(False)


@contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "SIGALRM"):
        yield
        return

    def ring(number: int, frame: FrameType | None) -> None:
        _set_expired(True)
        raise TimeIsUp

    earlier = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds, AGAIN_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, earlier)


def _set_expired(expired: bool) -> None:
    global _expired
    _expired = expired


def end_this_process(line: str) -> None:
    """At once, with one line and exit code 1: nothing that hangs can hinder it."""
    shown_cursor = "\x1b[?25h" if sys.stderr.isatty() else ""  # a progress bar may have hidden it
    print(f"{shown_cursor}bench: {line}", file=sys.stderr, flush=True)
    os._exit(1)
