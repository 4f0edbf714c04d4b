"""What every evaluator promises, as checks that can be run on any evaluator, a user's own included."""

import io
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from pandas import DataFrame

from erasure_bench.errors import BenchError
from erasure_bench.evaluators.base import (
    Evaluator,
    EvaluatorCard,
    ImageSet,
    Metric,
    Picture,
    Scores,
    compares_with,
    is_of_a_set,
    scored,
)
from erasure_bench.evaluators.measuring import without_pixels
from erasure_bench.evaluators.metrics import checked_metrics
from erasure_bench.evaluators.registry import build_evaluator, evaluator_card
from erasure_bench.evaluators.score_frames import MISSING, PictureName, checked_scores
from erasure_bench.foreign.checks import Broken, Check, NotAsked, tried
from erasure_bench.foreign.process import ProcessState, RandomStates
from erasure_bench.prompt_suites.concepts import Concept
from erasure_bench.prompt_suites.suite import Prompt

NO_SUCH_OPTION = "no_such_option"
BASE_PICTURES = 24
SAME = 1e-4
"""What two values of one picture may differ by, as a share of their size: kernels round as batches go."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """An evaluator, as `build_evaluator` takes it, and the prompts whose pictures it is shown."""

    evaluator: str
    concept: Concept
    prompts: Sequence[Prompt]
    preset: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    side: int = 64


class Rehearsal:
    """Scorings by one evaluator, each made once, when it is first asked for.

    Raises BenchError where the evaluator cannot be built.
    """

    def __init__(self, trial: Trial) -> None:
        self.trial = trial
        self.card: EvaluatorCard = evaluator_card(trial.evaluator)
        self.evaluator: Evaluator = build_evaluator(trial.evaluator, trial.preset, trial.options)
        self.left_changed: list[str] = []
        self.generators_used = ""
        self.painted = False

    @cached_property
    def metrics(self) -> tuple[Metric, ...]:
        """Those that it declares."""
        return checked_metrics(self.evaluator, "it")

    @cached_property
    def pictures(self) -> tuple[Picture, ...]:
        """Plain colours, ramps, stripes and noise of two sizes: nothing that anybody minds to look at."""
        return tuple(
            Picture(prompt, number, made_up(number, self.trial.side))
            for number, prompt in enumerate(self.trial.prompts)
        )

    @cached_property
    def base_pictures(self) -> tuple[Picture, ...]:
        """What the base model is said to have drawn: more of the kind, the first of the same prompts."""
        first, several = self.pictures[0], len(self.pictures)
        return tuple(
            (self.pictures[number] if number < several else first)._replace(
                image_index=number, pixels=made_up(number + 3 * (number % 5), self.trial.side)
            )
            for number in range(max(several, BASE_PICTURES))
        )

    @contextmanager
    def without_base(self) -> Iterator[None]:
        """The base model has drawn nothing meanwhile."""
        drawn, self.base_pictures = self.base_pictures, ()
        try:
            yield
        finally:
            self.base_pictures = drawn

    @cached_property
    def first(self) -> Scores:
        """All pictures at once."""
        return self.score(self.pictures)

    def score(self, pictures: Sequence[Picture]) -> Scores:
        """What it gives for these pictures, checked; raises BenchError where it does not fit."""
        shown = [picture._replace(pixels=picture.pixels.copy()) for picture in pictures]
        base = ImageSet(self.trial.concept, self.base_pictures)
        with self._watched():
            given = scored(self.evaluator, ImageSet(self.trial.concept, tuple(shown)), base)
        self.painted |= any(
            not np.array_equal(each.pixels, picture.pixels)
            for each, picture in zip(shown, pictures, strict=True)
        )
        asked = [PictureName(picture.prompt.id, picture.image_index) for picture in pictures]
        return checked_scores(given, self.metrics, asked)

    def prepare(self) -> None:
        """Has it load what it needs."""
        with self._watched():
            self.evaluator.prepare()

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """Puts the process back as it was, and remembers what was not."""
        process, states = ProcessState.now(), RandomStates.now()
        try:
            yield
        finally:
            self.generators_used = self.generators_used or states.differences(RandomStates.now())
            states.put_back()
            self.left_changed += process.put_back()


def check_contract(rehearsal: Rehearsal) -> Iterator[Check]:
    """The checks of `CHECKS` one by one; an evaluator that scores nothing has its others skipped."""
    module = sys.modules.get(type(rehearsal.evaluator).__module__)
    yield from tried(CHECKS, rehearsal, getattr(module, "__file__", None))


def _scores_pictures(at: Rehearsal) -> None:
    at.prepare()
    if (at.first.values["status"] == MISSING).all():
        raise Broken(f"no picture could be measured: {at.first.values['reason'].iloc[0]}")


def _leaves_the_process_alone(at: Rehearsal) -> None:
    if at.left_changed:
        raise Broken(f"left changed: {', '.join(dict.fromkeys(at.left_changed))}")
    if at.generators_used:
        raise Broken(f"drew from or seeded {at.generators_used}: use a generator of its own")


def _leaves_the_pictures_alone(at: Rehearsal) -> None:
    if at.painted:
        raise Broken("it changes the pixels that it is shown")


def _is_deterministic(at: Rehearsal) -> None:
    _compare(at, at.score(at.pictures), "a second time")


def _knows_no_order(at: Rehearsal) -> None:
    _compare(at, at.score(at.pictures[::-1]), "in another order")


def _knows_no_neighbours(at: Rehearsal) -> None:
    if is_of_a_set(at.evaluator):
        raise NotAsked("its class says that its scores are of a set")
    for picture in at.pictures:
        _compare(at, at.score([picture]), "alone")


def _survives_a_broken_picture(at: Rehearsal) -> None:
    spoilt, *others = at.pictures
    scores = at.score([spoilt._replace(pixels=without_pixels("the file is empty")), *others])
    of_it = scores.values["image_index"] == spoilt.image_index
    if not (scores.values["status"][of_it] == MISSING).all():
        raise Broken("a picture without pixels gets a score instead of a missing value with a reason")
    if not is_of_a_set(at.evaluator):
        _compare(at, Scores(scores.values[~of_it]), "beside a broken one")
    for shape in ((1, 1, 3), (1, at.trial.side, 3)):  # a score or a reason, but no exception
        at.score([spoilt._replace(pixels=np.full(shape, 200, np.uint8)), *others])


def _misses_the_bases_picture(at: Rehearsal) -> None:
    if compares_with(at.evaluator) != "pairs":
        raise NotAsked("it compares with no picture of the same prompt and noise")
    with at.without_base():
        scores = at.score(at.pictures)
    if not (scores.values["status"] == MISSING).all():
        raise Broken("without the base model's picture there is a score instead of a missing value")


def _takes_none(at: Rehearsal) -> None:
    at.score([])


def protocol_is_json(at: Rehearsal) -> None:
    """Raises Broken where the protocol is not JSON, or not the same every time."""
    at.prepare()
    before, after = (at.evaluator.protocol() for _ in range(2))
    anew = build_evaluator(at.trial.evaluator, at.trial.preset, at.trial.options).protocol()
    if not isinstance(before, Mapping) or not before:
        raise Broken("protocol says nothing: name what decides whether two numbers can be compared")
    try:
        texts = [json.dumps(dict(each), allow_nan=False, sort_keys=True) for each in (before, after, anew)]
    except (TypeError, ValueError) as error:
        raise Broken(f"its protocol holds what is no JSON: {error}") from error
    if len({*texts}) > 1:
        raise Broken("its protocol is not the same every time: results could never be found again")


def _details_can_be_kept(at: Rehearsal) -> None:
    if at.first.details is None:
        raise NotAsked("it gives none")
    at.first.details.to_parquet(io.BytesIO(), index=False)


def refuses_mistakes(at: Rehearsal) -> None:
    """Raises Broken where an option that there is not is taken, or refused in many lines."""
    try:
        build_evaluator(at.trial.evaluator, at.trial.preset, {NO_SUCH_OPTION: "1"})
    except BenchError as refused:
        if "\n" in str(refused).strip():
            raise Broken("an unknown option: the error is longer than one line") from refused
    else:
        raise Broken("an unknown option is accepted")


CHECKS: dict[str, Callable[[Rehearsal], None]] = {
    "scores pictures, every one, within bounds": _scores_pictures,
    "leaves the process and its random state alone": _leaves_the_process_alone,
    "leaves the pictures alone": _leaves_the_pictures_alone,
    "same pictures, same scores": _is_deterministic,
    "same scores in any order": _knows_no_order,
    "same scores alone and together": _knows_no_neighbours,
    "a broken picture is missing and spoils no other": _survives_a_broken_picture,
    "without the base model's picture a score is missing": _misses_the_bases_picture,
    "no pictures, no rows": _takes_none,
    "a protocol of plain values that stays": protocol_is_json,
    "details can be kept": _details_can_be_kept,
    "refuses mistakes in one line": refuses_mistakes,
}
"""Every promise by name, in the order in which they are tried."""


def _compare(at: Rehearsal, other: Scores, how: str) -> None:
    """Raises Broken where a picture has another score than in the first scoring."""
    keys = ["prompt_id", "image_index", "metric"]
    both: DataFrame = at.first.values.merge(other.values, on=keys, suffixes=("", "_again"))
    value, again = both["value"].to_numpy(), both["value_again"].to_numpy()
    size = np.maximum(1.0, np.maximum(np.abs(value), np.abs(again)))
    differs = ~((np.abs(value - again) <= SAME * size) | (np.isnan(value) & np.isnan(again)))
    if differs.any():
        row: Any = both[differs].iloc[0]
        raise Broken(
            f"{row['metric']}: {PictureName(row['prompt_id'], row['image_index'])} has "
            f"{row['value']:.6g}, but {row['value_again']:.6g} {how}"
        )


def made_up(number: int, side: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """A picture [side, side, 3], every third one half as high."""
    height = side // 2 if number % 3 == 2 else side
    down, across = np.mgrid[0:height, 0:side]
    ramp = (across * 255) // max(side - 1, 1)
    stripes = ((down // 8 + across // 8) % 2) * 255
    noise = np.random.default_rng(number).integers(0, 256, (height, side))
    channels = [(ramp, stripes, ramp), (noise, noise, noise), (stripes, 255 - ramp, ramp)][number % 3]
    turned = np.roll(np.stack(channels, axis=-1), number, axis=-1)
    return np.ascontiguousarray(turned.astype(np.uint8))
