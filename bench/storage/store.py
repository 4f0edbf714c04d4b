"""The store: every finished task in a folder named by its content id, and nothing half-finished.

    <store>/<kind>/<first two digits>/<id>/…      a finished entry; its manifest.json is the done mark
    <store>/damaged/<kind>-<id>-…                 entries that are no longer what was written
    <store>/progress/…                            what unfinished edits have come to (`storage.checkpoints`)
    <store>/tmp/…                                 what living processes are writing (`storage.session`)
    <store>/claims/…                              which of them does what (`storage.claims`)

An entry is written into its session's folder, flushed to disk, closed with its manifest and then
renamed as a whole. Two processes that finish the same entry get the same entry: the first stays.

Whatever is read back is checked against its digest. A damaged entry is moved aside and is then not there:
whoever found it gets `DamagedEntry`, has it made anew and goes on.
"""

import errno
import hashlib
import os
import secrets
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self, get_args

from erasure_bench.bench.storage.atomic import fsync_path
from erasure_bench.bench.storage.damage import Say, on_stderr
from erasure_bench.bench.storage.manifest import (
    FileMark,
    Flaw,
    check_entry,
    check_file,
    check_sizes,
    read_manifest,
    seal,
)
from erasure_bench.bench.storage.session import Session, remove_if_dead, sessions
from erasure_bench.errors import BenchError

EntryKind = Literal["erase", "generate", "score", "features", "cache"]
"""What the store holds: results of tasks, and what edits share."""
KINDS: tuple[EntryKind, ...] = get_args(EntryKind)
FORMAT = 1
"""Version of what tasks write into their entries; part of every id."""
DAMAGED, TMP = "damaged", "tmp"
MENDS = 3
"""How often one entry may turn out damaged before the disk is held to be at fault."""
_THERE_ALREADY = (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR)


class StoreError(BenchError):
    """The store cannot be used: no task can be finished, so the run stops."""

    exit_code = 1


class StoreAway(StoreError):
    """The store's disk is gone or does not answer; it may come back (a network's)."""


class DamagedEntry(BenchError):
    """A finished task's files are not what was written; they were moved aside, so it can be done anew."""

    exit_code = 1


@dataclass(frozen=True)
class Entry:
    """A finished task: its folder, its files with size and sha256, and what the task said of itself."""

    store: "Store"
    kind: EntryKind
    id: str
    files: Mapping[str, FileMark]
    about: Mapping[str, Any]

    @property
    def folder(self) -> Path:
        """Where its files lie."""
        return self.store.folder(self.kind, self.id)

    def read(self, name: str) -> bytes:
        """A file's bytes, checked against its sha256.

        Raises DamagedEntry where they are not what was written, or where the entry has no such file.
        """
        if name not in self.files:
            raise self.damaged(f"it has no file {name}")
        try:
            data = (self.folder / name).read_bytes()
        except OSError as error:
            raise self.damaged(f"{name}: {error.strerror}") from error
        if hashlib.sha256(data).hexdigest() != self.files[name].sha256:
            raise self.damaged(f"{name} is damaged (sha256 differs)")
        return data

    def checked(self) -> Path:
        """The folder, for those who read its files themselves; raises DamagedEntry where one is damaged."""
        try:
            for name, mark in self.files.items():
                check_file(self.folder, name, mark)
        except Flaw as flaw:
            raise self.damaged(str(flaw)) from flaw
        return self.folder

    def damaged(self, why: str) -> DamagedEntry:
        """Moves the entry aside; what to raise where somebody could not read it."""
        return self.store.set_aside(self.kind, self.id, why)


