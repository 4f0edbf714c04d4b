"""Prompts in other words: drawn from the same noise, compared pair by pair with what they rewrite."""

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pandas import DataFrame
from rich.console import Console

from erasure_bench.bench.planning.config import RunConfig
from erasure_bench.bench.planning.plan import Plan
from erasure_bench.bench.reporting.board import Board, columns_of
from erasure_bench.bench.reporting.leaderboard import Row, build_leaderboard, to_json
from erasure_bench.bench.reporting.reading import read_document
from erasure_bench.bench.reporting.scores import RUN_COLUMNS
from erasure_bench.bench.reporting.tabled import OVERALL, Measured
from erasure_bench.bench.reporting.tables import whole
from erasure_bench.bench.statistics.cells import Cells, Groups
from erasure_bench.bench.statistics.intervals import change_intervals
from erasure_bench.bench.statistics.moments import moments
from erasure_bench.evaluators.base import Metric, by_role
from erasure_bench.prompt_suites.suite import Suite
from erasure_bench.prompt_suites.transformations.applying import transformed

SHARE = Metric("share", "share", "share", (0.0, 1.0), by_role("lower", "higher"), kind="share")
COUNT = Metric("count", "count", "detections", (0.0, 99.0), by_role("lower"), aggregate="sum")
FREE = Metric("free", "free", "cosine", (-1.0, 1.0), by_role("lower"), kind="free")
TYPOS = 2
"""How many rewritings each prompt has."""

Value = tuple[int, int, float]
"""prompt, image, value"""


def rows(
    values: Iterable[Value],
    role: str,
    metric: Metric,
    *,
    concept: str = "cat",
    method: str = "m",
    typo: int | None = None,
) -> list[tuple[Any, ...]]:
    mark = "" if typo is None else f"~{typo}"
    return [
        (method, concept, 0, role, "e", "k", False, f"{prompt}{mark}", image, metric.name, value, "ok", "")
        for prompt, image, value in values
    ]


def board(found: list[tuple[Any, ...]], metric: Metric, concepts: tuple[str, ...] = ("cat",)) -> list[Row]:
    frame = DataFrame(found, columns=list(RUN_COLUMNS))
    measured = Measured(
        methods=["base", "m"],
        baseline="base",
        roles={concept: ("target", "misspelt") for concept in concepts},
        metrics=[("e", metric)],
        seeds=[0],
        pictures={},
        rewrites={name: name.partition("~")[0] for name in frame["prompt_id"].unique() if "~" in name},
    )
    return build_leaderboard(frame, measured, [], {})


def one(found: list[Row], role: str, scope: str = "concept", concept: str = "cat", method: str = "m") -> Row:
    (row,) = [
        row
        for row in found
        if (row.role, row.scope, row.method) == (role, scope, method) and row.concept in (concept, OVERALL)
    ]
    return row


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(5)


def drawn(rng: np.random.Generator, mean: float, *, images: int = 2, prompts: int = 6) -> list[Value]:
    return [
        (prompt, image, float(rng.random() < mean)) for prompt in range(prompts) for image in range(images)
    ]


def test_the_gap_is_the_mean_of_the_paired_differences(rng: np.random.Generator) -> None:
    right, wrong = drawn(rng, 0.3), drawn(rng, 0.8)
    found = board(rows(right, "target", SHARE) + rows(wrong, "misspelt", SHARE, typo=0), SHARE)
    row = one(found, "misspelt")
    assert row.gap == pytest.approx(np.mean([w[2] - r[2] for w, r in zip(wrong, right, strict=True)]))
    assert (row.gap_pairs, row.gap_to, row.prompts, row.images) == (12, "target", 6, 12)
    target = one(found, "target")
    assert target.gap is None and target.gap_to is None and target.gap_pairs == 0
    assert one(found, "misspelt", method="base").gap is None  # nothing of it was drawn


