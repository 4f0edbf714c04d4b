"""Measures of a set: what an evaluator is that compares all pictures of a role, not one by one.

It has an *extractor*, which gives each picture its features: they are computed once, kept in the store by
the pictures and by what the extractor says of itself, and shared by all evaluators with an equal one. Where
the leaderboard is made, its *statistics* are computed from the kept features of an edited model's pictures of
a role, and of a *reference*: for each concept and edited model, then averaged. A statistic has no value for
a single picture. Its interval comes from leaving out prompts one by one (`bench.statistics.jackknife`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from erasure_bench.errors import BenchError
from erasure_bench.evaluators.base import Direction, ImageSet, Metric, Pixels, Scores
from erasure_bench.evaluators.measuring import Failure, measure_pixels
from erasure_bench.evaluators.score_frames import ROUNDING, WrongScores
from erasure_bench.prompt_suites.suite import Role

Vectors = NDArray[np.float32]
Codes = NDArray[np.int64]

BASE, OTHER_SEEDS = "base", "other-seeds"
"""What a reference may be besides a folder: the base model's pictures of the same prompts and noises, or its
pictures of the same prompts with the run's other seeds."""
ROW, DATA = "row:", "data:"
"""Two more begin so: `row:NAME`, the pictures of another row of the run, of the same prompts and noises; and
`data:NAME`, a data set's training pictures of the classes that the role's prompts ask for."""
ITS_OWN_REFERENCE = "its own pictures are the reference"
"""Why a row has no number where it is what all others are held against: nothing is missing there."""
NO_PROMPT = -1
"""The prompt of a picture that comes from a folder."""
OTHER_NOISE = -1
"""The noise of a picture of the reference that none of the pictures shares."""
BATCH_SIZE = 32


class Extractor(Protocol):
    """What gives pictures their features.

    `protocol` names, in JSON's values, what the features depend on: weights' sha256, resize, library
    version. With the extractor's code it is the features' identity. `features` gives one row [d] for each
    picture, the same alone and in any batch to within rounding.
    """

    def protocol(self) -> Mapping[str, Any]: ...

    def features(self, pixels: Sequence[Pixels]) -> Any: ...


@dataclass(frozen=True, eq=False)
class FeatureSet:
    """Features [n, d] of n pictures, and the codes [n] of the prompts that they were drawn for.

    One code is one prompt, or one group of prompts where there are many; in the reference it is the same
    prompt as in the pictures, `NO_PROMPT` in a folder's. `noises` are codes [n] as well: pictures of both
    sets with the same one are of one prompt and noise, and so not independent; None where there are none.
    """

    values: Vectors
    prompts: Codes
    noises: Codes | None = None

    def __len__(self) -> int:
        return len(self.values)

    def without(self, prompt: int) -> "FeatureSet":
        """The others."""
        return self.chosen(self.prompts != prompt)

    def chosen(self, which: Any) -> "FeatureSet":
        """Those at a slice, at places, or where a mask [n] is true."""
        noises = None if self.noises is None else self.noises[which]
        return FeatureSet(self.values[which], self.prompts[which], noises)

    def twins(self, reference: "FeatureSet") -> NDArray[np.bool_] | None:
        """[n, n of the reference]: whether two pictures are of one prompt and noise; None where none are."""
        if self.noises is None or reference.noises is None:
            return None
        same: NDArray[np.bool_] = self.noises[:, None] == reference.noises[None]
        return same if same.any() else None

    def of_one_prompt(self, other: "FeatureSet") -> NDArray[np.bool_]:
        """[n, n of the other]: whether two pictures are of one prompt, or of one group of prompts."""
        same: NDArray[np.bool_] = self.prompts[:, None] == other.prompts[None]
        return same & (self.prompts != NO_PROMPT)[:, None]


Statistics = Mapping[str, float | Failure]


class SetEvaluator:
    """What an evaluator of sets is derived from, a frozen dataclass of settings as every evaluator.

    It has `metrics`, all of the kind `statistic` (see `statistic`), an `extractor`, a `protocol()`, and
    `statistics(pictures, reference)`, which gives each metric's value for a set of pictures beside the
    reference, or a `Failure` with the reason, as where pictures are too few. The reference is None for the
    base model's own row where its pictures are the reference: then what is no comparison is given alone.
    The setting `reference` chooses it: `base` where there is none, `other-seeds`, `row:NAME`, `data:NAME`, or
    a folder.

    With a method `without_each(pictures, reference, prompts)` of its own, giving for each metric an array
    [prompts] of the statistic without each of these prompts, it saves computing all of it so often. A method
    `caution(pictures)` may say what to think of sets with so few pictures.
    """

    def prepare(self) -> None:
        """Has the extractor load what it needs, if it has a `prepare`."""
        load = getattr(getattr(self, "extractor", None), "prepare", None)
        if callable(load):
            load()

    def score(self, images: ImageSet) -> Scores:
        """No picture has a score."""
        raise BenchError(f"{type(self).__name__} measures sets of pictures: no picture has a score")


