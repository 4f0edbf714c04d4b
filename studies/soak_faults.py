"""`python -m studies.soak_faults`: what several workers lose when something breaks under them: nothing.

Each round is a small real run by two workers (`studies.soaking`) into an empty store, with one fault. After
it, by the same command given again where the run could not go on by itself, the scores, the leaderboard, the
pictures and the weights must be those of the undisturbed run to the bit, and no task may have been finished
twice. Workers are forked from this process, which has the libraries imported, but for those that Ray starts.
Writes `results/reliability/faults.md` and `faults.json`, each fault's row beside those of earlier studies.
"""

import argparse
import contextlib
import datetime
import io
import json
import multiprocessing
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from multiprocessing.context import ForkProcess
from pathlib import Path
from typing import Any, NamedTuple

from erasure_bench.bench.cli.app import run_command
from erasure_bench.bench.cli.signals import end_as_by_ctrl_c
from erasure_bench.bench.running import executors
from erasure_bench.bench.running.launching import LOG, Ended, Handle, Start, ended_with
from erasure_bench.bench.running.versions import this_version
from erasure_bench.bench.running.worker import Worker
from erasure_bench.bench.storage.atomic import write_text
from studies.ray_cluster import GIVES_UP_SECONDS, RayCluster, kill
from studies.soak_kill import import_libraries
from studies.soaking import Fingerprint, fingerprint, report, run_words

FORK = multiprocessing.get_context("fork")
REPORT, RECORDS = "faults.md", "faults.json"
METHODS, WORKERS = "negative-prompt,uce", 2
TASKS = ("erase", "generate", "score", "features")
FAULT, JOURNAL = "SOAK_FAULT", "SOAK_JOURNAL"
HANGS_SECONDS = 20
RAY, WATCHED = "ray", ("-m", "studies.soak_worker")
SLOW, SLOW_SECONDS = "slow", 0.02
"""On average, for each operation on the store: many times what a network's disk takes on a good day."""
DISK = (
    "link",
    "listdir",
    "mkdir",
    "open",
    "readlink",
    "rename",
    "replace",
    "stat",
    "symlink",
    "unlink",
    "utime",
)


class Skip(Exception):
    """Why a fault cannot be made here."""


class Forks:
    """Starts workers as forks of the run's process."""

    def start(self, worker: Start) -> Handle:
        """Its stdout and stderr go to its log, as those of a process of its own do."""
        worker.place.mkdir(parents=True, exist_ok=True)
        process = FORK.Process(target=_worker, args=(worker,))
        process.start()
        return _Fork(process, worker)

    def close(self) -> None:
        """Nothing is held."""


class _Fork:
    def __init__(self, process: ForkProcess, worker: Start) -> None:
        self._process, self._log = process, worker.place / LOG

    def ended(self) -> Ended | None:
        code = self._process.exitcode
        return None if code is None else ended_with(code, self._log)

    def stop(self) -> None:
        self._process.terminate()

    def wait(self) -> None:
        self._process.join(60)
        self._process.kill()


def _worker(worker: Start) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    end_as_by_ctrl_c()
    _say_into(worker.place / LOG)
    fault = os.environ.get(FAULT, "")
    if fault == SLOW:
        _slow_down(Path(os.environ[JOURNAL]).parent / "store")
    watch_tasks(fault if worker.number == 0 else "")
    sys.exit(run_command(worker.words[3:]))


def watch_tasks(fault: str) -> None:
    """Has this process write down every task that it begins and ends; with a `fault`, some go wrong."""
    journal = Path(os.environ[JOURNAL])
    for name in TASKS:
        setattr(Worker, name, _watched(getattr(Worker, name), journal, fault))


def _watched(do: Callable[..., None], journal: Path, fault: str) -> Callable[..., None]:
    def watched(self: Worker, task: Any, *others: Any) -> None:
        _write(journal, f"begin {task.id}")
        if fault == "memory" and task.kind == "generate":
            raise RuntimeError("CUDA error: out of memory (simulated)")
        if fault == "hang" and task.kind == "generate":
            time.sleep(3600)
        do(self, task, *others)
        _write(journal, f"end {task.id}")

    return watched


