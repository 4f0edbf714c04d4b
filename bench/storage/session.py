"""A living process' place for drafts below the store's `tmp`.

<tmp>/<session>.lock    held by a living process, free when it is dead; its words are the process' machine
<tmp>/<session>/…       what that process is writing

Of a process of this machine the kernel knows whether it lives. Of another machine's it need not: there the
lock's time tells, which a process that works touches again and again (`storage.claims`).
"""

import fcntl
import functools
import os
import platform
import secrets
import shutil
import time
from pathlib import Path
from typing import Self

_LOCK_SUFFIX, _LONGEST = ".lock", 256
LONG_SILENT = 86400.0
"""After so many seconds without a word another machine's process is dead, and its drafts are rubbish."""
_BEGINNING = 60.0
"""So old an empty lock must be to be a dead process': a living one writes into its own at once."""


@functools.cache
def this_machine() -> str:
    """A name for the kernel that runs: the one that can be asked of its processes' locks."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return platform.node()


class Session:
    """The kernel drops its lock however the process ends."""

    def __init__(self, lock: Path, handle: int) -> None:
        self.lock, self.handle = lock, handle
        self.folder = lock.with_suffix("")

    @property
    def name(self) -> str:
        """What others call it."""
        return self.folder.name

    @classmethod
    def begin(cls, tmp: Path) -> Self:
        """A new session's folder in `tmp`; raises OSError."""
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
            try:
                os.write(handle, this_machine().encode())
            except OSError:  # a full disk, most often
                lock.unlink(missing_ok=True)
                os.close(handle)
                raise
            if lock.exists():
                session = cls(lock, handle)
                session.folder.mkdir()
                return session
            os.close(handle)

    def beat(self) -> float:
        """Says that the process lives; the time of the store's disk, in seconds. Raises OSError."""
        os.utime(self.lock)
        return self.lock.stat().st_mtime

    def end(self) -> None:
        """Removes what was not finished and lets go of the lock."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.lock.unlink(missing_ok=True)
        os.close(self.handle)


def sessions(tmp: Path) -> list[Path]:
    """The locks of all sessions, living and dead."""
    return sorted(tmp.glob(f"*{_LOCK_SUFFIX}"))


def lock_of(tmp: Path, session: str) -> Path:
    """The lock of the session with this name."""
    return tmp / f"{session}{_LOCK_SUFFIX}"


def is_dead(lock: Path, silent: float = LONG_SILENT, now: float | None = None) -> bool:
    """Whether the session's process has ended; one that cannot be asked counts as living.

    Another machine's has where it was `silent` for so many seconds; `now` is the time of the store's disk.
    """
    return _if_dead(lock, remove=False, silent=silent, now=now)


def remove_if_dead(lock: Path) -> bool:
    """Removes what a dead process left half-written; whether there was such a process."""
    return _if_dead(lock, remove=True, silent=LONG_SILENT, now=None)


def _if_dead(lock: Path, *, remove: bool, silent: float, now: float | None) -> bool:
    try:
        handle = os.open(lock, os.O_RDWR)
    except OSError:
        return False
    try:
        said = os.pread(handle, _LONGEST, 0).decode(errors="replace")
        quiet = (time.time() if now is None else now) - os.fstat(handle).st_mtime
        if not said and quiet < _BEGINNING:
            return False
        if said in ("", this_machine()):
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        elif quiet < silent:
            return False
    except OSError:
        return False
    else:
        if remove:
            shutil.rmtree(lock.with_suffix(""), ignore_errors=True)
            lock.unlink(missing_ok=True)
        return True
    finally:
        os.close(handle)