def is_set_evaluator(evaluator: Any) -> bool:
    """Whether it gives statistics of sets instead of scores of pictures: an evaluator, or a class of them."""
    return issubclass(evaluator if isinstance(evaluator, type) else type(evaluator), SetEvaluator)


def reference_of(evaluator: Any) -> str:
    """`BASE`, `OTHER_SEEDS`, `ROW` or `DATA` with a name, or a folder."""
    return str(getattr(evaluator, "reference", BASE))


def is_of_files(reference: str) -> bool:
    """Whether its pictures are files, and none that the run draws."""
    return reference not in (BASE, OTHER_SEEDS) and not reference.startswith(ROW)


def statistic(
    name: str,
    title: str,
    unit: str,
    bounds: tuple[float, float],
    better: Mapping[Role, Direction],
    *,
    headline: bool = True,
) -> Metric:
    """The metric of a statistic."""
    return Metric(name, title, unit, bounds, better, headline=headline, kind="statistic")


def features_of(evaluator: Any, pixels: Sequence[Pixels]) -> list[Vectors | Failure]:
    """Features [d] of each picture by the evaluator's extractor, in order, batch by batch.

    A picture that cannot be measured, or whose features are not finite, is a Failure. Raises WrongScores
    where the extractor gives something else than vectors of one length.
    """
    size = int(getattr(evaluator, "batch_size", BATCH_SIZE))
    extractor: Extractor = evaluator.extractor

    def measure(batch: Sequence[Pixels]) -> list[Vectors]:
        return [np.asarray(row, dtype=np.float32) for row in extractor.features(batch)]

    found = measure_pixels(pixels, size, measure)
    shapes = {row.shape for row in found if not isinstance(row, Failure)}
    if len(shapes) > 1 or any(len(shape) != 1 or 0 in shape for shape in shapes):
        raise WrongScores(f"its extractor gives features of the shapes {sorted(shapes)} instead of one [d]")
    return [
        row if isinstance(row, Failure) or np.isfinite(row).all() else Failure("its features are not finite")
        for row in found
    ]


def checked_statistics(
    evaluator: Any, metrics: Sequence[Metric], pictures: FeatureSet, reference: FeatureSet | None
) -> dict[str, float | Failure]:
    """Every metric's statistic; what lacks without a reference is a Failure.

    Raises WrongScores where one is missing, not finite, out of its bounds, or of no metric.
    """
    given = evaluator.statistics(pictures, reference)
    if not isinstance(given, Mapping):
        raise WrongScores(f"statistics gave a {type(given).__name__} instead of a mapping by metric")
    if unknown := given.keys() - {metric.name for metric in metrics}:
        raise WrongScores(f"a statistic {min(unknown)!r}, which is none of its metrics")
    found: dict[str, float | Failure] = {}
    for metric in metrics:
        value = given.get(metric.name)
        if value is None and reference is not None:
            raise WrongScores(f"{metric.name}: no statistic and no reason")
        if value is None:
            value = Failure(ITS_OWN_REFERENCE)
        found[metric.name] = value if isinstance(value, Failure) else _within(metric, float(value))
    return found


def without_each(
    evaluator: Any,
    found: Statistics,
    pictures: FeatureSet,
    reference: FeatureSet | None,
    prompts: Sequence[int],
) -> dict[str, NDArray[np.float64]]:
    """[prompts] for each metric with a value in `found`: the statistic without each of these prompts.

    NaN where there is none. Without any value nothing is asked of the evaluator, which may need a reference.
    """
    named = [name for name, value in found.items() if not isinstance(value, Failure)]
    if not named:
        return {}
    own: Callable[..., Mapping[str, Any]] | None = getattr(evaluator, "without_each", None)
    if own is not None:
        given = own(pictures, reference, prompts)
        return {name: np.asarray(given[name], dtype=np.float64) for name in named}
    rows = [
        evaluator.statistics(
            pictures.without(prompt), None if reference is None else reference.without(prompt)
        )
        for prompt in prompts
    ]
    return {name: np.array([_or_nan(row.get(name)) for row in rows], dtype=np.float64) for name in named}


def _or_nan(value: Any) -> float:
    return np.nan if value is None or isinstance(value, Failure) else float(value)


def _within(metric: Metric, value: float) -> float:
    """Cut at the bounds where rounding took it past them."""
    low, high = metric.bounds
    room = ROUNDING * max([1.0, *(abs(bound) for bound in metric.bounds if np.isfinite(bound))])
    if not low - room <= value <= high + room or not np.isfinite(value):
        raise WrongScores(f"{metric.name}: {value:g} is outside of [{low:g}, {high:g}]")
    return min(max(value, low), high)