class Store:
    """A folder of finished tasks; safe for any number of processes at once.

    Nothing is created before the first write, so that a plan can look into a store that is not
    there yet. Use it as a context manager, or call `close`, to give up the writing session.
    """

    def __init__(self, root: Path, say: Say = on_stderr) -> None:
        self.root = Path(root)
        self.say = say
        self._session: Session | None = None
        self._began_at: tuple[int, int] | None = None
        self._finished: set[tuple[str, str]] = set()
        self._told: set[tuple[str, str]] = set()
        self._mends: Counter[tuple[str, str]] = Counter()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *reason: object) -> None:
        self.close()

    def folder(self, kind: EntryKind, task_id: str) -> Path:
        """Where an entry lies, or would."""
        return self.root.joinpath(kind, task_id[:2], task_id)

    def has(self, kind: EntryKind, task_id: str) -> bool:
        """Whether the task is finished and every file of it is there with its full size.

        An entry that is visibly damaged is said and counts as missing; nothing is moved.
        """
        if (kind, task_id) in self._finished:
            return True
        folder = self.folder(kind, task_id)
        try:
            check_sizes(folder, read_manifest(folder, kind, task_id))
        except Flaw as flaw:
            if folder.exists():
                self._tell(kind, task_id, f"{flaw}; it counts as missing")
            return False
        self._finished.add((kind, task_id))
        return True

    def obtain(self, kind: EntryKind, task_id: str) -> bool:
        """`has`; a store with a bucket behind it fetches what lies there first (`storage.two_levels`)."""
        return self.has(kind, task_id)

    def lacking(self, wanted: Iterable[tuple[EntryKind, str]]) -> frozenset[str]:
        """The ids of those that are not there, as `has` says: many at once are cheap to ask for."""
        listed: dict[tuple[EntryKind, str], frozenset[str]] = {}
        lacking = set()
        for kind, task_id in wanted:
            if (kind, task_id) in self._finished:
                continue
            shard = kind, task_id[:2]
            if shard not in listed:
                listed[shard] = _names(self.folder(kind, task_id).parent)
            if task_id not in listed[shard] or not self.has(kind, task_id):
                lacking.add(task_id)
        return frozenset(lacking)

    def entry(self, kind: EntryKind, task_id: str) -> Entry:
        """A finished entry; raises DamagedEntry where it is not there, or visibly not whole."""
        folder = self.folder(kind, task_id)
        try:
            manifest = read_manifest(folder, kind, task_id)
            check_sizes(folder, manifest)
        except Flaw as flaw:
            raise self.set_aside(kind, task_id, str(flaw)) from flaw
        return Entry(self, kind, task_id, manifest.files, manifest.about)

    def set_aside(self, kind: EntryKind, task_id: str, why: str) -> DamagedEntry:
        """Moves a damaged entry out of the way and says so; what to raise for whoever wanted to read it.

        Raises StoreError where it cannot be moved, or where the same entry was damaged `MENDS` times.
        """
        if not self.is_there():
            raise StoreAway(f"store {self.root}: it is gone")
        self._finished.discard((kind, task_id))
        self._mends[kind, task_id] += 1
        name = f"{kind} {task_id[:12]}"
        if self._mends[kind, task_id] > MENDS:
            raise StoreError(
                f"store {self.root}: {name} was made anew {MENDS} times and is damaged again ({why}): "
                "the disk does not keep what is written to it; name another place (--store)"
            )
        became = self._move_aside(self.folder(kind, task_id), kind, task_id)
        if became is not None:
            self._told.discard((kind, task_id))
            self._tell(kind, task_id, f"{why}; {became}, to be made anew")
        return DamagedEntry(
            f"store {self.root}: {name}: {why}; run the same bench run again: it is made anew"
        )

    @contextmanager
    def writing(self, kind: EntryKind, task_id: str) -> Iterator["Draft"]:
        """A draft to write the entry's files into; it becomes the entry when the block ends well.

        Raises StoreError in one line where the disk is full or cannot be written.
        """
        with self.disk_told():
            draft = Draft(self.scratch() / f"{kind}-{task_id}-{secrets.token_hex(4)}")
            draft.folder.mkdir()
            try:
                yield draft
                seal(draft.folder, kind, task_id, draft.about)
                self._publish(draft.folder, kind, task_id)
            finally:
                shutil.rmtree(draft.folder, ignore_errors=True)
        self._finished.add((kind, task_id))

    @contextmanager
    def disk_told(self) -> Iterator[None]:
        """Raises StoreError in one line where what is done inside fails for the store's disk."""
        try:
            yield
        except StoreError:
            raise
        except Exception as error:
            if not self.is_there():
                raise StoreAway(f"store {self.root}: it is gone; what was finished is in it") from error
            if (trouble := _disk_trouble(error, self.root)) is None:
                raise
            reason, kind = DISK_TROUBLES[trouble], StoreAway if trouble in _MAY_COME_BACK else StoreError
            raise kind(
                f"store {self.root}: {reason}; what was finished is kept: "
                "make room or name another place (--store), then run the same command again"
            ) from error

    @property
    def session(self) -> Session:
        """This process' own, begun when it is first asked for; raises OSError."""
        if self._session is None:
            self._session = Session.begin(self.root / TMP)
            self._began_at = _identity(self.root)
        return self._session

    def is_there(self) -> bool:
        """Whether the folder is the one in which this process' session began, not an empty mount point."""
        return self._began_at is None or _identity(self.root) == self._began_at

    def scratch(self) -> Path:
        """A folder of this process for what it is writing, on the store's disk; removed when it ends."""
        return self.session.folder

    def clean(self) -> int:
        """Removes what dead processes left half-written; returns how many sessions that were."""
        return sum(remove_if_dead(lock) for lock in sessions(self.root / TMP))

    def close(self) -> None:
        """Gives up the writing session; finished entries stay."""
        if self._session is not None:
            self._session.end()
            self._session = None

    def _publish(self, draft: Path, kind: EntryKind, task_id: str) -> None:
        final = self.folder(kind, task_id)
        final.parent.mkdir(parents=True, exist_ok=True)
        while True:
            try:
                os.rename(draft, final)
            except OSError as error:
                if error.errno not in _THERE_ALREADY:
                    raise
                if self._move_aside(final, kind, task_id) is None:
                    return  # another process finished the same task
                continue
            break
        self._told.discard((kind, task_id))
        fsync_path(final.parent)

    def _move_aside(self, folder: Path, kind: EntryKind, task_id: str) -> str | None:
        """Moves the entry to where damaged ones lie; what became of it, or None where it is whole.

        It is whole where another process has made it anew already.
        """
        try:
            check_entry(folder, kind, task_id)
            return None
        except Flaw:
            pass
        try:
            (self.root / DAMAGED).mkdir(exist_ok=True)
            os.rename(folder, self.root / DAMAGED / f"{kind}-{task_id}-{secrets.token_hex(4)}")
        except FileNotFoundError:
            return "it is gone"  # or another process was quicker
        except OSError as error:
            raise StoreError(
                f"store {self.root}: {kind} {task_id} is damaged and cannot be moved to {DAMAGED}/: "
                f"{error.strerror}"
            ) from error
        return f"moved to {DAMAGED}/"

    def _tell(self, kind: EntryKind, task_id: str, what: str) -> None:
        if (kind, task_id) not in self._told:
            self._told.add((kind, task_id))
            self.say(f"store {self.root}: {kind} {task_id[:12]}: {what}")


