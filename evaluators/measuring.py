"""Pictures measured batch by batch, so that one bad picture spoils neither its batch nor the count."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, TypeVar

import numpy as np

from erasure_bench.errors import BenchError
from erasure_bench.evaluators.base import ImageSet, Picture, Pixels

Item = TypeVar("Item")
Result = TypeVar("Result")
Measure = Callable[[Sequence[Item]], Sequence[Result]]


class Failure(NamedTuple):
    """Why a picture could not be measured."""

    reason: str


class Pair(NamedTuple):
    """The pixels of two pictures of one size: a method's, and the base model's of the same noise."""

    own: Pixels
    base: Pixels


def measure_each(
    images: ImageSet, batch_size: int, measure: Measure[Pixels, Result]
) -> Iterator[tuple[Picture, Result | Failure]]:
    """Every picture with its result, in order.

    `measure` gets the pixels of at most `batch_size` pictures, sizes may differ. Where it fails on
    a batch it is asked again picture by picture, and what fails alone becomes a `Failure`. A
    `BenchError` (missing weights, wrong option) is the user's to mend and is passed on.
    """
    for batch in images.batches(batch_size):
        results = measure_pixels([picture.pixels for picture in batch], batch_size, measure)
        yield from zip(batch, results, strict=True)


def measure_pixels(
    pixels: Sequence[Pixels], batch_size: int, measure: Measure[Pixels, Result]
) -> list[Result | Failure]:
    """The same for pictures without a prompt: a result or a failure for each, in order."""
    found: list[Result | Failure] = []
    for start in range(0, len(pixels), batch_size):
        batch = pixels[start : start + batch_size]
        problems = [unusable(picture) for picture in batch]
        usable = [picture for picture, problem in zip(batch, problems, strict=True) if problem is None]
        results = iter(_measure(usable, measure))
        found += [next(results) if problem is None else Failure(problem) for problem in problems]
    return found


def measure_pairs(
    images: ImageSet, base: ImageSet, batch_size: int, measure: Measure[Pair, Result]
) -> Iterator[tuple[Picture, Result | Failure]]:
    """As `measure_each`, each picture beside the base model's of the same prompt and noise.

    `measure` gets at most `batch_size` pairs, whose sizes may differ between pairs. A picture whose
    counterpart is not there, is no picture or has another size becomes a `Failure`.
    """
    counterparts = base.by_name()
    for batch in images.batches(batch_size):
        found = [_pair(each, counterparts.get((each.prompt.id, each.image_index))) for each in batch]
        results = iter(_measure([pair for pair in found if isinstance(pair, Pair)], measure))
        for picture, pair in zip(batch, found, strict=True):
            yield picture, next(results) if isinstance(pair, Pair) else pair


class _Without(np.ndarray[tuple[int, int, int], np.dtype[np.uint8]]):
    """No pixels [0, 0, 3], and why; a copy says the same."""

    reason: str

    def __array_finalize__(self, made_from: object) -> None:
        self.reason = getattr(made_from, "reason", "no pixels")


def without_pixels(reason: str) -> Pixels:
    """What stands for the pixels of a picture that could not be read: none of them, and why."""
    none = np.zeros((0, 0, 3), np.uint8).view(_Without)
    none.reason = reason
    return none


def unusable(pixels: Pixels) -> str | None:
    """Why these are not the RGB pixels [height, width, 3] of a picture, 0 to 255; None if they are."""
    if isinstance(pixels, _Without):
        return pixels.reason
    if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8:
        return f"pixels are not a uint8 array but {getattr(pixels, 'dtype', type(pixels).__name__)}"
    if pixels.ndim != 3 or pixels.shape[2] != 3 or 0 in pixels.shape:
        return f"pixels have shape {list(pixels.shape)}, not [height, width, 3]"
    return None


def _pair(picture: Picture, counterpart: Picture | None) -> Pair | Failure:
    if counterpart is None:
        return Failure("the base model's picture is missing")
    if (problem := unusable(picture.pixels)) is not None:
        return Failure(problem)
    if (problem := unusable(counterpart.pixels)) is not None:
        return Failure(f"the base model's picture: {problem}")
    pair = Pair(picture.pixels, counterpart.pixels)
    if pair.own.shape != pair.base.shape:
        sizes = (f"{each.shape[1]}×{each.shape[0]}" for each in pair)
        return Failure(" pixels, the base model’s picture ".join(sizes))
    return pair


def _measure(items: Sequence[Item], measure: Measure[Item, Result]) -> Sequence[Result | Failure]:
    if not items:
        return []
    try:
        results = list(measure(items))
        if len(results) != len(items):
            raise RuntimeError(f"{len(results)} results for {len(items)} pictures")
        return results
    except BenchError:
        raise
    except Exception as error:
        if len(items) > 1:
            return [result for one in items for result in _measure([one], measure)]
        message = " ".join(str(error).split())[:300]
        return [Failure(f"{type(error).__name__}: {message}")]
