"""`python -m fuzzing.search PARSER SECONDS FOLDER`: one parser in a process of its own, for so long.

Where atheris is installed (`pip install erasure-bench[fuzz]`) libFuzzer keeps what reaches new branches of
the parser's modules; else changes of the examples are tried blindly. Writes FOLDER/search.json, and to FOLDER
every input that ended in anything but a BenchError. A hang or a process that grows is ended from outside.
"""

import contextlib
import io
import json
import os
import resource
import sys
import time
import traceback
import warnings
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from random import Random

from fuzzing.harness import Harness, survives
from fuzzing.mutations import mutated
from fuzzing.registry import harness

RECORD = "search.json"
CORPUS = "corpus"
LARGEST = 1 << 18
"""Bytes of an input at most."""
LONGEST_SECONDS, MOST_MEMORY = 60, 4096
"""A single input that takes longer, or a process that grows to so many MiB, is a fault."""


class Search:
    """What one search has tried and found until `seconds` are over."""

    def __init__(self, under: Harness, folder: Path, seconds: float) -> None:
        self.harness, self.folder, self.seconds = under, folder, seconds
        self.started, self.before = time.monotonic(), _memory()
        self.inputs = self.taken = 0
        self.slowest = 0.0
        self.faults: dict[str, str] = {}

    @property
    def is_over(self) -> bool:
        return time.monotonic() - self.started > self.seconds

    def attempt(self, data: bytes) -> bool:
        """Whether the parser took the bytes; what it does not survive is a fault, once for each place."""
        started = time.process_time()
        self.inputs += 1
        try:
            with contextlib.redirect_stderr(io.StringIO()):
                taken = survives(self.harness, data)
        except Exception as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            what = f"{type(error).__name__} in {Path(place.filename).name}, line {place.lineno}"
            if what not in self.faults:
                self.faults[what] = str(error)[:200]
                (self.folder / f"fault-{len(self.faults)}").write_bytes(data)
            taken = False
        self.taken += taken
        self.slowest = max(self.slowest, time.process_time() - started)
        return taken

    def write(self, *, guided: bool) -> None:
        """What was found, as JSON."""
        record = {
            "parser": self.harness.name,
            "reads": self.harness.reads,
            "guided": guided,
            "inputs": self.inputs,
            "taken": self.taken,
            "seconds": round(time.monotonic() - self.started, 1),
            "slowest_cpu_seconds": round(self.slowest, 3),
            "memory_grown_mib": (_memory() - self.before) >> 10,
            "faults": self.faults,
        }
        (self.folder / RECORD).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def _memory() -> int:
    """The most memory this process has had, in KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def blind(under: Harness, folder: Path, seconds: float, seed: int = 0) -> Search:
    """Changes of examples, and of inputs that were taken."""
    chance, pool = Random(seed), list(under.seeds())
    search = Search(under, folder, seconds)
    for data in pool:
        search.attempt(data)
    while not search.is_over:
        data = mutated(chance.choice(pool), chance)[:LARGEST]
        if search.attempt(data) and len(pool) < 500:
            pool.append(data)
    return search


def guided(name: str, folder: Path, seconds: float) -> None:
    """By libFuzzer; does not come back."""
    import atheris

    with atheris.instrument_imports(include=list(_modules(name))):
        under = harness(name)
    (folder / CORPUS).mkdir()
    for number, data in enumerate(under.seeds()):
        (folder / CORPUS / str(number)).write_bytes(data)
    search = Search(under, folder, seconds)

    def one(data: bytes) -> None:
        search.attempt(data)
        if search.is_over:
            search.write(guided=True)
            sys.stderr.flush()
            os._exit(0)

    def change(data: bytes, largest: int, seed: int) -> bytes:
        chance = Random(seed)
        changed = atheris.Mutate(data, largest) if chance.random() < 0.4 else mutated(data, chance)
        return bytes(changed[:largest])

    atheris.Setup(_libfuzzer(folder), one, custom_mutator=change)
    atheris.Fuzz()


def _libfuzzer(folder: Path) -> list[str]:
    return [
        *("fuzzing", str(folder / CORPUS), f"-artifact_prefix={folder}/", f"-max_len={LARGEST}"),
        *(f"-timeout={LONGEST_SECONDS}", f"-rss_limit_mb={MOST_MEMORY}", "-seed=1", "-len_control=0"),
    ]


def _modules(name: str) -> Sequence[str]:
    """What is to be instrumented has to be known before it is imported, the harness with it."""
    from fuzzing.registry import PARSERS

    return PARSERS[name].modules


def main() -> None:
    """The command."""
    name, seconds, folder = sys.argv[1], float(sys.argv[2]), Path(sys.argv[3])
    warnings.simplefilter("ignore")
    os.environ["BENCH_OFFLINE"] = "1"
    if find_spec("atheris"):
        guided(name, folder, seconds)
    blind(harness(name), folder, seconds).write(guided=False)


if __name__ == "__main__":
    main()
