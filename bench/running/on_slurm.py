"""Workers as a Slurm job array, through submitit: each of its tasks is the same worker command.

A job that Slurm preempts, or whose time is over, is put into the queue again; its worker then goes on like
any other that is new. What it was at, others take over meanwhile.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from erasure_bench.bench.running.job import own_environment
from erasure_bench.bench.running.launching import LOG, Ended, Handle, Start, ended_with, last_line, run_child
from erasure_bench.errors import BenchError

if TYPE_CHECKING:
    import submitit

CLUSTER = "cluster"
"""Of --slurm: submitit's own; `local` runs the jobs as processes of this machine."""
TIMEOUT_MINUTES = 24 * 60
REQUEUES = 10_000
"""How often a job may come to the end of its time: submitit's own limit is 3."""
_OWN = "slurm_additional_parameters"


class Job:
    """What a job does. submitit asks it for what is to be done after a requeue: the same."""

    def __init__(self, worker: Start, environment: Mapping[str, str]) -> None:
        self.worker, self.environment = worker, dict(environment)

    def __call__(self) -> int:
        return run_child(self.worker.words, self.worker.place / LOG, self.environment)

    def checkpoint(self) -> "submitit.helpers.DelayedSubmission":
        import submitit

        return submitit.helpers.DelayedSubmission(self)


class SlurmJobs:
    """All workers that are started before the first is asked after are one array.

    `options` are submitit's parameters (timeout_min, gpus_per_node, mem_gb, …) or, for any other name,
    sbatch's own (partition, account, qos, …).
    """

    def __init__(self, options: Mapping[str, str]) -> None:
        try:
            import submitit
        except ImportError as error:
            raise BenchError("--executor slurm needs submitit: pip install 'erasure-bench[slurm]'") from error
        self._submitit, self._options = submitit, dict(options)
        self._cluster = self._options.pop(CLUSTER, "slurm")
        self._executor: Any = None
        self._waiting: list[tuple[Start, _InArray]] = []

    def start(self, worker: Start) -> Handle:
        """Handed in with the others when the first of them is asked after."""
        handle = _InArray(self, worker)
        self._waiting.append((worker, handle))
        return handle

    def submit(self) -> None:
        """Hands in what waits. Raises BenchError where Slurm does not take it."""
        if not self._waiting:
            return
        waiting, self._waiting = self._waiting, []
        environment = own_environment()
        try:
            executor = self._of(waiting[0][0])
            with executor.batch():
                jobs = [executor.submit(Job(worker, environment)) for worker, _ in waiting]
        except (
            RuntimeError,
            self._submitit.core.utils.FailedJobError,
            OSError,
            TypeError,
            ValueError,
        ) as error:
            raise BenchError(f"--executor slurm: {error}") from error
        for (_, handle), job in zip(waiting, jobs, strict=True):
            handle.job = job

    def close(self) -> None:
        """Nothing is held."""
        self._waiting.clear()

    def _of(self, worker: Start) -> Any:
        if self._executor is None:
            executor = self._submitit.AutoExecutor(
                folder=worker.job.parent / "slurm" / "%j",
                cluster=self._cluster,
                slurm_max_num_timeout=REQUEUES,
            )
            known = {name: value for name, value in self._options.items() if name in _PARAMETERS}
            others = {name: value or True for name, value in self._options.items() if name not in _PARAMETERS}
            parameters: dict[str, Any] = {
                "timeout_min": TIMEOUT_MINUTES,
                "slurm_array_parallelism": worker.of,
                "name": "erasure-bench",
                **{name: int(value) if value.isdigit() else value for name, value in known.items()},
            }
            if others:
                parameters[_OWN] = others
            executor.update_parameters(**parameters)
            self._executor = executor
        return self._executor


_PARAMETERS = ("timeout_min", "mem_gb", "nodes", "cpus_per_task", "gpus_per_node", "tasks_per_node", "name")


class _InArray:
    def __init__(self, jobs: SlurmJobs, worker: Start) -> None:
        self._jobs, self._worker = jobs, worker
        self.job: Any = None

    def ended(self) -> Ended | None:
        self._jobs.submit()
        if not self.job.done():
            return None
        log = self._worker.place / LOG
        if self.job.state.upper().startswith(("CANCEL", "INTERRUPT")):
            return Ended(f"its job {self.job.job_id} was ended")
        try:
            return ended_with(int(self.job.result()), log)
        except Exception as error:  # whatever submitit makes of a job that left no result
            return Ended(last_line(log).removeprefix("bench: ") or str(error).splitlines()[0])

    def stop(self) -> None:
        if self.job is not None and not self.job.done():
            self.job.cancel(check=False)

    def wait(self) -> None:
        """Slurm ends it."""
