"""A living process' place for drafts below the store's `tmp`.

<tmp>/<session>.lock    held by a living process, free when it is dead
<tmp>/<session>/…       what that process is writing
"""

import fcntl
import os
import secrets
import shutil
from pathlib import Path
from typing import Self

_LOCK_SUFFIX = ".lock"


class Session:
    """The kernel drops its lock however the process ends."""

    def __init__(self, lock: Path, handle: int) -> None:
        self.lock, self.handle = lock, handle
        self.folder = lock.with_suffix("")

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
            if lock.exists():
                session = cls(lock, handle)
                session.folder.mkdir()
                return session
            os.close(handle)

    def end(self) -> None:
        """Removes what was not finished and lets go of the lock."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.lock.unlink(missing_ok=True)
        os.close(self.handle)


def sessions(tmp: Path) -> list[Path]:
    """The locks of all sessions, living and dead."""
    return sorted(tmp.glob(f"*{_LOCK_SUFFIX}"))


def is_dead(lock: Path) -> bool:
    """Whether the session's process has ended; one that cannot be asked counts as living."""
    return _if_dead(lock, remove=False)


def remove_if_dead(lock: Path) -> bool:
    """Removes what a dead process left half-written; whether there was such a process."""
    return _if_dead(lock, remove=True)


def _if_dead(lock: Path, *, remove: bool) -> bool:
    try:
        handle = os.open(lock, os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    else:
        if remove:
            shutil.rmtree(lock.with_suffix(""), ignore_errors=True)
            lock.unlink(missing_ok=True)
        return True
    finally:
        os.close(handle)
