"""A store on this machine's disk with a bucket behind it: what one machine has finished no other does again.

All work is done in the folder. An entry that it lacks is fetched before it is made, one that was made is
sent. The bucket is asked and told, never relied on: while it is away the run goes on with what is here, says
so once, and sends later what it could not. Checkpoints, remembered facts and what is damaged stay here.
"""

import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from erasure_bench.bench.storage.damage import Say, on_stderr
from erasure_bench.bench.storage.manifest import Flaw
from erasure_bench.bench.storage.remote import Remote, RemoteAway
from erasure_bench.bench.storage.store import DamagedEntry, Draft, EntryKind, Store

AWAY_SECONDS = 30.0
"""After it did not answer, the bucket is left alone for so long."""
TOGETHER = 8
"""Requests at once where many entries are fetched or sent."""
Wanted = Iterable[tuple[EntryKind, str]]


class Exchanged(NamedTuple):
    """How many entries came and went."""

    fetched: int
    sent: int


class TwoLevelStore(Store):
    """`Store` with a `Remote` behind it; any number of machines may use one bucket at once."""

    def __init__(self, root: Path, remote: Remote, say: Say = on_stderr) -> None:
        super().__init__(root, say)
        self.remote = remote
        self._refused: set[tuple[str, str]] = set()
        self._fetched: set[tuple[str, str]] = set()
        self._unsent: dict[tuple[EntryKind, str], None] = {}
        self._away_until, self._said_away = 0.0, False
        self._saying = threading.Lock()

    @property
    def unsent(self) -> int:
        """How many finished entries the bucket has not, as it did not answer."""
        return len(self._unsent)

    def obtain(self, kind: EntryKind, task_id: str) -> bool:
        """Fetches the entry where the folder has it not and the bucket has it, whole."""
        return self.has(kind, task_id) or self._fetch(kind, task_id)

    def exchange(self, wanted: Wanted, each: Callable[[], None] = lambda: None) -> Exchanged:
        """Fetches of these what the folder lacks, sends what the bucket lacks; `each` is told of every one.

        While the bucket is away nothing comes and goes, which is said.
        """
        asked = tuple(dict.fromkeys(wanted))
        with ThreadPoolExecutor(TOGETHER) as pool:
            shards = sorted({(kind, task_id[:2]) for kind, task_id in asked})
            try:
                listed = dict(
                    zip(shards, pool.map(lambda shard: self.remote.listed(*shard), shards), strict=True)
                )
            except RemoteAway as why:
                self.is_away(why)
                return Exchanged(0, 0)
            lacking = self.lacking(asked)
            there = [key for key in asked if key[1] in listed[key[0], key[1][:2]]]
            come = [key for key in there if key[1] in lacking]
            go = [key for key in asked if key not in set(there) and key[1] not in lacking]
            self.scratch()  # one for all threads

            def counted(do: Callable[[EntryKind, str], bool]) -> Callable[[tuple[EntryKind, str]], bool]:
                def one(key: tuple[EntryKind, str]) -> bool:
                    done = do(*key)
                    each()
                    return done

                return one

            fetched = sum(pool.map(counted(self._fetch), come))
            return Exchanged(fetched, sum(pool.map(counted(self._send), go)))

    @contextmanager
    def writing(self, kind: EntryKind, task_id: str) -> Iterator[Draft]:
        """As in the folder alone; the entry is then sent."""
        with super().writing(kind, task_id) as draft:
            yield draft
        self._send(kind, task_id)
        if not self.is_left_alone:
            self._send_rest()

    def close(self) -> None:
        """Sends what could not be sent before, or says that it is here alone."""
        if self._unsent:
            self._away_until = 0.0
            self._send_rest()
        if self._unsent:
            self.say(
                f"remote {self.remote.url}: {len(self._unsent)} finished tasks could not be sent; they are "
                f"in {self.root}: the same command sends them when it is back"
            )
            self._unsent.clear()
        super().close()

    def set_aside(self, kind: EntryKind, task_id: str, why: str) -> DamagedEntry:
        """What came from the bucket and cannot be read is not fetched again, but made anew and replaced."""
        if (kind, task_id) in self._fetched:
            self._refused.add((kind, task_id))
        return super().set_aside(kind, task_id, why)

    @property
    def is_left_alone(self) -> bool:
        return time.monotonic() < self._away_until

    def _fetch(self, kind: EntryKind, task_id: str) -> bool:
        if self.is_left_alone or (kind, task_id) in self._refused:
            return False
        with self.disk_told():
            draft = self.scratch() / f"fetched-{task_id}-{secrets.token_hex(4)}"
            draft.mkdir()
            try:
                if not self.remote.fetch(kind, task_id, draft):
                    return False
                self._publish(draft, kind, task_id)
            except RemoteAway as why:
                self.is_away(why)
                return False
            except Flaw as flaw:
                self._refused.add((kind, task_id))
                self.say(f"remote {self.remote.url}: {kind} {task_id[:12]}: {flaw}; refused, to be made anew")
                return False
            finally:
                shutil.rmtree(draft, ignore_errors=True)
        self._fetched.add((kind, task_id))
        return self.has(kind, task_id)

    def _send(self, kind: EntryKind, task_id: str) -> bool:
        """Whether the bucket has it now; whatever is wrong, the entry is here."""
        self._unsent[kind, task_id] = None
        if self.is_left_alone:
            return False
        try:
            self.remote.send(kind, task_id, self.folder(kind, task_id), self.scratch())
        except (RemoteAway, OSError) as why:
            self.is_away(why)
            return False
        self._said_away = False
        self._unsent.pop((kind, task_id), None)
        self._refused.discard((kind, task_id))
        return True

    def _send_rest(self) -> None:
        for kind, task_id in tuple(self._unsent):
            if not self.has(kind, task_id):  # it turned out damaged, or was pruned
                self._unsent.pop((kind, task_id), None)
            elif not self._send(kind, task_id):
                return

    def is_away(self, why: Exception) -> None:
        with self._saying:
            if not self._said_away:
                self._said_away = True
                self.say(
                    f"remote {self.remote.url} is away ({why}): goes on with what is here, and sends later "
                    "what it finishes"
                )
            self._away_until = time.monotonic() + AWAY_SECONDS


def opened(root: Path, url: str | None, say: Say = on_stderr, *, check: bool = True) -> Store:
    """The store in this folder, with the bucket at `url` behind it where there is one.

    With `check`, raises BenchError where the bucket cannot be used: no credentials, no such bucket, away.
    """
    if url is None:
        return Store(root, say)
    remote = Remote(url)
    if check:
        remote.check()
    return TwoLevelStore(root, remote, say)
