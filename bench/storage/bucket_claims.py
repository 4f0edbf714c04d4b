"""Claims in a bucket, by which machines without a common disk share the tasks of one run.

    <url>/claims/<task id>.<n>    the name of the session that has it; n counts who had it before
    <url>/sessions/<name>         put anew again and again by a living process

The rules are those of claims on a disk (`storage.claims`), and the requests such that every object store
answers alike: a claim is put there only if there is none (If-None-Match), so that of two machines one
succeeds; a session lives while the server's clock says that it was put there not long ago. Whose claim it
is, is its content.

While the bucket is away, or where its server knows no such request, every claim in it is granted: machines
then do the same twice, as with any claim that is lost, and get the same.
"""

import time
from collections.abc import Callable, Collection, Iterable
from contextlib import ExitStack, suppress
from typing import Self, TypeVar

from erasure_bench.bench.storage.claims import (
    BEAT_SECONDS,
    FOLDER,
    LEASE_SECONDS,
    Claim,
    Claims,
    OnDisk,
    TaskClaims,
)
from erasure_bench.bench.storage.remote import RemoteAway
from erasure_bench.bench.storage.session import LONG_SILENT
from erasure_bench.bench.storage.store import Store
from erasure_bench.bench.storage.two_levels import TwoLevelStore

SESSIONS = "sessions"
LISTED_SECONDS = 2.0
"""A listing is good for so long: who claims by an old one is told that another was quicker."""
Answer = TypeVar("Answer")


class InBucket:
    """A `ClaimPlace`: objects in the bucket behind a store."""

    def __init__(self, store: TwoLevelStore) -> None:
        self._store, self._remote = store, store.remote
        self._works: bool | None = None
        self._times_dead = 0
        self._granted: set[str] = set()
        self._listed: tuple[str, ...] = ()
        self._listed_at = self._beaten_at = -float("inf")
        self._time = 0.0
        self._seen: dict[str, float] = {}

    @property
    def session(self) -> str:
        """Another one after a silence in which others may have held us for dead."""
        return f"{self._store.session.name}-{self._times_dead}"

    def open(self) -> None:
        """Removes what has been silent for a day. A bucket that is away now is opened when it is back."""
        with suppress(OSError):
            now = self.beat()
            there = self._ask(lambda: self._remote.notes(SESSIONS))
            silent = [f"{SESSIONS}/{name}" for name, at in there if now - at > LONG_SILENT]
            self._ask(lambda: self._remote.remove_notes(silent))

    def close(self) -> None:
        with suppress(OSError):
            self._ask(lambda: self._remote.remove_notes([f"{SESSIONS}/{self.session}"]))

    def names(self) -> Iterable[str]:
        if time.monotonic() - self._listed_at > LISTED_SECONDS:
            there = self._ask(lambda: self._remote.notes(FOLDER))
            self._listed, self._listed_at = tuple(name for name, _ in there), time.monotonic()
        return self._listed

    def make(self, name: str) -> bool:
        try:
            return self._ask(lambda: self._remote.note_once(f"{FOLDER}/{name}", self.session))
        except OSError:
            self._granted.add(name)
            return True

    def read(self, name: str) -> str:
        try:
            return self._ask(lambda: self._remote.read_note(f"{FOLDER}/{name}")) or ""
        except OSError:
            return ""

    def remove(self, names: Iterable[str]) -> None:
        """Of a claim that was granted only what is ours after all: the answer alone may have been lost."""
        found = tuple(names)
        granted = self._granted.intersection(found)
        self._granted -= granted
        if any(self.read(name) != self.session for name in granted):
            return
        self._ask(lambda: self._remote.remove_notes(f"{FOLDER}/{name}" for name in found))

    def beat(self) -> float:
        """By a request now and then; the time between them is this machine's."""
        passed = time.monotonic() - self._beaten_at
        if passed > BEAT_SECONDS / 2:
            if LEASE_SECONDS < passed < float("inf"):
                self._times_dead += 1
            self._ask(self._beat)
            passed = 0.0
        return self._time + passed

    def has_left(self, session: str, now: float) -> bool:
        """Asks again only when what was seen of it is older than its lease."""
        if now - self._seen.get(session, -float("inf")) <= LEASE_SECONDS:
            return False
        at = self._ask(lambda: self._remote.time_of(f"{SESSIONS}/{session}"))
        if at is None:
            return True
        self._seen[session] = at
        return now - at > LEASE_SECONDS

    def _beat(self) -> None:
        own = f"{SESSIONS}/{self.session}"
        self._remote.note(own, "")
        at = self._remote.time_of(own)
        if at is not None:
            self._time, self._beaten_at = at, time.monotonic()

    def _ask(self, request: Callable[[], Answer]) -> Answer:
        """Raises OSError where the bucket is away, or no place for claims."""
        if self._works is False or self._store.is_left_alone:
            raise OSError("no claims are shared")
        try:
            if self._works is None:
                self._works = self._find_out()
                return self._ask(request)
            return request()
        except RemoteAway as why:
            self._store.is_away(why)
            raise OSError(str(why)) from why

    def _find_out(self) -> bool:
        """Whether the server tells who was first; said where it does not. Raises RemoteAway."""
        own = f"{SESSIONS}/{self.session}"
        self._remote.note(own, "")
        try:
            if not self._remote.note_once(own, ""):
                return True
            why = "its server lets two put the same object there"
        except RemoteAway as error:
            why = str(error)
        self._store.say(f"remote {self._remote.url}: claims are not shared ({why}): others may do the same")
        return False


class ClaimsInBoth:
    """`TaskClaims` on this machine's disk, and then in the bucket."""

    def __init__(self, near: Claims, far: Claims) -> None:
        self._near, self._far = near, far
        self._both = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as both:
            both.enter_context(self._near)
            both.enter_context(self._far)
            self._both = both.pop_all()
        return self

    def __exit__(self, *reason: object) -> None:
        self._both.close()

    def look(self) -> None:
        self._near.look()
        self._far.look()

    def look_for_dead(self) -> None:
        self._near.look_for_dead()
        self._far.look_for_dead()

    @property
    def others(self) -> Collection[str]:
        return {*self._near.others, *self._far.others}

    def is_free(self, key: str) -> bool:
        return self._near.is_free(key) and self._far.is_free(key)

    def take(self, key: str) -> Claim | None:
        """Another process of this machine is told by the disk, before the bucket is asked."""
        near = self._near.take(key)
        if near is None:
            return None
        far = self._far.take(key)
        if far is None:
            self._near.release(key)
            return None
        return Claim(key, near.after or far.after)

    def release(self, key: str) -> None:
        self._far.release(key)
        self._near.release(key)

    def remove_dead(self, keys: Collection[str]) -> None:
        self._near.remove_dead(keys)
        self._far.remove_dead(keys)


def claims_of(store: Store) -> TaskClaims:
    """This process' claims where the store's other users see them. Close them."""
    near = Claims(OnDisk(store))
    return ClaimsInBoth(near, Claims(InBucket(store))) if isinstance(store, TwoLevelStore) else near