def _slow_down(store: Path) -> None:
    """Has every operation of this process on files of the store take longer, now and then much longer."""
    beginning, chance = str(store.resolve()), random.Random(os.getpid())

    def slowed(do: Callable[..., Any]) -> Callable[..., Any]:
        def later(*given: Any, **named: Any) -> Any:
            if any(
                os.path.abspath(one).startswith(beginning) for one in given if isinstance(one, str | Path)
            ):
                time.sleep(chance.expovariate(1 / SLOW_SECONDS))
            return do(*given, **named)

        return later

    for name in DISK:
        setattr(os, name, slowed(getattr(os, name)))


def _write(journal: Path, line: str) -> None:
    with journal.open("a", encoding="utf-8") as file:
        file.write(f"{line}\n")


def _say_into(log: Path) -> None:
    handle = os.open(log, os.O_CREAT | os.O_APPEND | os.O_WRONLY)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)


class Place:
    """Where one round happens: `name` below `work`, empty at first."""

    def __init__(self, work: Path, name: str) -> None:
        self.work, self.name = work, name
        shutil.rmtree(work / name, ignore_errors=True)
        (work / name).mkdir(parents=True)
        self.store, self.journal = work / name / "store", work / name / "journal"

    def begin(self, *words: str, fault: str = "") -> ForkProcess:
        """`bench run` by two workers, in a process of its own."""
        run = run_words(self.work, self.name, METHODS, ())
        given = [*run, "--workers", str(WORKERS), "--device", "cpu", *words]
        process = FORK.Process(target=_bench, args=(given, self.log, self.journal, fault))
        process.start()
        return process

    @property
    def log(self) -> Path:
        """What the commands say."""
        return self.work / self.name / "log"

    def ended(self) -> Counter[str]:
        """How often each task was finished so far."""
        return Counter(word for what, word in self._lines() if what == "end")

    def begun(self) -> Counter[str]:
        """How often each task was begun so far."""
        return Counter(word for what, word in self._lines() if what == "begin")

    def wait_for(self, tasks: int, process: ForkProcess) -> None:
        """Until so many tasks are finished, or the run is."""
        while process.is_alive() and self.ended().total() < tasks:
            time.sleep(0.02)

    def _lines(self) -> Iterator[list[str]]:
        if self.journal.exists():
            for line in self.journal.read_text(encoding="utf-8").splitlines():
                yield line.split()


def _bench(words: Sequence[str], log: Path, journal: Path, fault: str) -> None:
    os.environ |= {JOURNAL: str(journal), FAULT: fault}
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    end_as_by_ctrl_c()
    _say_into(log)
    executors.Processes = Forks  # type: ignore[misc, assignment]
    if fault == RAY:
        _watch_on_ray()
    sys.exit(run_command(list(words)))


def _watch_on_ray() -> None:
    """Has the workers that Ray starts write down what they do."""
    from erasure_bench.bench.running.on_ray import RayTasks

    def start(self: RayTasks, worker: Start) -> Handle:
        return unwatched(self, worker._replace(command=WATCHED))

    unwatched = RayTasks.start
    RayTasks.start = start  # type: ignore[method-assign]


class Round(NamedTuple):
    """What came of a round: whether it needed the command again, and how many tasks were begun in vain."""

    again: bool
    in_vain: int


Fault = Callable[[Place, random.Random, int], bool]
"""Makes the fault in a place whose run has so many tasks; whether the command had to be given again."""


def worker_killed(place: Place, chance: random.Random, tasks: int) -> bool:
    """SIGKILL to one of the workers, whatever it is at."""
    process = place.begin()
    place.wait_for(chance.randrange(tasks - 2), process)
    time.sleep(chance.uniform(0, 0.3))
    _kill_one(process, chance)
    _ends_well(process, place)
    return False


