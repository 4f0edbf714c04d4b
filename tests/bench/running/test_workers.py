"""Several workers give what one gives, do nothing twice, and lose nothing when one of them is lost."""

import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest

from erasure_bench.bench.planning.config import RunConfig
from erasure_bench.bench.planning.tasks import Task
from erasure_bench.bench.reporting.status import RunStatus, status_of
from erasure_bench.bench.running.board import SharedBoard
from erasure_bench.bench.running.crew import NoWorkers
from erasure_bench.bench.running.executor import Outcome, execute
from erasure_bench.bench.running.executors import Hands
from erasure_bench.bench.running.failures import Broken, Failure
from erasure_bench.bench.running.launching import Launcher, Processes, Start
from erasure_bench.bench.running.progress import Quiet
from erasure_bench.bench.storage.claims import Claims, OnDisk
from erasure_bench.bench.storage.store import Store, StoreAway, StoreError
from erasure_bench.errors import BenchError

TABLES = ("leaderboard.json", "leaderboard.csv", "leaderboard.md", "scores.parquet", "images.png")


class Watch(Quiet):
    """Keeps what it is told; `at` is called when so many tasks are done."""

    def __init__(self, at: int = 0, do: object = None) -> None:
        self.done: list[str] = []
        self.skipped_: list[str] = []
        self.failures: list[Failure] = []
        self.notes: list[str] = []
        self.at, self.do = at, do

    def finished(self, task: Task, *, well: bool) -> None:
        self.done.append(task.id)
        if len(self.done) == self.at and callable(self.do):
            self.do()

    def skipped(self, task: Task) -> None:
        self.skipped_.append(task.id)

    def failed(self, failure: Failure) -> None:
        self.failures.append(failure)

    def note(self, line: str) -> None:
        self.notes.append(line)


