"""How many pictures are drawn at once: as asked, or as many as this machine draws quickest."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from erasure_bench.bench.identity.ids import content_id
from erasure_bench.bench.storage.memory import recall, remember

if TYPE_CHECKING:
    from erasure_bench.models.batches import BatchSize

FOLDER = "batch-sizes"
_SIZE = "size"


class BatchSizes:
    """One for each kind of picture; with a number, the same for all.

    `folder` remembers what `auto` found out: a kind names the machine, the model and the pictures' size.
    """

    def __init__(self, asked: int | Literal["auto"], folder: Path) -> None:
        self.asked, self.folder = asked, folder
        self._sizes: dict[str, BatchSize] = {}

    def of(self, kind: tuple[object, ...], say: Callable[[str], None]) -> "BatchSize":
        """The size for pictures of this kind; `say` is told where memory runs out."""
        from erasure_bench.models.batches import BatchSize

        if self.asked == "auto":
            name = content_id(list(kind))[:16]
            if name not in self._sizes:
                self._sizes[name] = self._found_out(name)
            size = self._sizes[name]
        else:
            size = self._sizes.setdefault("", BatchSize(self.asked))
        size.say = say
        return size

    def _found_out(self, name: str) -> "BatchSize":
        from erasure_bench.models.batches import BatchSize, GrowingBatchSize

        note = self.folder / f"{name}.json"
        known = (recall(note) or {}).get(_SIZE)
        if isinstance(known, int) and known >= 1:
            return BatchSize(known)

        def keep(size: int) -> None:
            with suppress(OSError):  # a store that cannot be written is reported where it matters
                remember(note, {_SIZE: size})

        return GrowingBatchSize(settled=keep)
