"""How many images go through a model at once, and what happens where memory runs out."""

import gc
from collections.abc import Callable

import torch

from erasure_bench.errors import BenchError

_SAID = (
    "out of memory",
    "can't allocate memory",
    "not enough memory",
    "cudnn_status_alloc_failed",
    "cublas_status_alloc_failed",
)


GAIN = 1.05
"""By how much twice the batch must be quicker, a picture, for the next one to be tried."""


class DoesNotFit(BenchError):
    """Memory ran out with a single image."""

    exit_code = 1


class BatchSize:
    """At most `size` images at once; smaller from then on, when memory has run out, which `say` is told."""

    def __init__(self, size: int, say: Callable[[str], None] = lambda line: None) -> None:
        """Raises BenchError for less than one."""
        self.say = say
        if size < 1:
            raise BenchError(f"batch size {size}: must be at least 1 (--batch-size)")
        self.size = size

    def drew(self, images: int, seconds: float) -> None:
        """So many pictures were drawn at once, in so long."""

    def ran_out(self, with_images: int) -> None:
        """Halves what did not fit and gives free memory back. Raises DoesNotFit where it was one image."""
        if with_images == 1:
            raise DoesNotFit(
                "out of memory with a single image: try a narrower --dtype (bfloat16, float16), "
                "smaller images or another --device"
            )
        self.size = with_images // 2
        self.say(f"out of memory with {with_images} images at once: {self.size} from here on")
        release_memory()


class GrowingBatchSize(BatchSize):
    """Doubles for as long as that draws more pictures a second and fits into memory, then stays.

    `drew` is told of every batch. The first one of each size is not counted: kernels are chosen, memory is
    taken. `settled` is told the size that it stays at.
    """

    def __init__(
        self,
        size: int = 4,
        *,
        most: int = 256,
        say: Callable[[str], None] = lambda line: None,
        settled: Callable[[int], None] = lambda size: None,
    ) -> None:
        """Starts at `size`; never asks for more than `most`."""
        super().__init__(size, say)
        self.most = most
        self.growing = True
        self._settled = settled
        self._best = 0.0
        self._warm = False

    def drew(self, images: int, seconds: float) -> None:
        """Grows, or goes back to the size before and stays there; a batch that was not full says nothing."""
        if not self.growing or images != self.size:
            return
        if not self._warm:
            self._warm = True
            return
        pace = images / max(seconds, 1e-9)
        if pace < GAIN * self._best:
            self._stay(self.size // 2)
        elif 2 * self.size > self.most:
            self._stay(self.size)
        else:
            self.size, self._best, self._warm = 2 * self.size, pace, False

    def ran_out(self, with_images: int) -> None:
        """As every batch size; it grows no more."""
        super().ran_out(with_images)
        self._stay(self.size)

    def _stay(self, size: int) -> None:
        self.size, self.growing = size, False
        self._settled(size)


def is_out_of_memory(error: BaseException | None) -> bool:
    """Whether an error, or what it came from, means that memory ran out, on whichever device."""
    while error is not None:
        if isinstance(error, MemoryError | torch.OutOfMemoryError | DoesNotFit):
            return True
        if isinstance(error, RuntimeError) and any(words in str(error).lower() for words in _SAID):
            return True
        error = error.__cause__
    return False


def release_memory() -> None:
    """Gives back what nothing refers to any more."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
