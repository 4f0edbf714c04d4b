"""What an unfinished edit, or an unfinished entry of the cache, has come to; gone when it is done.

    <store>/progress/<first two digits>/<id>/<name>-<token>.pt    a state
    <store>/progress/<first two digits>/<id>/<name>.json          which state is the newest, and its sha256

The state is put in place first and the note that names it after it: a kill at any moment leaves the
earlier pair or the new one. Two processes at the same work each have states of their own, and the
newest note counts; both are right.
"""

import os
import pickle
import secrets
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from erasure_bench.bench.storage.atomic import fsync_path
from erasure_bench.bench.storage.damage import Say, silent
from erasure_bench.bench.storage.manifest import file_sha256
from erasure_bench.bench.storage.memory import recall, remember
from erasure_bench.bench.storage.store import DISK_TROUBLES, EntryKind, Store

if TYPE_CHECKING:
    from erasure_bench.methods.base import Checkpoint

EVERY_SECONDS = 600.0
"""Between two checkpoints: what a kill may cost, and short trainings keep none."""
MOST_OF_THE_TIME = 0.05
"""No more of the time than this goes into writing them, however large they are."""
FOLDER = "progress"
TRIES = 3


class StoreCheckpoints:
    """`methods.base.Checkpoints` in a store, for the entry with this id.

    `seconds` is how long the work had gone on, in all processes together, when the newest checkpoint
    that was loaded had been made; `trained_seconds` what of it was training, by what trainings say.
    `say` is told where work goes on from one, or one is damaged.
    """

    def __init__(
        self, store: Store, entry_id: str, every_seconds: float = EVERY_SECONDS, say: Say = silent
    ) -> None:
        self.store, self.every_seconds, self.say = store, every_seconds, say
        self.folder = store.root / FOLDER / entry_id[:2] / entry_id
        self.seconds = self.trained_seconds = 0.0
        self._started = self._last = time.perf_counter()
        self._cost = 0.0
        self._asked: Counter[str] = Counter()

    def numbered(self, name: str) -> str:
        """`name-1`, `name-2`, …"""
        self._asked[name] += 1
        return f"{name}-{self._asked[name]}"

    def due(self) -> bool:
        """Whether `every_seconds` are over, or more where writing takes long; with 0 always."""
        wait = self.every_seconds and max(self.every_seconds, self._cost / MOST_OF_THE_TIME)
        return time.perf_counter() - self._last >= wait

    def load(self, name: str) -> "Checkpoint | None":
        """The newest state under this name whose bytes are those that were written, else None."""
        from erasure_bench.methods.base import Checkpoint

        for _ in range(TRIES):  # another process may replace it at this very moment
            note = self._note(name)
            if note is None and not self._path(name).exists():
                return None
            if note is None:
                continue
            state = _read_state(self.folder / note["file"], note["sha256"])
            if state is not None:
                self.seconds = max(self.seconds, note["seconds"])
                self.trained_seconds += float(state.get("seconds", 0.0))
                self.say(
                    f"goes on from a checkpoint of an interrupted run ({name.rpartition('-')[0] or name})"
                )
                return Checkpoint(state, note["expected"])
        self.say(f"a checkpoint of an interrupted run ({name}) is damaged: made from the start")
        return None

    def draft(self, name: str, state: Mapping[str, Any]) -> Callable[[Mapping[str, Any]], None]:
        """Writes the state beside the store's other drafts; the result puts it in place.

        A disk that is full or cannot be written keeps no checkpoint, and the work goes on.
        """
        import torch

        started = time.perf_counter()
        draft = Path(f"{name}-{secrets.token_hex(6)}.pt")
        try:
            draft = self.store.scratch() / draft
            torch.save(dict(state), draft)
            fsync_path(draft)
            digest = file_sha256(draft)
        except (OSError, RuntimeError) as error:  # torch wraps the disk's errors in its own
            with suppress(OSError):
                draft.unlink()
            if not _is_of_the_disk(error):
                raise
            self._last = time.perf_counter()
            return lambda expected: None
        self._last = time.perf_counter()
        self._cost = self._last - started

        def keep(expected: Mapping[str, Any]) -> None:
            with suppress(OSError):
                self._put(name, draft, digest, expected)

        return keep

    def clear(self) -> None:
        """Removes all of them: the work is done, or is to be done anew."""
        remove_checkpoints(self.folder)

    def _put(self, name: str, draft: Path, digest: str, expected: Mapping[str, Any]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        earlier = self._note(name)
        os.replace(draft, self.folder / draft.name)
        fsync_path(self.folder)
        note = {
            "file": draft.name,
            "sha256": digest,
            "expected": dict(expected),
            "seconds": self.seconds + time.perf_counter() - self._started,
        }
        remember(self._path(name), note)
        if earlier is not None:
            (self.folder / earlier["file"]).unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.json"

    def _note(self, name: str) -> dict[str, Any] | None:
        return recall(self._path(name), silent)


def remove_finished(store: Store, kinds: Iterable[EntryKind] = ("erase", "cache")) -> None:
    """Removes checkpoints of what is in the store by now, whose process was killed just before it did."""
    for folder in unfinished(store.root):
        if any(store.has(kind, folder.name) for kind in kinds):
            remove_checkpoints(folder)


def unfinished(root: Path) -> list[Path]:
    """The folders of checkpoints in the store, each named by the id of what is unfinished."""
    return sorted((root / FOLDER).glob("*/*"))


def remove_checkpoints(folder: Path) -> None:
    """Removes one of `unfinished`: what it belongs to begins anew."""
    shutil.rmtree(folder, ignore_errors=True)
    with suppress(OSError):  # not empty: other work's checkpoints are there
        folder.parent.rmdir()
        folder.parent.parent.rmdir()


def _read_state(path: Path, digest: str) -> dict[str, Any] | None:
    import torch

    try:
        if file_sha256(path) != digest:
            return None
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError):
        return None
    return state


def _is_of_the_disk(error: BaseException) -> bool:
    if isinstance(error, OSError):
        return error.errno in DISK_TROUBLES
    return "write failed" in str(error) or "unexpected pos" in str(error) or "No space left" in str(error)
