"""What is done with a batch of pictures while the next one is drawn: fetched, checked, written."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Generic, NamedTuple, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Images = TypeVar("Images")


class Finished(NamedTuple):
    """A batch's pictures with their numbers, and the seconds since the batch before it was finished."""

    indices: Sequence[int]
    pixels: list[Pixels]
    seconds: float


class Finishing(Generic[Images]):
    """One batch at a time in a thread of its own; at most one waits, so that memory does not grow.

    `fetch` makes pixels of what a device holds, `keep`, if any, is given each picture with its number: both
    in the thread. `tell` is told of each batch in the caller's own, in their order. What the thread raises
    comes out of the next `add` or `wait`, or of leaving the block.
    """

    def __init__(
        self,
        fetch: Callable[[Images], list[Pixels]],
        keep: Callable[[int, Pixels], None] | None,
        tell: Callable[[Finished], None],
    ) -> None:
        self._fetch, self._keep, self._tell = fetch, keep, tell
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="finishing")
        self._pending: Future[Finished] | None = None
        self._since = time.perf_counter()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self.wait()
        finally:
            self._thread.shutdown(cancel_futures=True)

    def add(self, indices: Sequence[int], images: Images) -> None:
        """A batch is drawn; waits for the one before it."""
        self.wait()
        self._pending = self._thread.submit(self._finish, indices, images)

    def wait(self) -> None:
        """Until nothing is under way."""
        if (pending := self._pending) is not None:
            self._pending = None
            self._tell(pending.result())

    def _finish(self, indices: Sequence[int], images: Images) -> Finished:
        pixels = self._fetch(images)
        now = time.perf_counter()
        seconds, self._since = now - self._since, now
        if self._keep is not None:
            for index, picture in zip(indices, pixels, strict=True):
                self._keep(index, picture)
        return Finished(indices, pixels, seconds)
