"""Ratings by people, joined to a run: an evaluator of its own, whose scores are the raters' means."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas import DataFrame

from erasure_bench.bench.identity.ids import content_id
from erasure_bench.bench.planning.cases import slug
from erasure_bench.bench.planning.chosen import ChosenEvaluator
from erasure_bench.bench.planning.plan import Plan
from erasure_bench.bench.planning.tasks import GenerateTask, PlannedImage
from erasure_bench.bench.reporting.evidence import Evidence
from erasure_bench.bench.reporting.footnotes import Note
from erasure_bench.bench.reporting.merging import drawn_before
from erasure_bench.bench.reporting.rating_file import PICTURE, PLACE, Rating, RatingFile
from erasure_bench.bench.reporting.scores import RUN_COLUMNS, protocol_key
from erasure_bench.bench.running.executor import DRAWING
from erasure_bench.bench.running.failures import Failure
from erasure_bench.errors import BenchError, UnknownName
from erasure_bench.evaluators.registry import evaluator_names
from erasure_bench.evaluators.score_frames import MISSING, OK
from erasure_bench.prompt_suites.suite import Role

NOT_RATED = "nobody rated this picture"
_NAMED = 5
"""So many of the rows that match no picture are named."""


class Drawn(NamedTuple):
    """A picture of a run, under one of the names that it has there."""

    id: str
    method: str
    concept: str
    seed: int
    role: Role
    task: GenerateTask
    number: int

    @property
    def image(self) -> PlannedImage:
        """What was asked for."""
        return self.task.images.images[self.number]

    @property
    def place(self) -> dict[str, str]:
        """Its name in the columns `PLACE`."""
        names = self.method, slug(self.concept), str(self.seed), self.image.prompt.id, self.image.image_index
        return dict(zip(PLACE, map(str, names), strict=True))


class Rated(NamedTuple):
    """A plan and its evidence with the ratings in both, and what a reader must know of them."""

    plan: Plan
    evidence: Evidence
    notes: tuple[Note, ...]


def pictures_of(plan: Plan) -> Iterator[Drawn]:
    """Every picture of every cell; one that cells share comes up in each, under the same id."""
    for cell in plan.cells:
        for task in cell.generate:
            for number in range(len(task.images)):
                yield Drawn(
                    picture_id(task.id, number),
                    cell.method.name,
                    cell.case.name,
                    cell.seed,
                    task.images.role,
                    task,
                    number,
                )


@cache
def picture_id(task: str, number: int) -> str:
    """What a picture is called where its method is not to be seen.

    It begins with a letter that no number has: 12345e67 in a spreadsheet would come back as 1.2345E+71.
    """
    return f"p{content_id({'task': task, 'number': number})[:12]}"


def joined(plan: Plan, evidence: Evidence, files: Sequence[RatingFile]) -> Rated:
    """The plan and the evidence with the ratings of each file.

    Raises BenchError for a file without a rating of any picture of the run, for a row that may mean several
    pictures, and for two ratings of one picture by one rater.
    """
    notes: list[Note] = []
    for file in files:
        if file.name in {*evaluator_names(), *(evaluator.name for evaluator in plan.evaluators)}:
            raise BenchError(f"{file.path}: {file.name!r} is an evaluator's name: give another one (--name)")
        values, said = _matched(plan, file)
        rater = _evaluator(file, values)
        frame = _frame(plan, rater, values, evidence.failures)
        plan = replace(plan, evaluators=(*plan.evaluators, rater))
        evidence = evidence._replace(scores=pd.concat([evidence.scores, frame], ignore_index=True))
        notes += [*(Note(text, "caution") for text in said), *map(Note, _agreement(file, values))]
    return Rated(plan, evidence, tuple(notes))


_Key = tuple[str, str, str]
"""Picture's id, concept as it is typed or "" for any, metric."""


def _matched(plan: Plan, file: RatingFile) -> tuple[dict[_Key, list[Rating]], list[str]]:
    """The ratings of each picture, and a note of the rows that rate none."""
    by_id: dict[str, list[Drawn]] = {}
    by_name: dict[tuple[str, str], list[Drawn]] = {}
    for drawn in pictures_of(plan):
        by_id.setdefault(drawn.id, []).append(drawn)
        by_name.setdefault((drawn.method, drawn.image.prompt.id), []).append(drawn)
    found: dict[_Key, list[Rating]] = {}
    rated: dict[tuple[str, str, str], dict[str, int]] = {}
    lost: list[str] = []
    for rating in file.ratings:
        place = rating.place
        if PICTURE in place:
            several, concept = by_id.get(place[PICTURE], []), ""
        else:
            named = by_name.get((place.get("method", ""), place.get("prompt_id", "")), [])
            several = [drawn for drawn in named if _fits(drawn, place)]
            concept = slug(place.get("concept", ""))
        ids = {drawn.id for drawn in several}
        if not ids:
            lost.append(f"line {rating.line} ({', '.join(f'{k} {v}' for k, v in place.items())})")
            continue
        if len(ids) > 1:
            differing = [key for key in PLACE if len({drawn.place[key] for drawn in several}) > 1]
            raise BenchError(
                f"{file.path}: line {rating.line}: {len(ids)} pictures are meant: say which in the column "
                f"{' or '.join(differing)}"
            )
        id_ = ids.pop()
        lines = rated.setdefault((id_, rating.metric, rating.rater), {})
        # Without a concept a rating counts for each of them.
        again = next((line for other, line in lines.items() if not concept or other in ("", concept)), None)
        if rating.rater and again:
            raise BenchError(
                f"{file.path}: line {rating.line}: {rating.rater} rated {rating.metric} of this picture on "
                f"line {again} already"
            )
        lines[concept] = rating.line
        found.setdefault((id_, concept, rating.metric), []).append(rating)
    if not found:
        raise _nothing(plan, file, lost)
    if not lost:
        return found, []
    more = f" and {len(lost) - _NAMED} more" if len(lost) > _NAMED else ""
    rows = ", ".join(lost[:_NAMED])
    total = len(file.ratings)
    return found, [f"{file.name}: {len(lost)} of {total} ratings are of no picture of the run: {rows}{more}."]