@pytest.mark.parametrize("metric", [SHARE, FREE, COUNT], ids=lambda metric: metric.name)
def test_the_gaps_interval_is_that_of_a_paired_change(rng: np.random.Generator, metric: Metric) -> None:
    """The prompts are the clusters: all that rewrite one prompt are one of them."""
    right = [(prompt, image, float(rng.random() * 0.5)) for prompt in range(6) for image in range(2)]
    wrongs = [[(p, i, float(v + 0.3 * rng.random())) for p, i, v in right] for _ in range(TYPOS)]
    scores = rows(right, "target", metric)
    for typo, wrong in enumerate(wrongs):
        scores += rows(wrong, "misspelt", metric, typo=typo)
    row = one(board(scores, metric), "misspelt")

    def cells(values: list[float]) -> Cells:
        prompt = np.array([p for _ in wrongs for p, _, _ in right])
        none = np.zeros_like(prompt)
        made = Cells.of(none, prompt, none, np.array(values), 1)
        return made.summed(np.array([metric.aggregate == "sum"]))

    new = [v for wrong in wrongs for _, _, v in wrong]
    old = [v for _ in wrongs for _, _, v in right]
    difference = [a - b for a, b in zip(new, old, strict=True)]
    groups = Groups.alone(np.array([metric.aggregate == "sum"]))
    three = [moments(cells(values), groups) for values in (new, old, difference)]
    low, high = change_intervals(three[0], three[1], three[2], metric.scale, metric.ends)
    total = len(difference) if metric.aggregate == "sum" else 1
    assert row.gap == pytest.approx(np.mean(difference) * total)
    assert (row.gap_low, row.gap_high) == pytest.approx((float(low[0]), float(high[0])))
    assert row.gap_low is not None and row.gap_high is not None
    assert row.gap_low < np.mean(difference) * total < row.gap_high
    assert (row.prompts, row.gap_pairs) == (6, 24)


def test_more_typos_of_a_prompt_are_no_more_prompts(rng: np.random.Generator) -> None:
    """Copies of the same scores under other names make no interval narrower than a single one has."""
    wrong = drawn(rng, 0.6, images=1, prompts=12)
    once = one(board(rows(wrong, "misspelt", FREE, typo=0), FREE), "misspelt")
    copies = [row for typo in range(5) for row in rows(wrong, "misspelt", FREE, typo=typo)]
    many = one(board(copies + rows(wrong, "target", FREE), FREE), "misspelt")
    assert once.low is not None and many.low is not None
    assert many.low == pytest.approx(once.low) and many.prompts == 12


def test_without_its_source_a_picture_is_in_the_number_but_in_no_pair(rng: np.random.Generator) -> None:
    right, wrong = drawn(rng, 0.3), drawn(rng, 0.8)
    found = board(rows(right[:8], "target", SHARE) + rows(wrong, "misspelt", SHARE, typo=0), SHARE)
    row = one(found, "misspelt")
    assert (row.images, row.gap_pairs) == (12, 8)
    assert row.gap == pytest.approx(np.mean([w[2] - r[2] for w, r in zip(wrong, right[:8], strict=False)]))


def test_the_overall_gap_is_the_mean_over_concepts(rng: np.random.Generator) -> None:
    scores, gaps = [], []
    for concept in ("cat", "dog"):
        right, wrong = drawn(rng, 0.3), drawn(rng, 0.8, prompts=6)
        name = {"concept": concept}
        for part, role, typo in ((right, "target", None), (wrong, "misspelt", 0)):
            own = [(f"{concept}{p}", i, v) for p, i, v in part]
            scores += rows(own, role, SHARE, typo=typo, **name)  # type: ignore[arg-type]
        gaps.append(np.mean([w[2] - r[2] for w, r in zip(wrong, right, strict=True)]))
    row = one(board(scores, SHARE, ("cat", "dog")), "misspelt", scope="overall")
    assert row.gap == pytest.approx(np.mean(gaps))
    assert (row.gap_pairs, row.prompts) == (24, 12)


def named(plan: Plan, role: str) -> dict[str, list[int]]:
    """The seeds of a role's pictures, by prompt or by what it rewrites."""
    found: dict[str, list[int]] = {}
    for cell in plan.cells:
        for task in cell.generate:
            for image in task.images.images:
                if image.prompt.role == role:
                    found.setdefault(image.prompt.rewrites or image.prompt.id, []).append(image.seed)
    return found


@pytest.fixture
def suite(fake: ModuleType) -> Suite:
    return transformed(fake.tiny_suite(), ["misspelling:each=2"])


