"""The store: every finished task in a folder named by its content id, and nothing half-finished.

    <store>/<kind>/<first two digits>/<id>/…      a finished entry; its manifest.json is the done mark
    <store>/tmp/<session>.lock                    held by a living process, free when it is dead
    <store>/tmp/<session>/…                       what that process is writing

An entry is written into its session's folder, flushed to disk, closed with its manifest and then
renamed as a whole. Two processes that finish the same entry get the same entry: the first stays.
"""

import errno
import fcntl
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

from erasure_bench.bench.storage.atomic import fsync_path
from erasure_bench.prompt_suites.errors import BenchError

EntryKind = Literal["erase", "generate", "score", "cache"]
"""What the store holds: results of tasks, and what edits share."""
FORMAT = 1
"""Version of what the store's entries hold; raised when their layout changes."""
MANIFEST = "manifest.json"
_LOCK_SUFFIX = ".lock"


class StoreError(BenchError):
    """The store cannot be used: no task can be finished, so the run stops."""

    exit_code = 1


class DamagedEntry(BenchError):
    """A finished task whose files are not what they were; removing its folder mends it."""

    exit_code = 1


class Entry(NamedTuple):
    """A finished task: its folder, its files with size and sha256, and what the task said of itself."""

    folder: Path
    files: Mapping[str, Mapping[str, Any]]
    about: Mapping[str, Any]

    def path(self, name: str) -> Path:
        """Where a file of the entry lies; raises DamagedEntry where the entry has no such file."""
        if name not in self.files:
            raise DamagedEntry(
                f"store entry {self.folder} has no file {name}; remove that folder and run again"
            )
        return self.folder / name

    def read(self, name: str) -> bytes:
        """A file's bytes, checked against its sha256; raises DamagedEntry where they are damaged."""
        path = self.path(name)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise DamagedEntry(f"{path}: {error.strerror}; remove {self.folder} and run again") from error
        if hashlib.sha256(data).hexdigest() != self.files[name]["sha256"]:
            raise DamagedEntry(f"{path} is damaged (sha256 differs); remove {self.folder} and run again")
        return data


