"""Who does a prepared plan's tasks: a worker, as every command that executes one has it, or several."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from erasure_bench.bench.cli.output import RunFailed, stderr_console
from erasure_bench.bench.planning.prepare import Prepared
from erasure_bench.bench.storage.store import Store

if TYPE_CHECKING:
    from erasure_bench.bench.planning.plan import Plan
    from erasure_bench.bench.planning.tasks import Task
    from erasure_bench.bench.running.estimating import Estimator
    from erasure_bench.bench.running.executor import Outcome, Reporter
    from erasure_bench.bench.running.executors import Hands
    from erasure_bench.bench.running.journal import Journal
    from erasure_bench.bench.running.worker import Worker


def worker_of(prepared: Prepared, store: Store, workers: int = 1) -> "Worker":
    """Does the plan's tasks as its config says: device, precision, batch size, checkpoints.

    It is one of so many `workers`, and so has a share of what is left to draw.
    """
    from erasure_bench.bench.running.worker import Worker

    config = prepared.plan.config
    return Worker(
        prepared.source,
        prepared.plan.methods,
        prepared.plan.evaluators,
        store,
        device=config.device,
        dtype=config.dtype,
        batch_size=config.batch_size,
        compiling=config.compile,
        pictures=prepared.plan.missing(store).images // workers,
        general_prompts=prepared.general_prompts,
        data_dir=config.data_dir,
        checkpoint_seconds=60 * config.checkpoint_minutes,
        attacks=prepared.plan.attacks,
    )


def exchange(plan: "Plan", store: Store) -> None:
    """Fetches of the plan what a bucket behind the store has, sends what it lacks, and says how much."""
    from rich.progress import Progress

    from erasure_bench.bench.storage.two_levels import TwoLevelStore

    if not isinstance(store, TwoLevelStore):
        return
    said = stderr_console()
    with Progress(console=said, transient=True, disable=not said.is_terminal) as progress:
        bar = progress.add_task("fetching and sending", total=None)
        done = store.exchange(
            ((task.kind, task.id) for task in plan.tasks), each=lambda: progress.advance(bar)
        )
    if done.fetched or done.sent:
        said.print(
            f"remote {store.remote.url}: {done.fetched} tasks fetched, {done.sent} sent", soft_wrap=True
        )


def by_workers(
    plan: "Plan",
    store: Store,
    remote: str | None,
    folder: Path,
    hands: "Hands",
    places: Sequence[str | None],
    told: "tuple[Journal, Reporter]",
    estimate: "Callable[[tuple[Task, ...]], Estimator]",
) -> "Outcome":
    """What several workers come to, one in each of the places; the journal and a tracker are `told` of it."""
    from erasure_bench.bench.running.crew import Crew
    from erasure_bench.bench.running.job import Job, write_job
    from erasure_bench.bench.running.launching import Start
    from erasure_bench.bench.running.progress import CrewProgress
    from erasure_bench.bench.running.together import OnlyCounts, Together

    journal, tracker = told
    if not journal.is_open:
        raise RunFailed(
            f"--out {folder}: another bench run is at work there, or it cannot be written; to give that run "
            f"another worker: bench work {folder}"
        )
    launcher = hands.launcher()
    job = write_job(folder, Job.of(plan, store.root, len(places), remote))
    try:
        starts = [Start(job, index, len(places), device) for index, device in enumerate(places)]
        live = CrewProgress(stderr_console(), estimate, len(places))
        journal.left = live.left
        reporter = Together((live, OnlyCounts(journal), tracker))
        return Crew(plan, store, starts, launcher, reporter, live.working).do()
    finally:
        job.unlink(missing_ok=True)