def run_killed(place: Place, chance: random.Random, tasks: int) -> bool:
    """SIGKILL to the process that began the workers: they end with it."""
    process = place.begin()
    place.wait_for(chance.randrange(tasks - 2), process)
    workers = _children(process)
    process.kill()
    process.join()
    until = time.monotonic() + 60
    while any(Path(f"/proc/{worker}").exists() for worker in workers) and time.monotonic() < until:
        time.sleep(0.05)
    _ends_well(place.begin(), place)
    return True


def disk_full(place: Place, chance: random.Random, tasks: int) -> bool:
    """The store on a tmpfs that holds half of it; it is made larger before the command is given again."""
    room = _bytes(place.work / "undisturbed" / "store") // 2
    with _small_disk(place.store, room):
        process = place.begin()
        process.join()
        assert process.exitcode == 1, f"on a full disk the run ended with {process.exitcode}"
        said = place.log.read_text(encoding="utf-8")
        assert "the disk is full" in said and "Traceback" not in said, said[-2000:]
        _mount("-o", f"remount,size={20 * room}", str(place.store))
        _ends_well(place.begin(), place)
        shutil.copytree(place.store, place.work / place.name / "kept", symlinks=True)
    place.store.rmdir()
    (place.work / place.name / "kept").rename(place.store)
    return True


def store_gone(place: Place, chance: random.Random, tasks: int) -> bool:
    """The store moved away for 5 s, with an empty folder in its place, as where a disk was unmounted."""
    process = place.begin()
    place.wait_for(chance.randrange(1, tasks - 4), process)
    away = place.work / place.name / "away"
    place.store.rename(away)
    place.store.mkdir()
    time.sleep(5)
    shutil.rmtree(place.store)
    away.rename(place.store)
    _ends_well(process, place)
    return False


def store_slow(place: Place, chance: random.Random, tasks: int) -> bool:
    """Whatever the workers do with the store's files takes longer (simulated), at random."""
    _ends_well(place.begin(fault=SLOW), place)
    return False


def two_runs_and_prune(place: Place, chance: random.Random, tasks: int) -> bool:
    """Two runs by two workers each into two folders on one store, and `bench store prune` all the time."""
    other = Place(place.work, f"{place.name}-too")
    other.store.symlink_to(place.store.resolve())
    place.store.mkdir()
    other.journal = place.journal
    runs = [place.begin(), other.begin()]
    while any(run.is_alive() for run in runs):
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            assert run_command(["store", "prune", "--store", str(place.store)]) == 0, said.getvalue()
        time.sleep(0.2)
    for run, where in zip(runs, (place, other), strict=True):
        _ends_well(run, where)
    mine, theirs = (fingerprint(place.work, each.name) for each in (place, other))
    assert mine == theirs, "the two runs differ"
    return False


def memory_on_one(place: Place, chance: random.Random, tasks: int) -> bool:
    """One worker's device has no memory for pictures (simulated): the other draws them all."""
    _ends_well(place.begin(fault="memory"), place)
    return False


def hanging_task(place: Place, chance: random.Random, tasks: int) -> bool:
    """Pictures on one worker take for ever, with a limit: they fail, and the next command draws them."""
    process = place.begin("--task-timeout", str(HANGS_SECONDS), fault="hang")
    process.join()
    assert process.exitcode in (0, 1), f"a run with a hanging task ended with {process.exitcode}"
    if process.exitcode == 0:  # the other worker had drawn all there was
        return False
    assert "(--task-timeout)" in place.log.read_text(encoding="utf-8")
    _ends_well(place.begin(), place)
    return True


def ray_node_removed(place: Place, chance: random.Random, tasks: int) -> bool:
    """One of the two nodes that have workers is killed with all that runs on it."""
    with _ray(place) as cluster:
        process = place.begin(*_on(cluster), fault=RAY)
        place.wait_for(chance.randrange(1, tasks - 6), process)
        kill(chance.choice(cluster.nodes))
        _ends_well(process, place)
    return False


