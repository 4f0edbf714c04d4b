"""Workers as tasks of a Ray cluster: each runs the same worker command, with the GPU that Ray gives it.

A task whose node is lost Ray starts on another; what its worker was at, others take over meanwhile.
"""

import socket
import sys
from pathlib import Path
from typing import Any

from erasure_bench.bench.planning.config import AUTO
from erasure_bench.bench.planning.devices import CPU
from erasure_bench.bench.running.job import own_environment
from erasure_bench.bench.running.launching import (
    LOG,
    STOP_SECONDS,
    Ended,
    Handle,
    Start,
    ended_with,
    last_line,
    run_child,
)
from erasure_bench.errors import BenchError

FOR_EVER = -1
"""A node may be lost as often as it likes; a worker that ends for reasons of its own is no node's loss."""
OWN = "local"
"""Ray's word for a new cluster of this machine: without an address it joins one that somebody began here."""
BESIDE, SCHEME = (AUTO, OWN), "ray://"
ANSWER_SECONDS = 10.0


class RayTasks:
    """On the cluster at `address` (`auto`: the one this machine belongs to), else on one of its own here."""

    def __init__(self, address: str | None) -> None:
        try:
            import ray
        except ImportError as error:
            raise BenchError("--executor ray needs Ray: pip install 'erasure-bench[ray]'") from error
        self._ray = ray
        self._ours = not ray.is_initialized()
        if self._ours and address is not None:
            _check_answers(address)
        try:
            if self._ours:
                ray.init(
                    address=address or OWN,
                    log_to_driver=False,
                    include_dashboard=False,
                    logging_level="error",
                )
        except (ConnectionError, RuntimeError, ValueError) as error:
            what = "auto finds no cluster here" if address == AUTO else " ".join(str(error).split())
            raise BenchError(f"--ray-address {address}: {what} (ray start --head begins one)") from error
        self._gpus = bool(ray.cluster_resources().get("GPU"))
        self._task = ray.remote(max_retries=FOR_EVER)(_work)

    def start(self, worker: Start) -> Handle:
        """One GPU each where the cluster has any and the run may use them, else one core."""
        gpus = 1 if self._gpus and worker.device != CPU else 0
        placed = self._task.options(num_cpus=1, num_gpus=gpus, name=worker.name)
        log = worker.place / LOG
        reference = placed.remote(worker.words[1:], str(log), own_environment())
        return _Task(self._ray, reference, worker)

    def close(self) -> None:
        """Leaves the cluster, which goes on unless it was our own."""
        if self._ours:
            self._ray.shutdown()


class _Task:
    def __init__(self, ray: Any, reference: Any, worker: Start) -> None:
        self._ray, self._reference, self._worker = ray, reference, worker

    def ended(self) -> Ended | None:
        done, _ = self._ray.wait([self._reference], timeout=0)
        if not done:
            return None
        log = self._worker.place / LOG
        try:
            return ended_with(self._ray.get(self._reference), log)
        except self._ray.exceptions.RayError as error:
            return Ended(last_line(log).removeprefix("bench: ") or " ".join(str(error).split())[:200])

    def stop(self) -> None:
        self._ray.cancel(self._reference)  # which interrupts `_work`, and that the worker's process

    def wait(self) -> None:
        """One that does not end in time is killed with Ray's process (`bench work --with-parent`)."""
        done, _ = self._ray.wait([self._reference], timeout=STOP_SECONDS)
        if not done:
            self._ray.cancel(self._reference, force=True)


def _check_answers(address: str) -> None:
    """Raises BenchError where nobody is at HOST:PORT: Ray itself would try for minutes, without a word."""
    if address in BESIDE or ("://" in address and not address.startswith(SCHEME)):
        return
    host, _, port = address.removeprefix(SCHEME).rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise BenchError(f"--ray-address {address}: write it as HOST:PORT, or auto")
    try:
        socket.create_connection((host.strip("[]"), int(port)), ANSWER_SECONDS).close()
    except (OSError, UnicodeError) as error:
        raise BenchError(
            f"--ray-address {address}: nobody answers there: {error} (ray start --head begins a cluster)"
        ) from error


def _work(words: list[str], log: str, environment: dict[str, str]) -> int:
    """On the worker's machine, by the Python that Ray has there: the command's exit code."""
    return run_child([sys.executable, *words], Path(log), environment)