@pytest.mark.parametrize("limit", [None, 2])
def test_a_rewriting_has_the_noise_of_its_prompt_and_comes_with_it(
    fake: ModuleType, suite: Suite, limit: int | None
) -> None:
    plan = fake.tiny_plan(RunConfig(suite="tiny", methods=("dim",), limit=limit), suite)
    targets, typos = named(plan, "target"), named(plan, "misspelt")
    assert targets.keys() == typos.keys() and len(targets) == 2 * (limit or 4)
    assert {source: set(seeds) for source, seeds in typos.items()} == {
        source: set(seeds) for source, seeds in targets.items()
    }
    assert len(typos["red ball/t0"]) == 2 * len(targets["red ball/t0"])


def test_other_tasks_keep_their_ids(fake: ModuleType, suite: Suite) -> None:
    def ids(plan: Plan) -> set[str]:
        return {
            task.id for cell in plan.cells for task in cell.score if task.generate.images.role != "misspelt"
        }

    assert ids(fake.tiny_plan()) == ids(fake.tiny_plan(suite=suite))


def test_a_run_writes_the_list_and_shows_the_gap(fake: ModuleType, suite: Suite, tmp_path: Path) -> None:
    plan = fake.tiny_plan(suite=suite)
    fake.run(plan, tmp_path / "store", tmp_path / "out")
    listed = pd.read_csv(tmp_path / "out" / "rewritten.csv", keep_default_na=False)
    assert listed["prompt"].tolist() == [
        prompt.text for prompts in suite.prompts.values() for prompt in prompts if prompt.rewrites
    ]
    document = read_document(tmp_path / "out")
    text = (tmp_path / "out" / "leaderboard.md").read_text()
    assert "brightness − target" in text
    assert any("The list: rewritten.csv" in note for note in document["notes"])
    console = Console(width=120, record=True)
    console.print(whole(Board.from_json(document), 120))
    assert "brightness −" in console.export_text()

    fake.run(fake.tiny_plan(), tmp_path / "store", tmp_path / "out")  # the same folder, no transformation
    assert not (tmp_path / "out" / "rewritten.csv").exists()
    assert "− target" not in (tmp_path / "out" / "leaderboard.md").read_text()


def test_the_same_picture_has_no_gap(fake: ModuleType, suite: Suite, tmp_path: Path) -> None:
    """The fake worker draws by the noise alone: what differs between a prompt and its typo is nothing."""
    fake.run(fake.tiny_plan(suite=suite), tmp_path / "store", tmp_path / "out")
    gaps = [row["gap"] for row in read_document(tmp_path / "out")["rows"] if row["role"] == "misspelt"]
    assert gaps and set(gaps) == {0.0}


def test_a_suites_own_rewritings_are_compared_too(fake: ModuleType, tmp_path: Path) -> None:
    """No transformation is needed: a suite may bring paraphrases of its own."""
    tiny = fake.tiny_suite()
    prompts = {
        concept: (
            *own,
            *(
                dataclasses.replace(prompt, id=f"{prompt.id}/again", role="attack", rewrites=prompt.id)
                for prompt in own
                if prompt.role == "target"
            ),
        )
        for concept, own in tiny.prompts.items()
    }
    fake.run(
        fake.tiny_plan(suite=dataclasses.replace(tiny, prompts=prompts)),
        tmp_path / "store",
        tmp_path / "out",
    )
    found = [row for row in read_document(tmp_path / "out")["rows"] if row["gap"] is not None]
    assert {(row["role"], row["gap_to"]) for row in found} == {("attack", "target")}
    assert not (tmp_path / "out" / "rewritten.csv").exists()


def test_old_documents_without_gaps_are_still_shown(rng: np.random.Generator) -> None:
    found = board(rows(drawn(rng, 0.4), "target", SHARE), SHARE)
    old = [{key: value for key, value in to_json(row).items() if not key.startswith("gap")} for row in found]
    shown = Board(
        title="t",
        methods=("base", "m"),
        baseline="base",
        concepts=("cat",),
        rows=tuple(old),
        notes=(),
        failures=(),
    )
    assert columns_of(shown, old)