def ray_head_restarted(place: Place, chance: random.Random, tasks: int) -> bool:
    """The head is killed: the nodes and the run end. Under another head the same command goes on."""
    with _ray(place) as cluster:
        process = place.begin(*_on(cluster), fault=RAY)
        place.wait_for(chance.randrange(1, tasks - 6), process)
        kill(cluster.head)
        process.join()
        assert process.exitcode, f"without a head the run ended with {process.exitcode}"
        for node in cluster.nodes:
            node.wait()
    with _ray(place) as cluster:
        _ends_well(place.begin(*_on(cluster), fault=RAY), place)
    return True


def _ray(place: Place) -> RayCluster:
    if find_spec("ray") is None:
        raise Skip("Ray is not installed")
    os.environ |= {
        JOURNAL: str(place.journal),
        "RAY_gcs_rpc_server_reconnect_timeout_s": f"{GIVES_UP_SECONDS}",
    }
    return RayCluster(place.work / place.name, WORKERS)


def _on(cluster: RayCluster) -> list[str]:
    return ["--executor", "ray", "--ray-address", cluster.address]


FAULTS: dict[str, Fault] = {
    "two runs and prune at once": two_runs_and_prune,
    "out of memory on one worker": memory_on_one,
    "a hanging task": hanging_task,
    "a worker killed": worker_killed,
    "the store gone for 5 s": store_gone,
    "the store slow": store_slow,
    "the store's disk full": disk_full,
    "the run's own process killed": run_killed,
    "a Ray node removed": ray_node_removed,
    "Ray's head killed, another started": ray_head_restarted,
}


def one(
    work: Path, name: str, fault: Fault, chance: random.Random, expected: Fingerprint, tasks: int
) -> Round:
    """One round. Raises AssertionError where anything was lost, done twice or is not as it was."""
    place = Place(work, "fault")
    again = fault(place, chance, tasks)
    ended, begun = place.ended(), place.begun()
    twice = [task for task, times in ended.items() if times > 1]
    assert not twice, f"{name}: finished twice: {twice}"
    assert len(ended) == tasks, f"{name}: {len(ended)} of {tasks} tasks"
    assert fingerprint(work, place.name) == expected, f"{name}: other results than the undisturbed run's"
    assert list((place.store / "tmp").iterdir()) == [], f"{name}: drafts stayed behind"
    return Round(again, begun.total() - ended.total())


def _ends_well(process: ForkProcess, place: Place) -> None:
    process.join()
    said = place.log.read_text(encoding="utf-8")
    assert process.exitcode == 0 and "Traceback" not in said, f"{process.exitcode}: {said[-3000:]}"


def _children(process: ForkProcess) -> list[int]:
    listed = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return [int(child) for child in listed.read_text().split()] if listed.exists() else []


def _kill_one(process: ForkProcess, chance: random.Random) -> None:
    if workers := _children(process):
        with contextlib.suppress(ProcessLookupError):
            os.kill(chance.choice(workers), signal.SIGKILL)


@contextlib.contextmanager
def _small_disk(place: Path, room: int) -> Iterator[None]:
    place.mkdir()
    _mount("-t", "tmpfs", "-o", f"size={room}", "soak", str(place))
    try:
        yield
    finally:
        subprocess.run(["umount", str(place)], check=True)


