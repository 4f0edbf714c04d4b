"""Who does which task: claims of living sessions, so that no two processes do the same one at once.

    <store>/claims/<task id>.<n>    a symbolic link to the session that has it; n counts who had it before

A link is there or it is not, on every disk that machines share. Of a task's claims the one with the highest
number counts, and only while its session lives: who finds it dead makes the next one, which of two that do
so at once only one can. Another machine's session lives while it touches its lock (`BEAT_SECONDS`); it is
dead after `LEASE_SECONDS` without.

A claim saves work and no more. Two that do the same task after all, as one was taken for dead too soon, or
as the disk knows no links, give the same entry.
"""

import errno
import os
import random
import threading
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, Self

from erasure_bench.bench.storage.session import is_dead, lock_of, sessions
from erasure_bench.bench.storage.store import TMP, Store

FOLDER = "claims"
BEAT_SECONDS = 20.0
LEASE_SECONDS = 120.0
"""Several beats, and what a network disk may show late."""
ASKED_AT_ONCE = 32
"""Of so many claims a worker sees at a time whether their holders live: a thousand ask a million else."""
_NO_LINKS = (errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP)


class Claim(NamedTuple):
    """A claim of ours. `after` names the dead session that had the task before, if one had."""

    key: str
    after: str | None


class _Held(NamedTuple):
    number: int
    session: str


class Claims:
    """This process' claims in a store, and what it knows of others'. Close it: a thread says that we live."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._folder = store.root / FOLDER
        self._tmp = store.root / TMP
        self._held: dict[str, _Held] = {}
        self._dead: set[str] = set()
        self._turns: list[str] = []
        self._chance = random.Random()
        self._ours: dict[str, int] = {}
        self._ended = threading.Event()
        self._beating = threading.Thread(target=self._beat_on, name="claims", daemon=True)

    def __enter__(self) -> Self:
        with self._store.disk_told():
            self._store.session.beat()
            self._folder.mkdir(exist_ok=True)
        # What is ours and we know nothing of, as the disk went away while it was made, is nobody's.
        self._dead.add(self._store.session.name)
        self._beating.start()
        return self

    def __exit__(self, *reason: object) -> None:
        self._ended.set()
        for key in tuple(self._ours):
            self.release(key)

    def look(self) -> None:
        """Sees what is claimed now: one listing, however many tasks there are."""
        highest: dict[str, int] = {}
        with suppress(OSError):  # a store that is gone is told of where it matters
            for name in os.listdir(self._folder):
                key, _, number = name.rpartition(".")
                if number.isdigit() and key not in self._ours:
                    highest[key] = max(int(number), highest.get(key, 0))
        known = {key: held for key, held in self._held.items() if highest.get(key) == held.number}
        self._held = {key: known.get(key) or _Held(number, "") for key, number in highest.items()}

    def look_for_dead(self) -> None:
        """Sees of `ASKED_AT_ONCE` of the claims that are there now whether they are dead ones'.

        Each has its turn, in an order by chance, so that many workers ask for different ones. Where most of
        them are dead, as after a cluster was lost, the next are asked for at once.
        """
        with suppress(OSError):
            now = self._store.session.beat()
            while 2 * self._find_dead(self._next(), now) > ASKED_AT_ONCE:
                pass

    def _next(self) -> list[str]:
        """The claims whose turn it is, of those that are not known to be dead ones'."""
        chosen: dict[str, None] = {}
        for new_round in (False, True):
            if new_round and len(chosen) < ASKED_AT_ONCE:
                self._turns = [key for key in self._held if key not in chosen]
                self._chance.shuffle(self._turns)
            while self._turns and len(chosen) < ASKED_AT_ONCE:
                key = self._turns.pop()
                if key in self._held and self._held[key].session not in self._dead:
                    chosen[key] = None
        return list(chosen)

    def _find_dead(self, keys: Collection[str], now: float) -> int:
        """Asks these claims' sessions; how many of the claims are dead ones'."""
        for key in keys:
            session = self._session_of(key, self._held[key])
            if session and session not in self._dead and self._has_left(session, now):
                self._dead.add(session)
        return sum(self._held[key].session in self._dead for key in keys)

    @property
    def others(self) -> Collection[str]:
        """The tasks that others have, as far as anybody looked: dead ones' among them until that is known."""
        return self._held.keys()

    def is_free(self, key: str) -> bool:
        """Whether nobody has the task, as far as anybody looked."""
        held = self._held.get(key)
        return held is None or held.session in self._dead

    def take(self, key: str) -> Claim | None:
        """Claims the task; None where another process was quicker. Raises StoreError."""
        held = self._held.get(key)
        if held is not None and held.session not in self._dead:
            return None
        number = 0 if held is None else held.number + 1
        ours = self._store.session.name
        try:
            with self._store.disk_told():
                os.symlink(ours, self._path(key, number))
        except FileExistsError:
            # Over a network our own request may have been carried out twice.
            if self._read(key, number) != ours:
                return None
        except FileNotFoundError:
            return None  # the store is gone: told where it matters
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
        self._ours[key] = number
        self._held.pop(key, None)
        return Claim(key, None if held is None or held.session == ours else held.session)

    def release(self, key: str) -> None:
        """Gives a task of ours up, done or not; the claims of those who died over it go too."""
        self._remove(key, self._ours.pop(key, -1))

    def remove_dead(self, keys: Collection[str]) -> None:
        """Removes dead ones' claims on tasks of these, which nobody has to do any more."""
        self.look()
        with suppress(OSError):
            self._find_dead([key for key in self._held if key in keys], self._store.session.beat())
        for key, held in tuple(self._held.items()):
            if key in keys and held.session in self._dead:
                self._remove(key, held.number)

    def _remove(self, key: str, number: int) -> None:
        with suppress(OSError):
            for each in range(number + 1):
                self._path(key, each).unlink(missing_ok=True)

    def _has_left(self, session: str, now: float) -> bool:
        lock = lock_of(self._tmp, session)
        return not lock.exists() or is_dead(lock, LEASE_SECONDS, now)

    def _session_of(self, key: str, held: _Held) -> str:
        """Empty where the claim has gone meanwhile."""
        if not held.session:
            self._held[key] = held = held._replace(session=self._read(key, held.number))
        return held.session

    def _read(self, key: str, number: int) -> str:
        try:
            return os.readlink(self._path(key, number))
        except OSError:
            return ""

    def _path(self, key: str, number: int) -> Path:
        return self._folder / f"{key}.{number}"

    def _beat_on(self) -> None:
        while not self._ended.wait(BEAT_SECONDS):
            with suppress(OSError):
                self._store.session.beat()


def dead_claims(root: Path) -> list[Path]:
    """The claims of dead processes in a store that nobody uses otherwise."""
    living = {lock.stem for lock in sessions(root / TMP) if not is_dead(lock)}
    links = sorted((root / FOLDER).glob("*")) if (root / FOLDER).is_dir() else []
    return [link for link in links if link.is_symlink() and os.readlink(link) not in living]