def _fits(drawn: Drawn, place: Mapping[str, str]) -> bool:
    own = drawn.place
    return (
        ("concept" not in place or slug(place["concept"]) == own["concept"])
        and ("seed" not in place or int(place["seed"]) == drawn.seed)
        and ("image_index" not in place or int(place["image_index"]) == drawn.image.image_index)
    )


def _nothing(plan: Plan, file: RatingFile, lost: Sequence[str]) -> BenchError:
    if not file.ratings:
        return BenchError(f"{file.path}: no row has a value: there are no ratings in it")
    first = file.ratings[0]
    methods = [method.name for method in plan.methods]
    if first.place.get("method", methods[0]) not in methods:
        return UnknownName(f"method in {file.path}: line {first.line}", first.place["method"], methods)
    return BenchError(f"{file.path}: no row rates a picture of the run, the first: {lost[0]}")


def _evaluator(file: RatingFile, values: Mapping[_Key, Sequence[Rating]]) -> ChosenEvaluator:
    raters = {rating.rater for ratings in values.values() for rating in ratings if rating.rater}
    return ChosenEvaluator(
        name=file.name,
        preset=None,
        settings={},
        options={},
        protocol={
            "ratings": file.sha256,
            "value": "mean over the raters of a picture",
            "raters": len(raters) or max(map(len, values.values())),
            "pictures": len({picture for picture, _, _ in values}),
        },
        metrics=file.metrics,
        code=file.sha256,
    )


def _frame(
    plan: Plan,
    rater: ChosenEvaluator,
    values: Mapping[_Key, Sequence[Rating]],
    failures: Sequence[Failure],
) -> DataFrame:
    """Columns `RUN_COLUMNS`: a row for each picture that was drawn and each metric."""
    again, protocol = drawn_before(plan), protocol_key(rater.protocol)
    undrawn = {
        (failure.method, failure.concept, failure.seed, failure.role)
        for failure in failures
        if failure.stage in DRAWING
    }
    rows = []
    for drawn in pictures_of(plan):
        cell = drawn.method, drawn.concept, drawn.seed
        if undrawn & {(*cell, None), (*cell, drawn.role)}:
            continue
        prompt = drawn.image.prompt.id
        before = (drawn.role, rater.name, protocol, (*cell, prompt) in again, prompt, drawn.image.image_index)
        for metric in rater.metrics:
            ratings = [
                rating
                for concept in ("", slug(drawn.concept))
                for rating in values.get((drawn.id, concept, metric.name), ())
            ]
            value = float(np.mean([rating.value for rating in ratings])) if ratings else float("nan")
            state = (OK, "") if ratings else (MISSING, NOT_RATED)
            rows.append((*cell, *before, metric.name, value, *state))
    return DataFrame(rows, columns=list(RUN_COLUMNS))


def _agreement(file: RatingFile, values: Mapping[_Key, Sequence[Rating]]) -> Iterator[str]:
    """How many ratings there are, and how far raters agree on pictures that have several of them."""
    if file.empty:
        yield f"{file.name}: {file.empty} rows have no value."
    for metric in file.metrics:
        rated = [ratings for key, ratings in values.items() if key[2] == metric.name]
        shared = [ratings for ratings in rated if len(ratings) > 1]
        about = f"{file.name}: {metric.title}: {sum(map(len, rated))} ratings of {len(rated)} pictures"
        if not shared:
            yield f"{about}, one each: whether raters agree is not known."
            continue
        alpha = krippendorff_alpha(shared)
        said = (
            "not defined, as all ratings are the same" if alpha is None else f"{alpha:.2f} (interval scale)"
        )
        yield f"{about}; Krippendorff's α of {len(shared)} pictures with several raters: {said}."


def krippendorff_alpha(ratings: Sequence[Sequence[Rating]]) -> float | None:
    """Of the ratings of each picture, on an interval scale; None where all values are the same."""
    import krippendorff

    table: NDArray[np.float64] = np.full((max(map(len, ratings)), len(ratings)), np.nan)
    for column, of_one in enumerate(ratings):  # who gave which value makes no difference to it
        table[: len(of_one), column] = [rating.value for rating in of_one]
    if len(np.unique(table[np.isfinite(table)])) < 2:
        return None
    return float(krippendorff.alpha(reliability_data=table, level_of_measurement="interval"))