@pytest.fixture(scope="module")
def alone(fake: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of one process that nothing happens to."""
    folder = tmp_path_factory.mktemp("alone")
    fake.run(fake.tiny_plan(), folder / "store", folder / "out")
    return folder / "out"


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lost worker is started anew without a pause."""
    monkeypatch.setattr("erasure_bench.bench.running.crew.PAUSE_SECONDS", 0.01)


def log(folder: Path) -> tuple[Counter[str], Counter[str]]:
    """How often each task was begun and ended, in all processes together."""
    lines = [line.split() for line in (folder / "log").read_text().splitlines()]
    return Counter(name for what, name in lines if what == "begin"), Counter(
        name for what, name in lines if what == "end"
    )


def check_same(folder: Path, alone: Path) -> None:
    for name in TABLES:
        assert (folder / "out" / name).read_bytes() == (alone / name).read_bytes(), name
    assert not (folder / "out" / ".running").exists()
    assert list((folder / "store" / "claims").iterdir()) == [], "no claim stays"
    assert list((folder / "store" / "tmp").iterdir()) == [], "and no draft"


def test_two_processes_share_the_work_and_give_the_same(
    fake: ModuleType, tmp_path: Path, alone: Path
) -> None:
    plan = fake.tiny_plan()
    seen: list[RunStatus] = []
    watch = Watch(8, lambda: seen.append(status_of(tmp_path / "out")))
    outcome, _ = fake.run_with_crew(plan, tmp_path, 2, Processes(), watch=watch, BENCH_FAKE_SECONDS="0.1")
    check_same(tmp_path, alone)
    begun, ended = log(tmp_path)
    assert set(ended) == {task.id for task in plan.tasks} and set(begun.values()) == {1}, "each task once"
    assert sorted(watch.done) == sorted(ended) and outcome.failures == ()
    assert sum(outcome.done.values()) == len(plan.tasks)
    (status,) = seen
    assert status.state == "running" and status.process == os.getpid()
    assert [each.name for each in status.workers] == ["w0", "w1"]
    assert len({each.process for each in status.workers} | {os.getpid()}) == 3


def test_a_killed_worker_costs_what_it_was_at(fake: ModuleType, tmp_path: Path, alone: Path) -> None:
    watch = Watch()
    fake.run_with_crew(fake.tiny_plan(), tmp_path, 2, watch=watch, BENCH_FAKE_FAULT="die")
    check_same(tmp_path, alone)
    begun, ended = log(tmp_path)
    assert set(ended.values()) == {1} and sorted(begun.values())[-2:] == [1, 2]
    assert any("w0 is lost (ended by SIGKILL): started anew" in note for note in watch.notes)


def test_memory_that_runs_out_on_one_worker_fails_nothing(
    fake: ModuleType, tmp_path: Path, alone: Path
) -> None:
    watch = Watch()
    outcome, _ = fake.run_with_crew(fake.tiny_plan(), tmp_path, 2, watch=watch, BENCH_FAKE_FAULT="memory")
    assert outcome.failures == () and any("left to another worker" in note for note in watch.notes)
    check_same(tmp_path, alone)
    assert set(log(tmp_path)[1].values()) == {1}


def test_one_worker_without_memory_breaks_nothing_however_often_it_tries(
    fake: ModuleType, tmp_path: Path
) -> None:
    """Else a task was broken that the other worker, slow or busy, would have done."""
    task, why = fake.tiny_plan().tasks[0], Broken("erase", "out of memory")
    boards = [SharedBoard(tmp_path, 2, tmp_path / "job", name) for name in ("w0", "w1")]
    for _ in range(10):
        assert not boards[0].failed(task, why, may_do_elsewhere=True)
    assert boards[1].news() == {}
    boards[0].give_up("w1")
    assert boards[0].failed(task, why, may_do_elsewhere=True), "nobody else is left"
    assert boards[1].news() == {task.id: why}


def test_memory_that_runs_out_on_every_worker_is_a_failure(fake: ModuleType, tmp_path: Path) -> None:
    task, why = fake.tiny_plan().tasks[0], Broken("erase", "out of memory")
    boards = [SharedBoard(tmp_path, 5, tmp_path / "job", f"w{number}") for number in range(5)]
    assert [board.failed(task, why, may_do_elsewhere=True) for board in boards[:3]] == [False, False, True]


def failed_alone(fake: ModuleType, folder: Path) -> Outcome:
    worker = fake.FakeWorker(Store(folder))
    worker.break_on = lambda task: task.kind == "erase" and task.method == "dim"
    return execute(fake.tiny_plan(), worker, worker.store, Quiet())


def test_what_fails_fails_once_and_by_the_same_name_as_alone(fake: ModuleType, tmp_path: Path) -> None:
    watch = Watch()
    plan = fake.tiny_plan()
    outcome, _ = fake.run_with_crew(plan, tmp_path, 2, watch=watch, BENCH_FAKE_FAULT="broken")
    expected = failed_alone(fake, tmp_path / "alone")
    assert outcome.failures == expected.failures and outcome.done == expected.done
    assert set(watch.failures) == set(expected.failures) and len(watch.failures) == len(expected.failures)
    assert set(log(tmp_path)[0].values()) == {1}, "nobody tries what failed for another"
    assert sorted(watch.done + watch.skipped_) == sorted(task.id for task in plan.tasks)


def test_a_task_that_kills_its_worker_is_given_up_and_the_rest_is_done(
    fake: ModuleType, tmp_path: Path
) -> None:
    outcome, _ = fake.run_with_crew(fake.tiny_plan(), tmp_path, 2, BENCH_FAKE_FAULT="poison")
    assert {failure.stage for failure in outcome.failures} == {"erase"}
    assert all("3 workers ended without a word while erasing" in each.reason for each in outcome.failures)
    expected = failed_alone(fake, tmp_path / "alone")
    assert {(f.method, f.concept) for f in outcome.failures} == {
        (f.method, f.concept) for f in expected.failures
    }
    assert outcome.done == expected.done


def test_a_hanging_task_is_stopped_by_its_limit(fake: ModuleType, tmp_path: Path) -> None:
    plan = fake.tiny_plan(RunConfig(suite="tiny", methods=("dim",), task_timeout=3.0))
    outcome, _ = fake.run_with_crew(plan, tmp_path, 2, BENCH_FAKE_FAULT="hang")
    assert {failure.reason for failure in outcome.failures} == {"took longer than 3 s (--task-timeout)"}
    assert outcome.done == failed_alone(fake, tmp_path / "alone").done


def test_workers_that_cannot_begin_end_the_run_with_what_they_said(fake: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(NoWorkers, match="tasks are not done: .*BENCH_FAKE_SECONDS|could not convert"):
        fake.run_with_crew(fake.tiny_plan(), tmp_path, 2, BENCH_FAKE_SECONDS="soon")
    status = status_of(tmp_path / "out")
    assert status.state == "interrupted" and "no worker is left" in str(status.why)


def test_two_runs_at_once_on_one_store_share_the_work(fake: ModuleType, tmp_path: Path, alone: Path) -> None:
    """Neither knows of the other: no crew, no board, two folders; only the store is the same."""
    plans = [fake.tiny_plan(), fake.tiny_plan()]
    workers = [fake.FakeWorker(Store(tmp_path / "store"), seconds=0.05) for _ in plans]
    runs = [
        threading.Thread(target=fake.run, args=(plan, tmp_path / "store", tmp_path / f"out{number}", worker))
        for number, (plan, worker) in enumerate(zip(plans, workers, strict=True))
    ]
    for each in runs:
        each.start()
    for each in runs:
        each.join()
    calls = Counter(workers[0].calls + workers[1].calls)
    assert set(calls) == {task.id for task in plans[0].tasks} and set(calls.values()) == {1}
    for name in TABLES:
        for number in (0, 1):
            assert (tmp_path / f"out{number}" / name).read_bytes() == (alone / name).read_bytes(), name


def test_a_stopped_run_stops_its_workers_and_the_next_goes_on(
    fake: ModuleType, tmp_path: Path, alone: Path
) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fake.run_with_crew(fake.tiny_plan(), tmp_path, 2, watch=Watch(6, interrupt), BENCH_FAKE_SECONDS="0.1")
    for file in (tmp_path / "out" / ".running" / "workers").glob("*/now.json"):
        with pytest.raises(ProcessLookupError):
            os.kill(json.loads(file.read_text())["process"], 0)
    fake.run_with_crew(fake.tiny_plan(), tmp_path, 2)
    check_same(tmp_path, alone)
    assert set(log(tmp_path)[1].values()) == {1}, "nothing that was finished is done again"


class Nodes:
    """Two nodes of a Ray cluster on this machine."""

    def __enter__(self) -> Launcher:
        pytest.importorskip("ray")
        from ray.cluster_utils import Cluster

        from erasure_bench.bench.running.on_ray import RayTasks

        self.cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
        self.second = self.cluster.add_node(num_cpus=1)
        self.cluster.wait_for_nodes()
        return RayTasks(self.cluster.address)

    def __exit__(self, *reason: object) -> None:
        self.cluster.shutdown()


@pytest.mark.slow
def test_a_ray_cluster_of_two_nodes_gives_the_same(fake: ModuleType, tmp_path: Path, alone: Path) -> None:
    with Nodes() as launcher:
        # A worker that is still there when all is done is told to end, as one of this machine's is.
        fake.run_with_crew(fake.tiny_plan(), tmp_path, 2, launcher, BENCH_FAKE_FAULT="linger")
    check_same(tmp_path, alone)
    assert set(log(tmp_path)[0].values()) == {1}


@pytest.mark.slow
def test_a_ray_node_that_is_lost_costs_what_its_worker_was_at(
    fake: ModuleType, tmp_path: Path, alone: Path
) -> None:
    nodes = Nodes()
    with nodes as launcher:
        watch = Watch(6, lambda: nodes.cluster.remove_node(nodes.second, allow_graceful=False))
        fake.run_with_crew(fake.tiny_plan(), tmp_path, 2, launcher, watch=watch, BENCH_FAKE_SECONDS="0.5")
    check_same(tmp_path, alone)
    assert set(log(tmp_path)[1].values()) == {1}


def test_submitits_local_executor_gives_the_same(fake: ModuleType, tmp_path: Path, alone: Path) -> None:
    pytest.importorskip("submitit")
    from erasure_bench.bench.running.on_slurm import SlurmJobs

    fake.run_with_crew(fake.tiny_plan(), tmp_path, 2, SlurmJobs({"cluster": "local"}))
    check_same(tmp_path, alone)
    assert set(log(tmp_path)[0].values()) == {1}


SBATCH = """#!/bin/sh
cp "$1" {script}
echo Submitted batch job 7
"""


def test_slurm_is_asked_for_one_array_that_goes_back_into_the_queue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a Slurm: what sbatch is given, and what a job whose time is over asks for."""
    submitit = pytest.importorskip("submitit")
    from erasure_bench.bench.running.on_slurm import Job, SlurmJobs

    for name, text in {"sbatch": SBATCH.format(script=tmp_path / "script"), "srun": "#!/bin/sh\n"}.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    jobs = SlurmJobs({"partition": "gpu", "gpus_per_node": "1", "timeout_min": "240", "requeue": ""})
    starts = [Start(tmp_path / ".running" / "job-1.json", number, 3) for number in range(3)]
    handles = [jobs.start(start) for start in starts]
    jobs.submit()
    said = {line.removeprefix("#SBATCH ") for line in (tmp_path / "script").read_text().splitlines()}
    assert {"--array=0-2%3", "--partition=gpu", "--gpus-per-node=1", "--time=240", "--requeue"} <= said
    assert [handle.job.job_id for handle in handles] == ["7_0", "7_1", "7_2"]  # type: ignore[attr-defined]

    again = submitit.core.utils.DelayedSubmission(Job(starts[0], {}))._checkpoint_function()
    assert isinstance(again.function, Job) and again.function.worker == starts[0]


def test_a_place_without_slurm_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("submitit")
    from erasure_bench.bench.running.on_slurm import SlurmJobs

    monkeypatch.setenv("PATH", str(tmp_path))
    jobs = SlurmJobs({})
    jobs.start(Start(tmp_path / "job-1.json", 0, 1))
    with pytest.raises(BenchError, match="^--executor slurm: .*srun"):
        jobs.submit()


@pytest.mark.parametrize(
    ("hands", "said"),
    [
        (Hands(executor="ray"), "--executor ray: say how many workers"),
        (Hands(executor="slurm", workers=2, devices=("cuda:0",)), "--devices cuda:0 is of this machine"),
        (Hands(ray_address="auto"), "--ray-address auto goes with --executor ray"),
        (Hands(slurm={"partition": "gpu"}), "--slurm partition=… goes with --executor slurm"),
        (Hands(devices=("cuda:99",)), "no such device; valid: auto, cpu"),
    ],
)
def test_flags_that_do_not_fit_together_are_one_line(hands: Hands, said: str) -> None:
    with pytest.raises(BenchError, match=said):
        hands.check(RunConfig(suite="tiny", methods=("dim",)))


def test_places_are_shared_out() -> None:
    config = RunConfig(suite="tiny", methods=("dim",))
    assert Hands().places(config) == ["auto"], "this process"
    assert Hands(workers=3).places(config.model_copy(update={"device": "cpu"})) == ["cpu"] * 3
    assert len(Hands(workers=3).places(config)) == 3 and "auto" not in Hands(workers=3).places(config)
    assert Hands(devices=("cpu",)).places(config) == ["cpu"]
    assert Hands(workers=2, executor="ray").places(config) == [None, None]


def test_a_store_that_is_gone_for_a_while_is_waited_for(
    fake: ModuleType, tmp_path: Path, alone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Gone in the midst of a task, with an empty folder in its place, as an unmounted disk leaves one."""
    monkeypatch.setattr("erasure_bench.bench.running.executor.AWAY_SECONDS", 0.1)
    worker = fake.FakeWorker(Store(tmp_path / "store"))
    worker.log = tmp_path / "log"
    away = tmp_path / "away"

    def come_back() -> None:
        time.sleep(0.5)
        (tmp_path / "store").rmdir()
        away.rename(tmp_path / "store")

    coming = threading.Thread(target=come_back)

    def go(task: Task) -> bool:
        if len(worker.calls) == 8:
            (tmp_path / "store").rename(away)
            (tmp_path / "store").mkdir()
            coming.start()
        return False

    worker.break_on = go
    outcome, _ = fake.run(fake.tiny_plan(), tmp_path / "store", tmp_path / "out", worker)
    coming.join()
    assert outcome.failures == ()
    check_same(tmp_path, alone)
    begun, ended = log(tmp_path)
    assert set(ended.values()) == {1} and sum(begun.values()) == sum(ended.values()) + 1


def test_a_store_that_stays_away_ends_the_run_with_one_line(
    fake: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("erasure_bench.bench.running.executor.AWAY_SECONDS", 0.05)
    monkeypatch.setattr("erasure_bench.bench.running.executor.PATIENCE_SECONDS", 0.1)
    worker = fake.FakeWorker(Store(tmp_path / "store"))

    def go(task: Task) -> bool:
        if len(worker.calls) == 8:
            (tmp_path / "store").rename(tmp_path / "away")
        return False

    worker.break_on = go
    with pytest.raises(StoreError, match="away for .*run the same command again"):
        execute(fake.tiny_plan(), worker, worker.store, Quiet())


def test_silences_of_the_store_with_failures_between_them_are_not_one(
    fake: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("erasure_bench.bench.running.executor.AWAY_SECONDS", 0.05)
    monkeypatch.setattr("erasure_bench.bench.running.executor.PATIENCE_SECONDS", 0.3)
    worker = fake.FakeWorker(Store(tmp_path / "store"))

    def go(task: Task) -> bool:
        if len(worker.calls) in (1, 3):
            raise StoreAway("store: it does not answer")
        if len(worker.calls) == 2:
            time.sleep(0.4)
        return len(worker.calls) == 2

    worker.break_on = go
    assert execute(fake.tiny_plan(), worker, worker.store, Quiet()).failures
    assert len(worker.calls) > 3


def test_silences_of_the_store_with_idleness_between_them_are_not_one(
    fake: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that is left another run does, and that takes long."""
    monkeypatch.setattr("erasure_bench.bench.running.executor.AWAY_SECONDS", 0.02)
    monkeypatch.setattr("erasure_bench.bench.running.executor.PATIENCE_SECONDS", 0.3)
    monkeypatch.setattr("erasure_bench.bench.running.agenda.IDLE_SECONDS", 0.02)
    plan, store = fake.tiny_plan(), Store(tmp_path / "store")
    idle_since: list[float] = []
    notes: list[str] = []

    class Idle(Quiet):
        def waiting(self) -> None:
            idle_since[1:] = []
            idle_since.append(time.monotonic())

        def note(self, line: str) -> None:
            notes.append(line)

    def is_there() -> bool:
        idle = time.monotonic() - idle_since[0] if idle_since else 0.0
        return not (0.1 < idle < 0.2 or 0.8 < idle < 0.9)

    monkeypatch.setattr(store, "is_there", is_there)
    with Store(tmp_path / "store") as other, Claims(OnDisk(other)) as claims:
        last = plan.cells[-1].score[-1].id
        assert claims.take(last) is not None
        later = threading.Timer(2.0, claims.release, [last])
        later.start()
        outcome = execute(plan, fake.FakeWorker(store), store, Idle())
        later.join()
    assert outcome.failures == () and len(notes) == 2


STARTING = """
import os
import sys
from pathlib import Path

from erasure_bench.bench.running.launching import Processes, Start

job = Path(sys.argv[1]) / ".running" / "job-1.json"
Processes().start(Start(job, 0, 1, command=("-c", sys.argv[2], str(os.getpid()))))
"""
STARTED = """
import os
import signal
import sys
import time
from pathlib import Path

from erasure_bench.bench.cli.commands.work import end_with_parent

parent, told = int(sys.argv[1]), Path(sys.argv[2]).with_name("told")
signal.signal(signal.SIGTERM, lambda *_: (told.touch(), os._exit(0)))
while os.getppid() == parent:
    time.sleep(0.01)
end_with_parent()
time.sleep(20)
"""


def test_a_worker_ends_though_its_starter_has_ended_before_it_could_look(tmp_path: Path) -> None:
    """As where a run is killed while its workers are still importing."""
    subprocess.run([sys.executable, "-c", STARTING, str(tmp_path), STARTED], check=True)
    until = time.monotonic() + 15
    while not (tmp_path / ".running" / "told").exists() and time.monotonic() < until:
        time.sleep(0.05)
    assert (tmp_path / ".running" / "told").exists()
