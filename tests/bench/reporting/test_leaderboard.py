"""The leaderboard's numbers against hand calculations; what fails is shown as failed."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from pandas import DataFrame

from erasure_bench.bench.reporting.footnotes import missing_notes
from erasure_bench.bench.reporting.leaderboard import (
    COLUMNS,
    Row,
    build_leaderboard,
    to_frame,
    to_json,
)
from erasure_bench.bench.reporting.scores import RUN_COLUMNS, CellCost
from erasure_bench.bench.reporting.tabled import OVERALL, Measured
from erasure_bench.bench.running.failures import Failure
from erasure_bench.evaluators.base import Metric, by_role

SHARE = Metric("share", "share", "share", (0.0, 1.0), by_role("lower", "higher"))
COUNT = Metric("count", "count", "detections", (0.0, 9.0), by_role("lower"), aggregate="sum")
STORED = Metric("stored", "stored", "x", (0.0, 1.0), {})
BASE, METHOD = "base", "m"
NO_COSTS: dict[tuple[str, str, int], CellCost] = {}

Score = tuple[str, str, int, str, str, int, str, float]
"""method, concept, seed, role, prompt, image index, metric, value"""


def frame(scores: Iterable[Score]) -> DataFrame:
    rows = [
        (
            *(method, concept, seed, role, "e", "key", False, prompt, image, metric, value),
            *(("missing", "no face") if math.isnan(value) else ("ok", "")),
        )
        for method, concept, seed, role, prompt, image, metric, value in scores
    ]
    return DataFrame(rows, columns=list(RUN_COLUMNS))


def measured(
    concepts: Iterable[str] = ("cat",),
    seeds: Iterable[int] = (0,),
    metrics: Iterable[Metric] = (SHARE,),
    pictures: int = 0,
) -> Measured:
    return Measured(
        methods=[BASE, METHOD],
        baseline=BASE,
        roles={concept: ("target",) for concept in concepts},
        metrics=[("e", metric) for metric in metrics],
        seeds=list(seeds),
        pictures={(METHOD, concept, "target"): pictures for concept in concepts},
    )


def board(
    scores: Iterable[Score],
    what: Measured,
    failures: Iterable[Failure] = (),
    costs: Mapping[tuple[str, str, int], CellCost] = NO_COSTS,
) -> dict[tuple[str, str, str, str], Row]:
    rows = build_leaderboard(frame(scores), what, failures, costs)
    return {(row.method, row.concept, row.role, row.metric): row for row in rows}


def failure(**narrower: Any) -> Failure:
    return Failure(method=METHOD, concept="cat", seed=0, stage="erase", reason="it broke", **narrower)


def test_a_mean_weighs_prompts_not_pictures() -> None:
    scores: list[Score] = [
        (METHOD, "cat", 0, "target", "a", 0, "share", 1.0),
        (METHOD, "cat", 0, "target", "a", 1, "share", 0.0),
        (METHOD, "cat", 0, "target", "b", 0, "share", 1.0),
    ]
    row = board(scores, measured())[METHOD, "cat", "target", "share"]
    assert row.value == pytest.approx((0.5 + 1.0) / 2)
    assert (row.images, row.prompts, row.missing, row.status) == (3, 2, 0, "ok")
    assert row.low is not None and row.high is not None and 0.0 <= row.low < row.value < row.high <= 1.0


def test_a_sum_adds_pictures_and_averages_seeds() -> None:
    scores: list[Score] = [
        (METHOD, "cat", seed, "target", prompt, 0, "count", float(count))
        for seed, counts in {0: (2, 3), 1: (4, 5)}.items()
        for prompt, count in zip("ab", counts, strict=True)
    ]
    row = board(scores, measured(seeds=(0, 1), metrics=(COUNT,)))[METHOD, "cat", "target", "count"]
    assert row.value == pytest.approx((2 + 3 + 4 + 5) / 2)
    assert row.aggregate == "sum"


def test_a_missing_score_is_counted_and_is_never_a_zero() -> None:
    scores: list[Score] = [
        (METHOD, "cat", 0, "target", "a", 0, "share", 1.0),
        (METHOD, "cat", 0, "target", "b", 0, "share", math.nan),
        (METHOD, "cat", 0, "target", "c", 0, "share", 0.5),
    ]
    row = board(scores, measured())[METHOD, "cat", "target", "share"]
    assert row.value == pytest.approx(0.75)
    assert (row.images, row.prompts, row.missing) == (2, 2, 1)


def test_nothing_but_missing_scores_gives_no_number() -> None:
    scores: list[Score] = [(METHOD, "cat", 0, "target", "a", 0, "share", math.nan)]
    row = board(scores, measured())[METHOD, "cat", "target", "share"]
    assert (row.value, row.low, row.status, row.missing) == (None, None, "missing", 1)


def test_the_change_is_paired_by_prompt_picture_and_seed() -> None:
    """Prompts differ wildly, the method takes 0.1 from each: the change is certain, the level is not."""
    levels = {"a": 0.2, "b": 0.9, "c": 0.5, "d": 0.75}
    scores: list[Score] = []
    for prompt, level in levels.items():
        for seed in (0, 1):
            scores.append((BASE, "cat", seed, "target", prompt, 0, "share", level + 0.05 * seed))
            scores.append((METHOD, "cat", seed, "target", prompt, 0, "share", level + 0.05 * seed - 0.1))
    rows = board(scores, measured(seeds=(0, 1)))
    row = rows[METHOD, "cat", "target", "share"]
    assert row.change == pytest.approx(-0.1)
    assert row.pairs == 8
    assert row.low is not None and row.high is not None
    assert row.change_low is not None and row.change_high is not None
    assert row.change_low < -0.1 < row.change_high < row.change_low + row.high - row.low
    base = rows[BASE, "cat", "target", "share"]
    assert (base.change, base.pairs) == (None, 0)


def test_a_picture_that_the_baseline_lacks_makes_no_pair() -> None:
    scores: list[Score] = [
        (BASE, "cat", 0, "target", "a", 0, "share", 0.5),
        (BASE, "cat", 0, "target", "b", 0, "share", math.nan),
        (METHOD, "cat", 0, "target", "a", 0, "share", 0.25),
        (METHOD, "cat", 0, "target", "b", 0, "share", 0.0),
    ]
    row = board(scores, measured())[METHOD, "cat", "target", "share"]
    assert (row.change, row.pairs) == (-0.25, 1)
    assert row.value == pytest.approx(0.125)


def test_overall_is_the_mean_over_concepts() -> None:
    scores: list[Score] = [(METHOD, "cat", 0, "target", f"p{i}", 0, "share", 1.0) for i in range(9)]
    scores += [(METHOD, "dog", 0, "target", f"q{i}", 0, "share", float(i)) for i in range(2)]
    rows = board(scores, measured(("cat", "dog")))
    row = rows[METHOD, OVERALL, "target", "share"]
    assert row.value == pytest.approx((1.0 + 0.5) / 2)
    assert (row.prompts, row.scope) == (11, "overall")
    assert row.low is not None and row.high is not None and row.low < 0.5 < 0.9 < row.high <= 1.0


def test_a_failed_cell_is_failed_and_so_is_the_mean_over_concepts() -> None:
    scores: list[Score] = [(METHOD, "dog", 0, "target", f"p{i}", 0, "share", 1.0) for i in range(3)]
    rows = board(scores, measured(("cat", "dog")), [failure()])
    failed = rows[METHOD, "cat", "target", "share"]
    assert (failed.value, failed.status, failed.reason) == (None, "failed", "it broke")
    assert rows[METHOD, "dog", "target", "share"].status == "ok"
    whole = rows[METHOD, OVERALL, "target", "share"]
    assert (whole.value, whole.status, whole.reason) == (None, "failed", "1 of 2 concepts: it broke")
    assert rows[BASE, "cat", "target", "share"].status == "missing"


def test_a_failure_reaches_only_its_role_and_evaluator() -> None:
    scores: list[Score] = [(METHOD, "cat", 0, "target", "a", 0, "share", 1.0)]
    for narrower in ({"role": "anchor"}, {"evaluator": "another"}):
        rows = board(scores, measured(), [failure(**narrower)])
        assert rows[METHOD, "cat", "target", "share"].status == "ok"


def test_what_failed_is_missing_from_a_number_that_is_partial() -> None:
    scores: list[Score] = [(METHOD, "cat", 1, "target", "a", 0, "share", 1.0)]
    row = board(scores, measured(seeds=(0, 1), pictures=3), [failure()])[METHOD, "cat", "target", "share"]
    assert (row.value, row.status, row.reason) == (1.0, "partial", "2 of 3 pictures failed: it broke")
    assert (row.images, row.missing) == (1, 2)


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ((1.0, math.nan, math.nan), "2 of 3 pictures have no score: no face"),
        ((math.nan, math.nan, math.nan), "all 3 pictures: no face"),
    ],
)
def test_the_note_says_why_scores_are_missing(values: Sequence[float], why: str) -> None:
    scores: list[Score] = [
        (METHOD, "cat", 0, "target", prompt, 0, "share", value)
        for prompt, value in zip("abc", values, strict=True)
    ]
    rows = list(board(scores, measured()).values())
    (note,) = missing_notes(rows)
    assert note == f"Scores are missing in 1 number; most: {METHOD}, cat, target, {SHARE.title}: {why}."
    assert missing_notes([row for row in rows if not row.missing]) == []


def test_a_number_that_lacks_a_score_is_partial() -> None:
    scores: list[Score] = [
        (METHOD, "cat", 0, "target", prompt, 0, metric, value)
        for metric in ("count", "share")
        for prompt, value in (("a", 1.0), ("b", math.nan), ("c", 1.0))
    ]
    rows = board(scores, measured(metrics=(COUNT, SHARE)))
    total = rows[METHOD, "cat", "target", "count"]
    assert (total.value, total.missing, total.status) == (2.0, 1, "partial")
    assert total.reason == "1 of 3 pictures have no score: no face"
    assert rows[METHOD, OVERALL, "target", "count"].status == "partial"
    mean = rows[METHOD, "cat", "target", "share"]
    assert (mean.value, mean.missing, mean.status) == (1.0, 1, "partial")
    assert mean.worst == pytest.approx(1.0), "a picture without a score is taken to show the concept"
    assert total.worst == pytest.approx(2.0 + 9.0)


def test_a_picture_that_seeds_share_counts_once() -> None:
    scores: list[Score] = [
        (BASE, "cat", seed, "target", prompt, 0, metric, value)
        for seed in (0, 1)
        for metric in ("count", "share")
        for prompt, value in (("a", 1.0), ("b", 0.5), ("c", math.nan))
    ]
    table = frame(scores)
    table["repeated"] = table["seed"] == 1
    what = measured(seeds=(0, 1), metrics=(COUNT, SHARE))
    rows = build_leaderboard(table, what, [], NO_COSTS)
    found = {row.metric: row for row in rows if (row.method, row.scope) == (BASE, "concept")}
    assert {metric: (row.images, row.missing) for metric, row in found.items()} == {
        "count": (2, 1),
        "share": (2, 1),
    }
    assert found["count"].value == pytest.approx(1.5) and found["share"].value == pytest.approx(0.75)


def test_metrics_without_a_direction_for_the_role_are_not_tabled() -> None:
    scores: list[Score] = [(METHOD, "cat", 0, "target", "a", 0, "stored", 1.0)]
    assert board(scores, measured(metrics=(STORED,))) == {}


def test_costs_are_means_over_seeds_and_over_pictures() -> None:
    costs = {
        (METHOD, "cat", 0): CellCost(10.0, 500, generate_seconds=3.0, images=10),
        (METHOD, "cat", 1): CellCost(20.0, 700, generate_seconds=1.0, images=30),
        (METHOD, "dog", 0): CellCost(None, None, generate_seconds=0.0, images=0),
    }
    scores: list[Score] = [(METHOD, "cat", 0, "target", "a", 0, "share", 1.0)]
    rows = board(scores, measured(("cat", "dog"), seeds=(0, 1)), costs=costs)
    row = rows[METHOD, "cat", "target", "share"]
    assert (row.erase_seconds, row.seconds_per_image, row.peak_memory_bytes) == (
        15.0,
        pytest.approx(0.1),
        700,
    )
    unknown = rows[METHOD, "dog", "target", "share"]
    assert (unknown.erase_seconds, unknown.seconds_per_image) == (None, None)


def test_no_scores_at_all_still_give_a_leaderboard() -> None:
    rows = board([], measured(), [failure()])
    assert rows[METHOD, "cat", "target", "share"].status == "failed"


def test_rows_become_a_frame_and_json_without_nan() -> None:
    scores: list[Score] = [(METHOD, "cat", 0, "target", "a", 0, "share", 0.5)]
    rows = build_leaderboard(frame(scores), measured(), [], NO_COSTS)
    assert tuple(to_frame(rows).columns) == COLUMNS
    row = next(row for row in rows if (row.method, row.scope) == (METHOD, "concept"))
    assert to_json(replace(row, value=math.inf))["value"] is None, "infinity is not JSON"
    assert to_json(row)["images"] == 1


def test_a_broad_interval_for_few_prompts_and_a_narrow_one_for_many() -> None:
    random = np.random.default_rng(3)
    scores: list[Score] = []
    for concept, count in (("few", 8), ("many", 800)):
        values = random.integers(0, 2, count)
        scores += [
            (METHOD, concept, 0, "target", f"{concept}{i}", 0, "share", float(v))
            for i, v in enumerate(values)
        ]
    rows = board(scores, measured(("few", "many")))
    widths = {}
    for concept in ("few", "many"):
        row = rows[METHOD, concept, "target", "share"]
        assert row.low is not None and row.high is not None
        widths[concept] = row.high - row.low
    assert widths["many"] == pytest.approx(2 * 1.96 * 0.5 / math.sqrt(800), rel=0.15)
    assert widths["few"] > 5 * widths["many"]


def shared_prompts(method: str, value: float) -> list[Score]:
    """Six prompts that both concepts keep, one picture each."""
    return [
        (method, concept, 0, "target", f"p{i}", 0, "share", value if i else 0.4)
        for concept in ("cat", "dog")
        for i in range(6)
    ]


def test_what_concepts_share_counts_once() -> None:
    """The base model's pictures are the same ones under each concept; an edit's are of the same prompts."""
    scores = [*shared_prompts(BASE, 0.9), *shared_prompts(METHOD, 0.5)]
    rows = board(scores, measured(("cat", "dog")))
    base, own = rows[BASE, OVERALL, "target", "share"], rows[METHOD, OVERALL, "target", "share"]
    assert (base.images, base.prompts) == (6, 6)
    assert (own.images, own.prompts, own.pairs) == (12, 6, 12)
    concept = rows[BASE, "cat", "target", "share"]
    assert (base.value, base.low, base.high) == pytest.approx((concept.value, concept.low, concept.high))


def test_one_edited_model_for_all_concepts_draws_the_same_pictures() -> None:
    what = measured(("cat", "dog"))
    what = replace(what, models={(METHOD, concept, 0): "weights" for concept in ("cat", "dog")})
    row = board(shared_prompts(METHOD, 0.5), what)[METHOD, OVERALL, "target", "share"]
    assert row.images == 6


def test_training_seeds_are_in_the_interval_where_an_edit_is_trained() -> None:
    """The same scores: of a model that each seed trains anew, and of one that is the same for all seeds."""
    levels = {0: 0.3, 1: 0.5, 2: 0.7}
    scores: list[Score] = [
        (METHOD, "cat", seed, "target", f"p{i}", 0, "share", level)
        for seed, level in levels.items()
        for i in range(24)
    ]
    what = measured(seeds=levels)
    same = replace(what, models={(METHOD, "cat", seed): "weights" for seed in levels})
    trained, untrained = (board(scores, one)[METHOD, "cat", "target", "share"] for one in (what, same))
    assert trained.value == pytest.approx(0.5) and untrained.value == pytest.approx(0.5)
    assert None not in (trained.low, trained.high, untrained.low, untrained.high)
    assert trained.high - trained.low > 2 * (untrained.high - untrained.low)  # type: ignore[operator]


def test_a_missing_score_counted_against_the_method() -> None:
    """Where the concept should go a picture without a score still shows it; what should stay is lost."""
    scores: list[Score] = [
        (METHOD, "cat", 0, role, prompt, 0, "share", value)
        for role in ("target", "retention")
        for prompt, value in (("a", 0.25), ("b", math.nan), ("c", 0.75), ("d", math.nan))
    ]
    what = replace(measured(), roles={"cat": ("target", "retention")})
    rows = board(scores, what)
    for role, worst in (("target", (0.25 + 0.75 + 2) / 4), ("retention", (0.25 + 0.75) / 4)):
        for scope in ("cat", OVERALL):
            row = rows[METHOD, scope, role, "share"]
            assert (row.value, row.worst, row.status) == (pytest.approx(0.5), pytest.approx(worst), "partial")


def test_what_failed_is_in_the_worst_case_too() -> None:
    scores: list[Score] = [(METHOD, "dog", 0, "target", f"p{i}", 0, "share", 0.0) for i in range(3)]
    rows = board(scores, measured(("cat", "dog"), pictures=3), [failure()])
    assert rows[METHOD, "cat", "target", "share"].worst == 1.0
    whole = rows[METHOD, OVERALL, "target", "share"]
    assert (whole.value, whole.worst, whole.missing) == (None, 0.5, 3)


def test_the_order_of_scores_does_not_matter() -> None:
    random = np.random.default_rng(7)
    scores: list[Score] = [
        (method, concept, seed, "target", f"p{i}", image, "share", float(random.random()))
        for method in (BASE, METHOD)
        for concept in ("cat", "dog")
        for seed in (0, 1)
        for i in range(5)
        for image in (0, 1)
    ]
    what = measured(("cat", "dog"), seeds=(0, 1))
    table = frame(scores)
    shuffled = table.sample(frac=1.0, random_state=1)
    first, again = (build_leaderboard(one, what, [], NO_COSTS) for one in (table, shuffled))
    for one, other in zip(first, again, strict=True):
        assert (one.value, one.low, one.change_high) == pytest.approx(
            (other.value, other.low, other.change_high), nan_ok=True
        )
