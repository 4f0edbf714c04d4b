"""Pictures measured batch by batch, so that one bad picture spoils neither its batch nor the count."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, TypeVar

import numpy as np

from erasure_bench.errors import BenchError
from erasure_bench.evaluators.base import ImageSet, Picture, Pixels

Result = TypeVar("Result")
Measure = Callable[[Sequence[Pixels]], Sequence[Result]]


class Failure(NamedTuple):
    """Why a picture could not be measured."""

    reason: str


def measure_each(
    images: ImageSet, batch_size: int, measure: Measure[Result]
) -> Iterator[tuple[Picture, Result | Failure]]:
    """Every picture with its result, in order.

    `measure` gets the pixels of at most `batch_size` pictures, sizes may differ. Where it fails on
    a batch it is asked again picture by picture, and what fails alone becomes a `Failure`. A
    `BenchError` (missing weights, wrong option) is the user's to mend and is passed on.
    """
    for batch in images.batches(batch_size):
        problems = [unusable(picture.pixels) for picture in batch]
        usable = [picture.pixels for picture, problem in zip(batch, problems, strict=True) if problem is None]
        results = iter(_measure(usable, measure))
        for picture, problem in zip(batch, problems, strict=True):
            yield picture, next(results) if problem is None else Failure(problem)


def unusable(pixels: Pixels) -> str | None:
    """Why these are not the RGB pixels [height, width, 3] of a picture, 0 to 255; None if they are."""
    if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8:
        return f"pixels are not a uint8 array but {getattr(pixels, 'dtype', type(pixels).__name__)}"
    if pixels.ndim != 3 or pixels.shape[2] != 3 or 0 in pixels.shape:
        return f"pixels have shape {list(pixels.shape)}, not [height, width, 3]"
    return None


def _measure(pixels: Sequence[Pixels], measure: Measure[Result]) -> Sequence[Result | Failure]:
    if not pixels:
        return []
    try:
        results = list(measure(pixels))
        if len(results) != len(pixels):
            raise RuntimeError(f"{len(results)} results for {len(pixels)} pictures")
        return results
    except BenchError:
        raise
    except Exception as error:
        if len(pixels) > 1:
            return [result for one in pixels for result in _measure([one], measure)]
        message = " ".join(str(error).split())[:300]
        return [Failure(f"{type(error).__name__}: {message}")]
