"""Independent pieces of work in several processes, for as long as there is time."""

import multiprocessing
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from pathlib import Path
from typing import TypeVar

from erasure_bench.errors import BenchError

Piece = TypeVar("Piece")
Result = TypeVar("Result")

_log = Path(os.devnull)
"""Where this process writes its stderr, if it is one of several."""


def in_processes(
    work: Callable[[Piece], Result], pieces: Iterable[Piece], jobs: int, until: float, logs: Path
) -> Iterator[tuple[Piece, Result]]:
    """Each piece with its result, in the order in which they are done, `jobs` at a time.

    What has not begun by `until` (of `time.monotonic`) is not begun. Every process has its share of this
    machine's threads and writes its stderr to a file of its own in `logs`. `work` must be a function of
    a module. What it raises is raised here. However this process ends, the others end with it.
    """
    threads = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = threads or str(max(1, (os.cpu_count() or 1) // jobs))
    logs.mkdir(parents=True, exist_ok=True)
    waiting = deque(pieces)
    running: dict[Future[Result], Piece] = {}
    context = multiprocessing.get_context("spawn")
    try:
        with ProcessPoolExecutor(jobs, context, initializer=_begin, initargs=(logs,)) as pool:
            while running or (waiting and time.monotonic() < until):
                while waiting and len(running) < jobs and time.monotonic() < until:
                    piece = waiting.popleft()
                    running[pool.submit(_as_one_line, work, piece)] = piece
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    yield running.pop(future), future.result()
    finally:
        if threads is None:
            del os.environ["OMP_NUM_THREADS"]


def one_by_one_or_together(
    work: Callable[[Piece], Result], pieces: Iterable[Piece], jobs: int, until: float, logs: Path
) -> Iterator[tuple[Piece, Result]]:
    """`in_processes` where `jobs` are several; one at a time is done in this process, seen by who waits."""
    if jobs > 1:
        yield from in_processes(work, pieces, jobs, until, logs)
        return
    for piece in pieces:
        if time.monotonic() >= until:
            return
        yield piece, work(piece)


def _as_one_line(work: Callable[[Piece], Result], piece: Piece) -> Result:
    """What `work` gives; its errors for users as plain ones, which can go from process to process."""
    try:
        return work(piece)
    except BenchError as error:
        raise BenchError(str(error)) from None
    except SystemExit as error:
        raise BenchError(f"{piece}: ended with exit status {error.code}; why is in {_log}") from None


def _begin(logs: Path) -> None:
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    _stderr_to(logs)


def _end_with_the_parent() -> None:
    """A parent that is killed tells nobody: its processes would work on, beside those of the next run."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _stderr_to(logs: Path) -> None:
    global _log
    _log = logs / f"{os.getpid()}.log"
    handle = os.open(_log, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    sys.stderr.flush()
    os.dup2(handle, 2)
    os.close(handle)
