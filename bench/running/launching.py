"""Starts workers: as processes of this machine, or (`on_ray`, `on_slurm`) wherever a cluster has room.

Every worker is the same command on the same job file; what differs is only who starts it.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, Protocol

from erasure_bench.bench.planning.devices import CPU
from erasure_bench.bench.running.job import place_of
from erasure_bench.errors import BenchError

LOG = "log"
NEVER_AGAIN = 3
"""The exit code of a worker that cannot begin or go on: started again it would only fail again."""
STOP_SECONDS, LOOK_SECONDS = 20.0, 1.0
PARENT = "BENCH_PARENT"
"""The variable that tells a worker who started it: whoever that was may be gone before the worker can ask."""


class NotAgain(BenchError):
    """Whoever started this worker need not start it anew: it would find a full disk full again."""

    exit_code = NEVER_AGAIN


class Start(NamedTuple):
    """A worker to be: the `number`-th of `of`, from 0. Without a `device` it takes what it finds."""

    job: Path
    number: int
    of: int
    device: str | None = None
    command: tuple[str, ...] = ("-m", "erasure_bench", "work")

    @property
    def name(self) -> str:
        """What it is called where people read of it."""
        return f"w{self.number}"

    @property
    def place(self) -> Path:
        """Where it writes of itself."""
        return place_of(self.job, self.name)

    @property
    def words(self) -> list[str]:
        """Its command."""
        where = [] if self.device is None else ["--device", self.device]
        own = [str(self.job), "--name", self.name, "--index", str(self.number), *where, "--with-parent"]
        return [sys.executable, *self.command, *own]


class Ended(NamedTuple):
    """How a worker ended: `why` is empty where it found nothing left to do."""

    why: str
    again: bool = True


class Handle(Protocol):
    """A worker that was asked for."""

    def ended(self) -> Ended | None:
        """None while it works, or waits until there is room for it."""

    def stop(self) -> None:
        """Has it end soon; asks once and does not wait."""

    def wait(self) -> None:
        """Until it has ended, or is made to."""


class Launcher(Protocol):
    """Starts workers."""

    def start(self, worker: Start) -> Handle:
        """Raises BenchError where that cannot be."""

    def close(self) -> None:
        """No more will be started."""


class Processes:
    """Starts them as processes of this machine; those on its processor have an equal share of its cores."""

    def start(self, worker: Start) -> Handle:
        """Its stdout and stderr go to its log."""
        environment = {**os.environ, PARENT: str(os.getpid())}
        if worker.device == CPU:
            environment.setdefault("OMP_NUM_THREADS", str(max(1, _cores() // worker.of)))
        worker.place.mkdir(parents=True, exist_ok=True)
        with (worker.place / LOG).open("ab") as log:
            # A session of its own: Ctrl-C reaches this process alone, which then ends each worker once.
            process = subprocess.Popen(
                worker.words,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return _Process(process, worker.place / LOG)

    def close(self) -> None:
        """Nothing is held."""


class _Process:
    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self._process, self._log = process, log

    def ended(self) -> Ended | None:
        code = self._process.poll()
        return None if code is None else ended_with(code, self._log)

    def stop(self) -> None:
        if self._process.poll() is None:
            self._process.terminate()

    def wait(self) -> None:
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def run_child(words: Sequence[str], log: Path, environment: Mapping[str, str]) -> int:
    """A worker's command as a process below this one, with these variables besides: its exit code.

    Where this process is interrupted the worker is told to end, and waited for.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    variables = {**os.environ, **environment, PARENT: str(os.getpid())}
    with log.open("ab") as file:
        child = subprocess.Popen(words, env=variables, stdin=subprocess.DEVNULL, stdout=file, stderr=file)
    try:
        while True:  # not in one call: what Ray interrupts us with does not end a system's call
            with suppress(subprocess.TimeoutExpired):
                return child.wait(LOOK_SECONDS)
    finally:
        if child.poll() is None:
            child.terminate()
            with suppress(subprocess.TimeoutExpired):
                child.wait(STOP_SECONDS)


def ended_with(code: int, log: Path) -> Ended:
    """What an exit code, negative for a signal, and the log's last line say."""
    if code == 0:
        return Ended("")
    if code < 0:
        return Ended(f"ended by {signal.Signals(-code).name}")
    said = last_line(log).removeprefix("bench: ")
    return Ended(said or f"ended with exit code {code}", again=code != NEVER_AGAIN)


def last_line(log: Path) -> str:
    """Empty where there is none."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    except OSError:
        return ""
    return lines[-1] if lines else ""


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