class Store:
    """A folder of finished tasks; safe for any number of processes at once.

    Nothing is created before the first write, so that a plan can look into a store that is not
    there yet. Use it as a context manager, or call `close`, to give up the writing session.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(root)
        self._session: _Session | None = None
        self._finished: set[tuple[str, str]] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *reason: object) -> None:
        self.close()

    def folder(self, kind: EntryKind, task_id: str) -> Path:
        """Where an entry lies, or would."""
        return self.root / kind / task_id[:2] / task_id

    def has(self, kind: EntryKind, task_id: str) -> bool:
        """Whether the task is finished and every file of it is there with its full size."""
        if (kind, task_id) in self._finished:
            return True
        manifest = self._manifest(self.folder(kind, task_id))
        if manifest is None:
            return False
        self._finished.add((kind, task_id))
        return True

    def entry(self, kind: EntryKind, task_id: str) -> Entry:
        """A finished entry; raises DamagedEntry where it is not there, or not whole."""
        folder = self.folder(kind, task_id)
        manifest = self._manifest(folder)
        if manifest is None:
            raise DamagedEntry(f"store entry {folder} is missing or incomplete; run the same command again")
        return Entry(folder, manifest["files"], manifest["about"])

    @contextmanager
    def writing(self, kind: EntryKind, task_id: str) -> Iterator["Draft"]:
        """A draft to write the entry's files into; it becomes the entry when the block ends well.

        Raises StoreError in one line where the disk is full or cannot be written.
        """
        try:
            if self._session is None:
                self._session = _Session.begin(self.root / "tmp")
            draft = Draft(self._session.folder / f"{kind}-{task_id}-{secrets.token_hex(4)}")
            draft.folder.mkdir()
            try:
                yield draft
                draft.seal(kind, task_id)
                self._publish(draft.folder, self.folder(kind, task_id))
            finally:
                shutil.rmtree(draft.folder, ignore_errors=True)
        except StoreError:
            raise
        except Exception as error:
            if (reason := _disk_trouble(error, self.root)) is None:
                raise
            raise StoreError(
                f"store {self.root}: {reason}; what was finished is kept: "
                "make room or name another place (--store), then run the same command again"
            ) from error
        self._finished.add((kind, task_id))

    def clean(self) -> int:
        """Removes what dead processes left half-written; returns how many sessions that were."""
        return sum(1 for lock in (self.root / "tmp").glob(f"*{_LOCK_SUFFIX}") if _remove_if_dead(lock))

    def close(self) -> None:
        """Gives up the writing session; finished entries stay."""
        if self._session is not None:
            self._session.end()
            self._session = None

    def _manifest(self, folder: Path) -> dict[str, Any] | None:
        try:
            manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_bytes())
            whole = all(
                (folder / name).stat().st_size == file["bytes"] for name, file in manifest["files"].items()
            )
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return manifest if whole else None

    def _publish(self, draft: Path, final: Path) -> None:
        final.parent.mkdir(parents=True, exist_ok=True)
        while True:
            try:
                os.rename(draft, final)
            except OSError as error:
                if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                    raise
                if self._manifest(final) is not None:
                    return  # another process finished the same task
                # A damaged entry: moved aside whole, so that it never mixes with the new one.
                with suppress(FileNotFoundError):
                    os.rename(final, draft.with_name(f"{draft.name}-damaged-{secrets.token_hex(4)}"))
                continue
            break
        fsync_path(final.parent)


class Draft:
    """An entry being written: put files into `folder`, facts about the task into `about`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.about: dict[str, Any] = {}

    def seal(self, kind: str, task_id: str) -> None:
        """Flushes every file and writes the manifest, the last file of all."""
        files = {}
        for path in sorted(path for path in self.folder.rglob("*") if path.is_file()):
            fsync_path(path)
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            files[path.relative_to(self.folder).as_posix()] = {"sha256": digest, "bytes": path.stat().st_size}
        manifest = {"kind": kind, "id": task_id, "files": files, "about": self.about}
        path = self.folder / MANIFEST
        path.write_text(json.dumps(manifest, indent=1, sort_keys=True), encoding="utf-8")
        fsync_path(path)
        fsync_path(self.folder)


class _Session:
    """A living process' place for drafts: the kernel drops its lock however the process ends."""

    def __init__(self, lock: Path, handle: int) -> None:
        self.lock, self.handle = lock, handle
        self.folder = lock.with_suffix("")

    @classmethod
    def begin(cls, tmp: Path) -> "_Session":
        tmp.mkdir(parents=True, exist_ok=True)
        while True:
            lock = tmp / f"{os.getpid()}-{secrets.token_hex(6)}{_LOCK_SUFFIX}"
            handle = os.open(lock, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o666)
            # Between creating and locking, another process' clean() may take the file for a dead one's.
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(handle)
                continue
            if lock.exists():
                session = cls(lock, handle)
                session.folder.mkdir()
                return session
            os.close(handle)

    def end(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        self.lock.unlink(missing_ok=True)
        os.close(self.handle)


def _remove_if_dead(lock: Path) -> bool:
    try:
        handle = os.open(lock, os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    else:
        shutil.rmtree(lock.with_suffix(""), ignore_errors=True)
        lock.unlink(missing_ok=True)
        return True
    finally:
        os.close(handle)


_REASONS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "the disk is read-only",
    errno.EACCES: "no permission to write",
    errno.EPERM: "no permission to write",
}


def _disk_trouble(error: BaseException | None, root: Path) -> str | None:
    """What is wrong with the store's disk, where that is why something failed.

    An error about a file elsewhere, such as a method's own, is no trouble of the store.
    """
    while error is not None:
        if isinstance(error, OSError) and error.errno in _REASONS:
            return _REASONS[error.errno] if _lies_in(error.filename, root) else None
        if "No space left on device" in str(error):  # libraries that wrap the system's error in their own
            return _REASONS[errno.ENOSPC]
        error = error.__cause__
    return None


def _lies_in(filename: Any, root: Path) -> bool:
    """Whether an error's file is below `root`; one that names no file came while writing to the store."""
    if filename is None or isinstance(filename, int):
        return True
    return Path(os.fsdecode(filename)).resolve().is_relative_to(root.resolve())
