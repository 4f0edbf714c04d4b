"""What edits of one base model share (pictures, a Fisher diagonal), kept in the store."""

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from erasure_bench.bench.identity.code import code_of_maker
from erasure_bench.bench.identity.ids import content_id
from erasure_bench.bench.storage.checkpoints import EVERY_SECONDS, StoreCheckpoints
from erasure_bench.bench.storage.damage import Say, silent
from erasure_bench.bench.storage.store import FORMAT, DamagedEntry, Store

if TYPE_CHECKING:
    from torch import Tensor

TENSORS_FILE = "tensors.safetensors"


class StoreCache:
    """`methods.base.Cache` on a store, for one base model in one dtype.

    An entry is named by its maker's code or the version of it, its key, the base's digest and the dtype.
    `kept_seconds` is how long it once took to make what was found there: the time that an edit was spared.
    """

    def __init__(
        self,
        store: Store,
        base: str,
        dtype: str,
        *,
        checkpoint_seconds: float = EVERY_SECONDS,
        say: Say = silent,
    ) -> None:
        self.store, self.base, self.dtype = store, base, dtype
        self.checkpoint_seconds, self.say = checkpoint_seconds, say
        self.kept_seconds = 0.0
        self._counted: set[str] = set()
        self._working: dict[str, StoreCheckpoints] = {}

    def checkpoints(self, maker: str, key: Mapping[str, Any]) -> StoreCheckpoints:
        """Those of an entry that is being made."""
        entry_id = self.entry_id(maker, key)
        made = StoreCheckpoints(self.store, entry_id, self.checkpoint_seconds, self.say)
        self._working[entry_id] = made
        return made

    def begin_anew(self) -> None:
        """Forgets how far entries that were being made have come."""
        for made in self._working.values():
            made.clear()

    def has(self, maker: str, key: Mapping[str, Any]) -> bool:
        """Whether the entry is there."""
        return self.store.has("cache", self.entry_id(maker, key))

    def fetch(
        self, maker: str, key: Mapping[str, Any], make: Callable[[], "dict[str, Tensor]"]
    ) -> "dict[str, Tensor]":
        """The kept tensors, made first where they are not there or damaged; they are on the CPU."""
        from safetensors.torch import save_file

        entry_id = self.entry_id(maker, key)
        if self.store.obtain("cache", entry_id):
            try:
                return self._kept(entry_id)
            except DamagedEntry:
                pass  # moved aside, and said
        started, kept = time.perf_counter(), self.kept_seconds
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in make().items()}
        seconds = time.perf_counter() - started + self.kept_seconds - kept
        if entry_id in self._working:  # what it took before it was interrupted
            seconds += self._working[entry_id].seconds
        with self.store.writing("cache", entry_id) as draft:
            save_file(tensors, draft.folder / TENSORS_FILE)
            draft.about = {
                "maker": maker,
                "key": dict(key),
                "base": self.base,
                "dtype": self.dtype,
                "seconds": seconds,
            }
        self._counted.add(entry_id)
        self.checkpoints(maker, key).clear()
        return tensors

    def _kept(self, entry_id: str) -> "dict[str, Tensor]":
        from safetensors import SafetensorError
        from safetensors.torch import load

        entry = self.store.entry("cache", entry_id)
        try:
            tensors = load(entry.read(TENSORS_FILE))
        except SafetensorError as error:
            raise entry.damaged(f"{TENSORS_FILE} cannot be read ({error})") from error
        if entry_id not in self._counted:
            self._counted.add(entry_id)
            self.kept_seconds += float(entry.about.get("seconds", 0.0))
        return tensors

    def entry_id(self, maker: str, key: Mapping[str, Any]) -> str:
        """What an entry is named by."""
        return content_id(
            {
                "kind": "cache",
                "format": FORMAT,
                "code": code_of_maker(maker),
                "base": self.base,
                "dtype": self.dtype,
                "key": key,
            }
        )
