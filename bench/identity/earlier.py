"""The code of an earlier commit, measured on this machine: for one that rounds otherwise than the table's.

Adam divides a gradient by its own size, so that rounding alone can move a fingerprint by more than its
tolerance. What two codes make of the same inputs on the same machine has no such difference.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from erasure_bench.bench.identity.table import Accepted, Kind, Numbers
from erasure_bench.errors import BenchError

MEASURING = Path(__file__).with_name("measuring.py")
ROOT = Path(__file__).resolve().parents[2]
FLAG = "--before"


class Earlier:
    """A commit's code, checked out in `folder`: a process of its own that measures what it is asked."""

    def __init__(self, commit: str, folder: Path) -> None:
        self.commit, self.folder = commit, folder

    @cached_property
    def _process(self) -> "subprocess.Popen[str]":
        with self._log.open("w") as log:
            return subprocess.Popen(
                [sys.executable, "-P", str(MEASURING)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env={**os.environ, "PYTHONPATH": str(self.folder)},
                text=True,
            )

    @property
    def _log(self) -> Path:
        return self.folder.with_name("log")

    def numbers(self, kind: Kind, name: str, entry: Accepted) -> dict[str, Numbers]:
        """What it makes, by case, of what `entry` has numbers of; without what cannot be measured here.

        Raises BenchError where its code is another than the table names, or cannot be measured.
        """
        cases = {
            case: dict(taken.settings) for case, taken in entry.fingerprints.items() if not taken.not_run
        }
        said = self._asked(json.dumps({"kind": kind, "name": name, "cases": cases}))
        if not said:
            last = (self._log.read_text().strip().splitlines() or ["no word of why"])[-1]
            raise BenchError(f"{FLAG} {self.commit}: {kind} {name} cannot be measured there: {last}")
        found: dict[str, Any] = json.loads(said)
        if found["code"] != entry.code:
            raise BenchError(
                f"{FLAG} {self.commit}: {kind} {name} is other code there than the table names; give the "
                "commit with which it was accepted last (git log -- bench/identity/accepted)"
            )
        return {case: made["numbers"] for case, made in found["cases"].items() if "numbers" in made}

    def _asked(self, line: str) -> str:
        """The process' answer, empty where it has ended."""
        to, answers = self._process.stdin, self._process.stdout
        assert to is not None and answers is not None
        with suppress(BrokenPipeError):
            print(line, file=to, flush=True)
        return answers.readline()

    def end(self) -> None:
        """Asks no more."""
        if "_process" in self.__dict__:
            self._process.kill()
            self._process.communicate()


@contextmanager
def checked_out(commit: str, root: Path = ROOT) -> Iterator[Earlier]:
    """The commit of the repository in `root`, for a while. Raises BenchError where git has none such."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "code"
        _git(root, commit, "worktree", "add", "--detach", str(folder), commit)
        earlier = Earlier(commit, folder)
        try:
            yield earlier
        finally:
            earlier.end()
            _git(root, commit, "worktree", "remove", "--force", str(folder))


def _git(root: Path, commit: str, *words: str) -> None:
    try:
        subprocess.run(["git", "-C", str(root), *words], check=True, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise BenchError(f"{FLAG} {commit}: git is not installed") from error
    except subprocess.CalledProcessError as error:
        last = (error.stderr.strip().splitlines() or [str(error)])[-1]
        raise BenchError(f"{FLAG} {commit}: {last}") from error