def _mount(*words: str) -> None:
    done = subprocess.run(["mount", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise Skip(f"no tmpfs can be mounted here ({done.stderr.strip()})")


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m studies.soak_faults", description=__doc__)
    parser.add_argument("--rounds", type=int, default=10, help="of each fault")
    parser.add_argument("--only", help="the faults whose names contain this")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, default=Path(".bench/soak-faults"))
    parser.add_argument("--out", type=Path, default=Path("results/reliability"))
    given = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    shutil.rmtree(given.work, ignore_errors=True)
    started = time.monotonic()
    import_libraries()
    chance = random.Random(given.seed)
    whole = Place(given.work, "undisturbed")
    _ends_well(whole.begin(), whole)
    expected, tasks = fingerprint(given.work, whole.name), len(whole.ended())
    for name, fault in FAULTS.items():
        if given.only and given.only not in name:
            continue
        rounds: list[Round] = []
        begun = time.monotonic()
        try:
            for _ in range(given.rounds):
                rounds.append(one(given.work, name, fault, chance, expected, tasks))
                print(f"{time.monotonic() - started:.0f} s: {name}", file=sys.stderr, flush=True)
        except Skip as why:
            _keep(given.out, name, {"not_tried": str(why)})
            continue
        record = {
            "rounds": len(rounds),
            "again": sum(each.again for each in rounds),
            "in_vain": sum(each.in_vain for each in rounds),
            "seed": given.seed,
            "minutes": round((time.monotonic() - begun) / 60, 1),
            "made": f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}",
            "version": this_version(),
        }
        _keep(given.out, name, record)
        _report(given.out / REPORT, json.loads((given.out / RECORDS).read_text(encoding="utf-8")), tasks)


def _keep(out: Path, name: str, record: dict[str, Any]) -> None:
    """Beside what earlier studies found of other faults: one that is stopped leaves what it has seen."""
    path = out / RECORDS
    known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    known[name] = record
    ordered = {each: known[each] for each in FAULTS if each in known}
    write_text(path, json.dumps(ordered, indent=1) + "\n")


def _report(path: Path, records: dict[str, dict[str, Any]], tasks: int) -> None:
    n = sum(record.get("rounds", 0) for record in records.values())
    report(
        path,
        "Several workers, and something breaks",
        "python -m studies.soak_faults",
        [
            f"The run: {METHODS} on one concept of `microworld-instances`, one prompt of each role, `clip`: "
            f"{tasks} tasks by {WORKERS} processes on one machine, which share them by claims in the store.",
            f"{n} rounds, each with one fault and an empty store. In every one the scores "
            "(`scores.parquet`), the leaderboard's numbers, the pictures and the weights in the end are "
            "those of the undisturbed run to the bit, every task was finished once in all processes "
            "together, and no draft stayed behind. (What an edit cost is a time, its own in each run.)",
            f"0 of {n}: by the rule of three less than {min(1.0, 3 / max(n, 1)):.0%} of such rounds lose or "
            "redo anything, at 95 % confidence.",
            "The disk is a tmpfs of half the room that the run takes. Memory that runs out is simulated: an "
            "error as CUDA raises it, on one worker, at all its pictures. The store that is gone is moved "
            f"away, with an empty folder in its place. In the slow one each of {', '.join(DISK)} takes "
            f"{1000 * SLOW_SECONDS:.0f} ms longer, on average and at random. Ray's cluster is a head without "
            f"cores and {WORKERS} nodes with one each, by `ray start` on one machine; what is killed is a "
            "node's processes with all that they started. Without a head the run ends after "
            f"{GIVES_UP_SECONDS} s here, 60 s by Ray's default.",
            "Each fault's rounds were made when and with what its row says; all of it is in "
            f"`{RECORDS}`, and `--only` makes one fault's anew.",
        ],
        [
            [
                "fault",
                "rounds",
                "command given again",
                "lost or finished twice",
                "tasks begun in vain",
                "made",
            ],
            *(_row(name, record) for name, record in records.items()),
        ],
    )


def _row(name: str, record: dict[str, Any]) -> list[object]:
    if "rounds" not in record:
        return [name, f"not tried: {record['not_tried']}", "", "", "", ""]
    commit = re.search(r"commit (\w+)", record["version"])
    made = f"{record['made']}{f', {commit[1]}' if commit else ''}"
    return [name, record["rounds"], record["again"], 0, record["in_vain"], made]


if __name__ == "__main__":
    main()
