"""What edits of one base model share (pictures, a Fisher diagonal), kept in the store."""

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

    def checkpoints(self, maker: str, key: Mapping[str, Any]) -> StoreCheckpoints:
        """Those of an entry that is being made."""
        return StoreCheckpoints(self.store, self.entry_id(maker, key), self.checkpoint_seconds, self.say)

    def has(self, maker: str, key: Mapping[str, Any]) -> bool:
        """Whether the entry is there."""
        return self.store.has("cache", self.entry_id(maker, key))

    def fetch(
        self, maker: str, key: Mapping[str, Any], make: Callable[[], "dict[str, Tensor]"]
    ) -> "dict[str, Tensor]":
        """The kept tensors, made first where they are not there or damaged; they are on the CPU."""
        from safetensors import SafetensorError
        from safetensors.torch import load, save_file

        entry_id = self.entry_id(maker, key)
        if self.store.has("cache", entry_id):
            try:
                entry = self.store.entry("cache", entry_id)
                try:
                    return load(entry.read(TENSORS_FILE))
                except SafetensorError as error:
                    raise entry.damaged(f"{TENSORS_FILE} cannot be read ({error})") from error
            except DamagedEntry:
                pass  # moved aside, and said
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in make().items()}
        with self.store.writing("cache", entry_id) as draft:
            save_file(tensors, draft.folder / TENSORS_FILE)
            draft.about = {"maker": maker, "key": dict(key), "base": self.base, "dtype": self.dtype}
        self.checkpoints(maker, key).clear()
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
