"""`python -m studies.soak_faults`: what several workers lose when something breaks under them: nothing.

Each round is a small real run by two workers (`studies.soaking`) into an empty store, with one fault. After
it, by the same command given again where the run could not go on by itself, the scores, the leaderboard, the
pictures and the weights must be those of the undisturbed run to the bit, and no task may have been finished
twice. Workers are forked from this process, which has the libraries imported, but for those that Ray starts.
Writes `results/reliability/faults.md`.
"""

import argparse
import contextlib
import io
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.context import ForkProcess
from pathlib import Path
from typing import Any, NamedTuple

from erasure_bench.bench.cli.app import run_command
from erasure_bench.bench.cli.signals import end_as_by_ctrl_c
from erasure_bench.bench.running import executors
from erasure_bench.bench.running.launching import LOG, Ended, Handle, Start, ended_with
from erasure_bench.bench.running.worker import Worker
from studies.soak_kill import import_libraries
from studies.soaking import Fingerprint, fingerprint, report, run_words

FORK = multiprocessing.get_context("fork")
REPORT = "faults.md"
METHODS, WORKERS = "negative-prompt,uce", 2
TASKS = ("erase", "generate", "score", "features")
FAULT, JOURNAL = "SOAK_FAULT", "SOAK_JOURNAL"
HANGS_SECONDS = 20
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
    _watch_tasks(fault if worker.number == 0 else "")
    sys.exit(run_command(worker.words[3:]))


def _watch_tasks(fault: str) -> None:
    """Writes down every task that is begun and ended; with a `fault`, some of them go wrong."""
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
    sys.exit(run_command(list(words)))


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


FAULTS: dict[str, Fault] = {
    "two runs and prune at once": two_runs_and_prune,
    "out of memory on one worker": memory_on_one,
    "a hanging task": hanging_task,
    "a worker killed": worker_killed,
    "the store gone for 5 s": store_gone,
    "the store slow": store_slow,
    "the store's disk full": disk_full,
    "the run's own process killed": run_killed,
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
    rows: list[list[object]] = []
    for name, fault in FAULTS.items():
        if given.only and given.only not in name:
            continue
        rounds: list[Round] = []
        try:
            for _ in range(given.rounds):
                rounds.append(one(given.work, name, fault, chance, expected, tasks))
                print(f"{time.monotonic() - started:.0f} s: {name}", file=sys.stderr, flush=True)
        except Skip as why:
            rows.append([name, f"not tried: {why}", "", "", ""])
            continue
        again, in_vain = sum(each.again for each in rounds), sum(each.in_vain for each in rounds)
        rows.append([name, len(rounds), again, 0, in_vain])
        minutes = (time.monotonic() - started) / 60
        _report(given.out / REPORT, f"--rounds {given.rounds} --seed {given.seed}", rows, tasks, minutes)


def _report(path: Path, asked: str, rows: Sequence[Sequence[object]], tasks: int, minutes: float) -> None:
    """Of the faults so far: a study that is stopped leaves what it has seen."""
    n = sum(row[1] for row in rows if isinstance(row[1], int))
    report(
        path,
        "Several workers, and something breaks",
        f"python -m studies.soak_faults {asked}",
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
            f"{1000 * SLOW_SECONDS:.0f} ms longer, on average and at random.",
            f"The whole took {minutes:.0f} minutes.",
        ],
        [
            ["fault", "rounds", "command given again", "lost or finished twice", "tasks begun in vain"],
            *rows,
        ],
    )


if __name__ == "__main__":
    main()
