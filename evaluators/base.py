"""What an evaluator is: images in, one score per image and metric out.

Scores are tidy: one row per image and metric. A detector that failed gives a missing value with
its reason, never a "safe".
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol, get_args

import numpy as np
from numpy.typing import NDArray
from pandas import DataFrame

from erasure_bench.errors import BenchError
from erasure_bench.prompt_suites.concepts import Concept
from erasure_bench.prompt_suites.suite import ROLES, Prompt, Role

Direction = Literal["lower", "higher", "neither"]
Kind = Literal["share", "bounded", "free", "statistic"]
Scale = Literal["share", "bounded", "free", "count", "statistic"]
ComparesWith = Literal["pairs", "concept"]
Pixels = NDArray[np.uint8]

SCORE_COLUMNS = ("prompt_id", "image_index", "metric", "value", "status", "reason")


class Breakdown(NamedTuple):
    """A place in a table of its own below the leaderboard: the table's title and the column's."""

    table: str
    column: str


@dataclass(frozen=True)
class Metric:
    """A named number.

    `better` gives, for each role on which the metric means something, which way erasure wants
    it to go, or `neither` where it only describes: no value of it is the best. On other roles it
    is stored but not tabled. `aggregate` says whether a table shows
    the mean over images or their sum (detection counts). `headline` metrics make the
    leaderboard's main columns; the others are in the files.

    `kind` says what an interval must allow for: a `share` is 1 or 0 for each picture; a `bounded` value may
    fall to the end of its range in a prompt that was not tried, as a probability does; a `free` one keeps
    far from its bounds or has none. Without a kind it is bounded where its bounds are finite. `reach` is the
    part of a free metric's range that a picture is known to come to: a cosine of picture and text is hardly
    below 0. A `statistic` is of a whole set (`evaluators.sets`): no picture has a value, so it meets no bar,
    and lacking pictures have no worst case.

    With `of_concept` the number says whether the concept is gone though its directions do not show it: it is
    wanted high where the concept was erased, and means nothing elsewhere.

    With `tells_collapse` a picture that scores 1 is no picture any more: a method of which too many do,
    beyond the base model, is marked in every table. With `unsafe` nobody is shown a picture that scores 1
    unasked.

    Metrics with one `breakdown` table are its columns, in their order: parts of a whole, such as body parts.
    Shares with one `question` answer it by different means, 1 is yes: below the leaderboard stands how far
    they agree. Of a share with `maximum_over` the leaderboard also shows the largest share of a prompt's
    pictures that is to be expected among so many prompts.
    """

    name: str
    title: str
    unit: str
    bounds: tuple[float, float]
    better: Mapping[Role, Direction]
    aggregate: Literal["mean", "sum"] = "mean"
    headline: bool = True
    kind: Kind | None = None
    reach: tuple[float, float] | None = None
    of_concept: bool = False
    tells_collapse: bool = False
    unsafe: bool = False
    breakdown: Breakdown | None = None
    question: str | None = None
    maximum_over: int | None = None

    @property
    def scale(self) -> Scale:
        """What the number in the table is made of: the kind, or the total of a count."""
        if self.aggregate == "sum":
            return "count"
        if self.kind == "share":
            return "share"
        if self.kind == "statistic":
            return "statistic"
        return "bounded" if self.kind != "free" and all(map(math.isfinite, self.bounds)) else "free"

    @property
    def ends(self) -> tuple[float, float]:
        """Where a prompt that was not tried may lie: the bounds; of a free metric its reach, if any."""
        if self.scale == "free":
            return self.reach or (-math.inf, math.inf)
        return self.bounds


def by_role(erased: Direction | None = None, kept: Direction | None = None) -> dict[Role, Direction]:
    """Directions for the roles that should lose the concept and for those that should keep theirs."""
    from erasure_bench.prompt_suites.suite import ERASED_ROLES

    wanted = {role: erased if role in ERASED_ROLES else kept for role in ROLES}
    return {role: direction for role, direction in wanted.items() if direction is not None}


class Picture(NamedTuple):
    """One generated image: RGB pixels [height, width, 3], 0 to 255, and the prompt that asked for it."""

    prompt: Prompt
    image_index: int
    pixels: Pixels


@dataclass(frozen=True)
class ImageSet:
    """The pictures that one model drew for one concept."""

    concept: Concept
    pictures: tuple[Picture, ...]

    def __len__(self) -> int:
        return len(self.pictures)

    def by_name(self) -> dict[tuple[str, int], Picture]:
        """The pictures by prompt id and image index."""
        return {(picture.prompt.id, picture.image_index): picture for picture in self.pictures}

    def batches(self, size: int) -> Iterator[tuple[Picture, ...]]:
        """Consecutive pictures, at most `size` at a time; sizes of the pictures may differ."""
        for start in range(0, len(self.pictures), size):
            yield self.pictures[start : start + size]


@dataclass
class ScoreSheet:
    """Collects rows of scores; `frame()` is the tidy table."""

    rows: list[tuple[str, int, str, float, str, str]] = field(default_factory=list)

    def add(self, picture: Picture, **values: float) -> None:
        """Scores of one picture, metric by metric."""
        for metric, value in values.items():
            self.rows.append((picture.prompt.id, picture.image_index, metric, float(value), "ok", ""))

    def missing(self, picture: Picture, metrics: Sequence[str], reason: str) -> None:
        """Metrics that could not be measured on this picture, and why."""
        for metric in metrics:
            self.rows.append(
                (picture.prompt.id, picture.image_index, metric, float("nan"), "missing", reason)
            )

    def frame(self) -> DataFrame:
        """Columns `SCORE_COLUMNS`: one row per image and metric; value is NaN where status is missing."""
        return DataFrame(self.rows, columns=list(SCORE_COLUMNS))


class Scores(NamedTuple):
    """`values` has the columns `SCORE_COLUMNS`; `details` is what they were derived from, if kept."""

    values: DataFrame
    details: DataFrame | None = None


class Evaluator(Protocol):
    """A frozen dataclass of settings that scores images.

    `protocol` names what decides whether two numbers can be compared: detector, weights' sha256,
    thresholds, backbone, library version. It enters the task's content id, so it must be cheap, and
    it leaves out what changes no score (device, batch size). `prepare` loads what scoring needs, once
    per process, so that a missing weight is known before anything is drawn; both raise `BenchError`.
    """

    @property
    def metrics(self) -> tuple[Metric, ...]: ...

    def protocol(self) -> Mapping[str, Any]: ...

    def prepare(self) -> None: ...

    def score(self, images: ImageSet) -> Scores: ...


class ComparingEvaluator(Protocol):
    """An evaluator that is shown the base model's pictures as well; the rest is as in `Evaluator`.

    `compares_with` says which: with `pairs` those of the same prompts and noises, with `concept` all that
    the base model drew for the concept with the same seed, whatever their roles. The base model itself is
    scored against its own pictures. A picture whose counterpart is not there is a missing value with a
    reason.
    """

    @property
    def metrics(self) -> tuple[Metric, ...]: ...

    @property
    def compares_with(self) -> ComparesWith: ...

    def protocol(self) -> Mapping[str, Any]: ...

    def prepare(self) -> None: ...

    def score(self, images: ImageSet, base: ImageSet) -> Scores: ...


def compares_with(evaluator: Any) -> ComparesWith | None:
    """Which of the base model's pictures an evaluator wants to see, None if none.

    Raises BenchError for anything else.
    """
    wanted = getattr(evaluator, "compares_with", None)
    if wanted is not None and wanted not in get_args(ComparesWith):
        raise BenchError(f"compares_with {wanted!r}; valid: {', '.join(get_args(ComparesWith))}")
    found: ComparesWith | None = wanted
    return found


def is_of_a_set(evaluator: Any) -> bool:
    """Whether its scores rest on the pictures that are shown together (`of_a_set = True` in its class)."""
    return bool(getattr(evaluator, "of_a_set", False))


def scored(evaluator: Evaluator | ComparingEvaluator, images: ImageSet, base: ImageSet | None) -> Any:
    """What it gives for these pictures, unchecked; `base` only where it compares."""
    shown: Any = evaluator
    return shown.score(images) if compares_with(evaluator) is None else shown.score(images, base)


@dataclass(frozen=True, kw_only=True)
class EvaluatorCard:
    """What `bench show` says of an evaluator, and how it is built.

    `build` takes the options of `--evaluator-option`, `presets` are named sets of them; a model
    of the zoo may name the preset that suits it. `version` names the scores that come of them:
    another one is due where they change. `made_up` gives numbers that the code makes of made-up
    material, where the version's fingerprint has no picture that would bring them about.
    """

    name: str
    title: str
    paper: str
    formula: str
    version: str = "1"
    build: type
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    notes: str = ""
    requires: tuple[str, ...] = ()
    made_up: Callable[[], Mapping[str, Sequence[float]]] | None = None
