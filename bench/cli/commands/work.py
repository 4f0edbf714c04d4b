"""`bench work`: one worker of a run that another `bench run` has begun."""

import os
import platform
import re
import signal
import threading
from pathlib import Path

from erasure_bench.bench.cli.output import stderr_console
from erasure_bench.errors import BenchError

_PARENT_EVERY_SECONDS = 1.0
_NAME = re.compile(r"\w[\w.-]*")


def work(asked: Path, name: str | None, index: int, device: str | None, *, with_parent: bool) -> int:
    """Does what it can of the run's plan until nothing is left; the results are the other's to write."""
    from erasure_bench.bench.cli.workers import worker_of
    from erasure_bench.bench.planning.devices import check_devices, pick_device
    from erasure_bench.bench.planning.prepare import prepare
    from erasure_bench.bench.planning.tasks import Task
    from erasure_bench.bench.running.board import SharedBoard
    from erasure_bench.bench.running.estimating import Estimator, estimator_of
    from erasure_bench.bench.running.events import Events
    from erasure_bench.bench.running.executor import execute
    from erasure_bench.bench.running.job import find_job, place_of, read_job
    from erasure_bench.bench.running.journal import is_held, workers_journal
    from erasure_bench.bench.running.launching import NotAgain
    from erasure_bench.bench.running.progress import LiveProgress
    from erasure_bench.bench.running.together import Together
    from erasure_bench.bench.storage.store import StoreAway, StoreError
    from erasure_bench.bench.storage.two_levels import opened

    if with_parent:
        end_with_parent()
    if name is not None and not _NAME.fullmatch(name):
        raise BenchError(f"--name {name}: letters, digits and _, and after the first - and .")
    path = find_job(asked)
    job = read_job(path)
    os.chdir(job.folder)
    config = job.config.model_copy(update={"device": device} if device else {})
    check_devices(config)
    place = place_of(path, name or f"{platform.node()}-{os.getpid()}")
    if not with_parent and is_held(place):
        raise BenchError(f"--name {place.name}: another worker of this run has that name: give another")
    with (
        opened(job.store, job.remote, check=False) as store,
        workers_journal(place, pick_device(config.device)) as journal,
    ):
        prepared = prepare(config, job.store)
        if prepared.plan.id != job.plan:
            raise BenchError(
                "this machine's plan is not the run's: other code, weights, packages or prompt files than "
                "where bench run was given (bench doctor on both shows which)"
            )

        def estimate(todo: tuple[Task, ...]) -> Estimator:
            return estimator_of(prepared.plan, todo, store, prepared.general_prompts)

        live = LiveProgress(stderr_console(), estimate)
        journal.left = live.left
        try:
            execute(
                prepared.plan,
                worker_of(prepared, store, job.workers),
                store,
                Together((live, journal, Events(place))),
                board=SharedBoard(path.parent, job.workers, path, place.name),
                start=index % job.workers / job.workers,
            )
        except StoreError as error:
            if with_parent and not isinstance(error, StoreAway):
                raise NotAgain(str(error)) from error
            raise
    return 0


def end_with_parent() -> None:
    """Ends this process, as SIGTERM does, when the one that started it is no more."""
    from erasure_bench.bench.running.launching import PARENT

    parent = int(os.environ.pop(PARENT, os.getppid()))
    pause = threading.Event()

    def watch() -> None:
        while os.getppid() == parent:
            pause.wait(_PARENT_EVERY_SECONDS)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="parent", daemon=True).start()
