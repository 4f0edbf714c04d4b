"""`python -m studies.soak_kill`: a run killed (SIGKILL) at 50 random moments ends as an undisturbed one.

After each kill all that lies in the store is whole, and nothing that was finished is done again; a run that
gets to its end must have the same scores, pictures and weights to the bit. Then the next life begins with an
empty store. Each process is forked from this one, which has the libraries imported: a kill then costs
seconds less. Writes `results/reliability/kill.md`.
"""

import argparse
import importlib
import multiprocessing
import os
import random
import re
import shutil
import sys
import time
from collections import Counter
from multiprocessing.context import ForkProcess
from pathlib import Path

from erasure_bench.bench.cli.app import run_command
from erasure_bench.bench.reporting.run_file import ALWAYS, RUN, bound, opened
from erasure_bench.bench.storage.upkeep import verify
from studies.soaking import METHODS, Fingerprint, fingerprint, finished, report, run_words

FORK = multiprocessing.get_context("fork")
REPORT = "kill.md"


class Soak:
    """Counts what happened; every disagreement is an AssertionError that says which."""

    def __init__(self, work: Path, seed: int) -> None:
        self.work, self.random = work, random.Random(seed)
        self.seconds = 0.0
        self.kills = 0
        self.kills_of_life = 0
        self.most_kills = 0
        self.lives = 0
        self.resumed = 0
        self.under_way: Counter[str] = Counter()

    def undisturbed(self) -> Fingerprint:
        """A run that nobody kills."""
        process = self._start("whole")
        self._wait_for_work(process, "whole")
        started = time.monotonic()
        process.join()
        assert process.exitcode == 0, "the undisturbed run failed"
        self.seconds = time.monotonic() - started
        return fingerprint(self.work, "whole")

    def one(self, expected: Fingerprint, *, spare: bool) -> None:
        """Starts the run, or goes on with it, and kills it at a random moment, unless it ends before.

        The moment lies within as long as such a run takes, which follows what the machine is doing.
        """
        before = finished(self.work / "killed" / "store")
        process = self._start("killed")
        self._wait_for_work(process, "killed")
        started = time.monotonic()
        process.join(None if spare else self.random.uniform(0, self.seconds))
        if process.exitcode is None:
            self.under_way["an entry" if self._drafts(process) else "between two"] += 1
            process.kill()
            process.join()
            self.kills += 1
            self.kills_of_life += 1
            self.seconds *= 1.1
            self._check(before)
            self._skipped(before)
            return
        assert process.exitcode == 0, f"a resumed run ended with {process.exitcode}"
        self.seconds = max(0.5, time.monotonic() - started)
        self._check(before)
        self._skipped(before)
        assert fingerprint(self.work, "killed") == expected, "the resumed run has other results"
        assert list((self.work / "killed" / "store" / "tmp").iterdir()) == [], "rubbish stayed behind"
        self.lives += 1
        self.most_kills = max(self.most_kills, self.kills_of_life)
        self.kills_of_life = 0
        shutil.rmtree(self.work / "killed")

    def _check(self, before: dict[str, bytes]) -> None:
        store, out = self.work / "killed" / "store", self.work / "killed" / "out"
        after = finished(store)
        lost = [entry for entry in before if after.get(entry) != before[entry]]
        assert not lost, f"finished before and not the same after: {lost}"
        self.resumed += len(before)
        _, damaged = verify(store, move=False)
        assert not damaged, f"half-written and visible: {damaged}"
        if (out / RUN).exists():
            record = opened(out / RUN)
            for name in {*ALWAYS, *record["files"]}:
                bound(out, record, name)

    def _skipped(self, before: dict[str, bytes]) -> None:
        """The process itself must have counted all that was finished as done."""
        said = re.findall(r"(\d+) in the store", (self.work / "killed.log").read_text(encoding="utf-8"))
        assert said and int(said[-1]) == len(before), f"{said[-1:]} met, {len(before)} finished"

    def _drafts(self, process: ForkProcess) -> bool:
        """Whether this process has an entry under way: killed ones' drafts lie there too."""
        return any((self.work / "killed" / "store" / "tmp").glob(f"{process.pid}-*/*"))

    def _start(self, name: str) -> ForkProcess:
        process = FORK.Process(target=_bench, args=(run_words(self.work, name), self.work / f"{name}.log"))
        process.start()
        return process

    def _wait_for_work(self, process: ForkProcess, name: str) -> None:
        """Until this process has a session in the store: before that a kill has nothing to hit."""
        tmp = self.work / name / "store" / "tmp"
        while process.is_alive() and not any(tmp.glob(f"{process.pid}-*.lock")):
            time.sleep(0.01)


def _bench(words: list[str], log: Path) -> None:
    """The command, in a process of its own."""
    handle = os.open(log, os.O_CREAT | os.O_APPEND | os.O_WRONLY)
    os.dup2(handle, sys.stdout.fileno())
    os.dup2(handle, sys.stderr.fileno())
    sys.exit(run_command(words))


def import_libraries() -> None:
    for name in ("torch", "diffusers", "transformers", "open_clip", "pandas", "pyarrow.parquet", "PIL.Image"):
        importlib.import_module(name)
    importlib.import_module("erasure_bench.models.diffusion_model")
    importlib.import_module("erasure_bench.models.sampling")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m studies.soak_kill", description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, default=Path(".bench/soak-kill"))
    parser.add_argument("--out", type=Path, default=Path("results/reliability"))
    given = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    shutil.rmtree(given.work, ignore_errors=True)
    given.work.mkdir(parents=True)
    started = time.monotonic()
    import_libraries()
    soak = Soak(given.work, given.seed)
    expected = soak.undisturbed()
    while soak.kills < given.kills or soak.kills_of_life:
        soak.one(expected, spare=soak.kills >= given.kills)
        print(f"{soak.kills} kills, {soak.lives} runs brought to their end", file=sys.stderr, flush=True)
    report(
        given.out / REPORT,
        "A run killed again and again",
        f"python -m studies.soak_kill --kills {given.kills} --seed {given.seed}",
        [
            f"The run: {METHODS} on one concept of `microworld-instances`, one prompt of each role, `clip`; "
            f"{len(expected.pictures)} pictures, {len(expected.weights)} edits with weights.",
            f"{soak.kills} times SIGKILL at a random moment, {soak.under_way['an entry']} of them with an "
            f"entry under way, {soak.under_way['between two']} between two.",
            f"{soak.lives} runs brought to their end by starting the same command again, after up to "
            f"{soak.most_kills} kills: each has the scores (`scores.parquet`), the leaderboard's numbers, "
            "the pictures and the weights of the undisturbed run to the bit. What an edit cost is a time, "
            "its own in each run.",
            f"After each of the {soak.kills} kills every entry in its place was read whole and was what its "
            "manifest says: 0 half-written ones were visible.",
            f"{soak.resumed} times a finished task was met by a later process: it was counted as done, and "
            "its entry was the same file before and after: none was done twice. Nothing was left in the "
            "store's `tmp` at the end.",
            f"The whole took {(time.monotonic() - started) / 60:.0f} minutes.",
        ],
    )


if __name__ == "__main__":
    main()
