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