class Draft:
    """An entry being written: put files into `folder`, facts about the task into `about`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.about: dict[str, Any] = {}


def _names(folder: Path) -> frozenset[str]:
    """What is in a folder: nothing where it cannot be read."""
    try:
        return frozenset(os.listdir(folder))
    except OSError:
        return frozenset()


DISK_TROUBLES: Mapping[int, str] = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "the disk is read-only",
    errno.EACCES: "no permission to write",
    errno.EPERM: "no permission to write",
    errno.EIO: "the disk cannot be read or written",
    errno.ESTALE: "the network's disk has changed its mind (stale file handle)",
    errno.ETIMEDOUT: "the network's disk does not answer",
    errno.ENOTCONN: "the network's disk is not connected",
    errno.EHOSTDOWN: "the network's disk is down",
}
_MAY_COME_BACK = (errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENOTCONN, errno.EHOSTDOWN)
_APART = "_apart_from_the_store"


@contextmanager
def apart() -> Iterator[None]:
    """Inside `writing`: what fails here is no trouble of the store's disk, unless it names a file there.

    Someone's code has networks and files of its own.
    """
    try:
        yield
    except Exception as error:
        setattr(error, _APART, True)
        raise


def _identity(folder: Path) -> tuple[int, int] | None:
    """Which folder of which disk it is; None where it cannot be told."""
    try:
        found = folder.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _disk_trouble(error: BaseException | None, root: Path) -> int | None:
    """What is wrong with the store's disk, where that is why something failed.

    An error about a file elsewhere, such as a method's own, is no trouble of the store.
    """
    ours = True
    while error is not None:
        ours = ours and not getattr(error, _APART, False)
        if isinstance(error, OSError) and error.errno in DISK_TROUBLES:
            return error.errno if _lies_in(error.filename, root, unnamed=ours) else None
        if ours and "No space left on device" in str(error):  # a library's own error around the system's
            return errno.ENOSPC
        error = error.__cause__
    return None


def _lies_in(filename: Any, root: Path, *, unnamed: bool) -> bool:
    """Whether an error's file is below `root`; `unnamed` is the answer for one that names no file.

    Such a one came while writing to the store, unless it was `apart` from that.
    """
    if filename is None or isinstance(filename, int):
        return unnamed
    return Path(os.fsdecode(filename)).resolve().is_relative_to(root.resolve())
