"""Who does which task: claims of living sessions, so that no two processes do the same one at once.

    <store>/claims/<task id>.<n>    a symbolic link to the session that has it; n counts who had it before

A link is there or it is not, on every disk that machines share. Of a task's claims the one with the highest
number counts, and only while its session lives: who finds it dead makes the next one, which of two that do
so at once only one can. Another machine's session lives while it touches its lock (`BEAT_SECONDS`); it is
dead after `LEASE_SECONDS` without. Machines without a common disk claim in a bucket besides
(`storage.bucket_claims`), by the same rules.

A claim saves work and no more. Two that do the same task after all, as one was taken for dead too soon, or
as the disk knows no links, give the same entry.
"""

import errno
import os
import random
import threading
from collections.abc import Collection, Iterable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, Protocol, Self

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


class ClaimPlace(Protocol):
    """Where claims lie that other processes see too. What is there goes by the name <task id>.<n>."""

    @property
    def session(self) -> str:
        """This process' own name."""

    def open(self) -> None:
        """Says that this process lives. Raises StoreError where it cannot begin."""

    def close(self) -> None:
        """It has ended."""

    def names(self) -> Iterable[str]:
        """Of all claims; raises OSError."""

    def make(self, name: str) -> bool:
        """Puts our claim there; False where there is one of that name. Raises StoreError."""

    def read(self, name: str) -> str:
        """The session whose claim it is; empty where there is none."""

    def remove(self, names: Iterable[str]) -> None:
        """As far as they are there; raises OSError."""

    def beat(self) -> float:
        """Says that we live; the place's own time, in seconds. Raises OSError."""

    def has_left(self, session: str, now: float) -> bool:
        """Whether the session has ended or is silent for longer than its lease; `now` is the place's time.

        Raises OSError.
        """


class TaskClaims(Protocol):
    """What this process has claimed, and what it knows of others' claims: in one place or in several."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *reason: object) -> None: ...

    def look(self) -> None:
        """Sees what is claimed now: one listing, however many tasks there are."""

    def look_for_dead(self) -> None:
        """Sees of some of the claims that are there now whether they are dead ones'."""

    @property
    def others(self) -> Collection[str]:
        """The tasks that others have, as far as anybody looked: dead ones' among them until that is known."""

    def is_free(self, key: str) -> bool:
        """Whether nobody has the task, as far as anybody looked."""

    def take(self, key: str) -> Claim | None:
        """Claims the task; None where another process was quicker. Raises StoreError."""

    def release(self, key: str) -> None:
        """Gives a task of ours up, done or not; the claims of those who died over it go too."""

    def remove_dead(self, keys: Collection[str]) -> None:
        """Removes dead ones' claims on tasks of these, which nobody has to do any more."""


class OnDisk:
    """Symbolic links in a store's folder, which every process sees that sees the store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._folder, self._tmp = store.root / FOLDER, store.root / TMP

    @property
    def session(self) -> str:
        return self._store.session.name

    def open(self) -> None:
        with self._store.disk_told():
            self._store.session.beat()
            self._folder.mkdir(exist_ok=True)

    def close(self) -> None:
        """The session is the store's."""

    def names(self) -> Iterable[str]:
        return os.listdir(self._folder)

    def make(self, name: str) -> bool:
        try:
            with self._store.disk_told():
                self._link(self._folder / name)
        except (FileExistsError, FileNotFoundError):
            return False  # a store that is gone is told of where it matters
        return True

    def _link(self, claim: Path) -> None:
        try:
            os.symlink(self.session, claim)
        except OSError as error:
            if error.errno not in _NO_LINKS:  # the system's own names what the link says, which is no file
                raise OSError(error.errno, error.strerror, str(claim)) from error

    def read(self, name: str) -> str:
        try:
            return os.readlink(self._folder / name)
        except OSError:
            return ""

    def remove(self, names: Iterable[str]) -> None:
        for name in names:
            (self._folder / name).unlink(missing_ok=True)

    def beat(self) -> float:
        return self._store.session.beat()

    def has_left(self, session: str, now: float) -> bool:
        lock = lock_of(self._tmp, session)
        return not lock.exists() or is_dead(lock, LEASE_SECONDS, now)


class Claims:
    """`TaskClaims` of one place. Close it: a thread says that we live."""

    def __init__(self, place: ClaimPlace) -> None:
        self._place = place
        self._held: dict[str, _Held] = {}
        self._dead: set[str] = set()
        self._turns: list[str] = []
        self._chance = random.Random()
        self._ours: dict[str, int] = {}
        self._ended = threading.Event()
        self._beating = threading.Thread(target=self._beat_on, name="claims", daemon=True)

    def __enter__(self) -> Self:
        self._place.open()
        # What is ours and we know nothing of, as the disk went away while it was made, is nobody's.
        self._dead.add(self._place.session)
        self._beating.start()
        return self

    def __exit__(self, *reason: object) -> None:
        self._ended.set()
        for key in tuple(self._ours):
            self.release(key)
        self._place.close()

    def look(self) -> None:
        """Sees what is claimed now: one listing, however many tasks there are."""
        highest: dict[str, int] = {}
        with suppress(OSError):  # a store that is gone is told of where it matters
            for name in self._place.names():
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
            now = self._place.beat()
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
            if session and session not in self._dead and self._place.has_left(session, now):
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
        ours, name = self._place.session, f"{key}.{number}"
        # Over a network our own request may have been carried out twice.
        if not self._place.make(name) and (quicker := self._place.read(name)) != ours:
            if quicker:
                self._held[key] = _Held(number, quicker)
            return None
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
            self._find_dead([key for key in self._held if key in keys], self._place.beat())
        for key, held in tuple(self._held.items()):
            if key in keys and held.session in self._dead:
                self._remove(key, held.number)

    def _remove(self, key: str, number: int) -> None:
        with suppress(OSError):
            self._place.remove(f"{key}.{each}" for each in range(number + 1))

    def _session_of(self, key: str, held: _Held) -> str:
        """Empty where the claim has gone meanwhile."""
        if not held.session:
            self._held[key] = held = held._replace(session=self._place.read(f"{key}.{held.number}"))
        return held.session

    def _beat_on(self) -> None:
        while not self._ended.wait(BEAT_SECONDS):
            with suppress(OSError):
                self._place.beat()


def dead_claims(root: Path) -> list[Path]:
    """The claims of dead processes in a store that nobody uses otherwise."""
    links = sorted((root / FOLDER).glob("*")) if (root / FOLDER).is_dir() else []
    holders = {link: _holder(link) for link in links if link.is_symlink()}
    # Asked after the claims: a session that begins meanwhile is then among the living.
    living = {lock.stem for lock in sessions(root / TMP) if not is_dead(lock)}
    return [link for link, holder in holders.items() if holder is not None and holder not in living]


def _holder(link: Path) -> str | None:
    """The session that has the claim; None where it has gone meanwhile."""
    try:
        return os.readlink(link)
    except OSError:
        return None
