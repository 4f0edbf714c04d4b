"""Who draws no pictures does not win: noise, broken weights, blur and one copied picture are marked.

Every entrant draws the same prompts as the base model and is scored and judged as a run's methods are. What
no edit of a model can do, blur each picture or copy one, is done to the base model's pictures.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
from scipy.ndimage import gaussian_filter

from erasure_bench.bench.reporting.collapsed import collapsed_methods
from erasure_bench.bench.reporting.leaderboard import Row, rows_of
from erasure_bench.bench.reporting.scores import RUN_COLUMNS
from erasure_bench.bench.reporting.tabled import Measured, tabled
from erasure_bench.bench.reporting.verdicts import judged
from erasure_bench.evaluators.base import ComparingEvaluator, Evaluator, ImageSet, Picture, Pixels, scored
from erasure_bench.evaluators.classifier import ClassProbability
from erasure_bench.evaluators.coherence import Coherence
from erasure_bench.evaluators.distance import DistanceToBase
from erasure_bench.evaluators.diversity import Diversity
from erasure_bench.methods.base import EraseContext
from erasure_bench.methods.edit import Edit, applied
from erasure_bench.methods.registry import build_method
from erasure_bench.models.diffusion_model import DiffusionModel
from erasure_bench.models.guidance import ClassifierFree, Guidance
from erasure_bench.models.sampling import ImageRequest, sample
from erasure_bench.models.seeds import image_seed
from erasure_bench.prompt_suites.general import general_prompts
from erasure_bench.prompt_suites.registry import load_suite
from erasure_bench.prompt_suites.suite import Prompt, Role

pytestmark = pytest.mark.slow
"""A minute to draw all that the entrants draw."""

SUITE = load_suite("microworld-instances")
CONCEPT = SUITE.concepts[0]
OF_ROLE: Mapping[Role, int] = {"target": 12, "anchor": 6, "neighbour": 8, "retention": 8}
REFERENCE = 16
"""Of each role the base model draws so many: the range of a model is not seen on a few pictures."""
BASE = "none"
EVALUATORS: Mapping[str, Evaluator | ComparingEvaluator] = {
    "classifier": ClassProbability(model="microworld"),
    "distance": DistanceToBase(),
    "coherence": Coherence(),
    "diversity": Diversity(),
}
FILE = Path(__file__).with_name("noise.py")
Pictures = Mapping[Role, ImageSet]


def prompts(role: Role, count: int) -> tuple[Prompt, ...]:
    return tuple(prompt for prompt in SUITE.prompts[CONCEPT.name] if prompt.role == role)[:count]


def draw(model: DiffusionModel, guidance: Guidance, counts: Mapping[Role, int] = OF_ROLE) -> Pictures:
    """The suite's own prompts, noises and protocol."""
    protocol, side = SUITE.protocol, model.resolution
    every = [prompt for role, count in counts.items() for prompt in prompts(role, count)]
    requests = [
        ImageRequest(
            prompt.text, image_seed(SUITE.name, prompt.id, 0, 0), protocol.guidance_scale, side, side
        )
        for prompt in every
    ]
    pixels = sample(
        model, requests, scheduler=protocol.scheduler, steps=protocol.steps, guidance=guidance, batch_size=40
    )
    return by_role(Picture(prompt, 0, each) for prompt, each in zip(every, pixels, strict=True))


def by_role(pictures: Iterable[Picture]) -> Pictures:
    every = tuple(pictures)
    return {
        role: ImageSet(CONCEPT, tuple(each for each in every if each.prompt.role == role)) for role in OF_ROLE
    }


def edited(model: DiffusionModel, name: str, preset: str | None = None, **options: str) -> Pictures:
    method = build_method(name, preset or "official", options)
    context = EraseContext(seed=0, general_prompts=general_prompts("microworld"))
    edit: Edit = method.erase(model, (CONCEPT,), context)
    with applied(model, edit) as guidance:
        return draw(model, guidance)


def draw_base(model: DiffusionModel) -> Pictures:
    return draw(model, ClassifierFree(), dict.fromkeys(OF_ROLE, REFERENCE))


def as_many(base: Pictures) -> Pictures:
    """As many of the base model's pictures as an entrant draws."""
    return {role: replace(images, pictures=images.pictures[: OF_ROLE[role]]) for role, images in base.items()}


def of_base(base: Pictures, change: Callable[[Pixels], Pixels]) -> Pictures:
    return {
        role: replace(
            images, pictures=tuple(each._replace(pixels=change(each.pixels)) for each in images.pictures)
        )
        for role, images in base.items()
    }


def blurred(pixels: Pixels) -> Pixels:
    return np.clip(gaussian_filter(pixels.astype(float), (2, 2, 0)).round(), 0, 255).astype(np.uint8)


class Board(NamedTuple):
    rows: list[Row]
    collapsed: Mapping[str, str]

    def value(self, method: str, role: Role, metric: str) -> float:
        (row,) = self._rows(method, role, metric)
        assert row.value is not None
        return row.value

    def winners(self) -> set[str]:
        """Who is among the best of some column, or first in it."""
        return {row.method for row in self.rows if row.best or row.rank == 1}

    def met(self, method: str) -> list[Row]:
        return [row for row in self.rows if row.method == method and row.verdict == "met"]

    def _rows(self, method: str, role: Role, metric: str) -> list[Row]:
        wanted = (method, "overall", role, metric)
        return [row for row in self.rows if (row.method, row.scope, row.role, row.metric) == wanted]


def board(base: Pictures, entrants: Mapping[str, Pictures]) -> Board:
    """The leaderboard of these pictures, as a run makes it; `base` has more of them than the entrants."""
    same = {role: replace(images, pictures=images.pictures[: OF_ROLE[role]]) for role, images in base.items()}
    every = {BASE: same, **entrants}
    whole = ImageSet(CONCEPT, tuple(each for images in base.values() for each in images.pictures))
    frames = []
    for method, pictures in every.items():
        for role, images in pictures.items():
            for name, evaluator in EVALUATORS.items():
                shown = whole if name == "coherence" else base[role]
                frames.append(
                    scored(evaluator, images, shown).values.assign(
                        method=method,
                        concept=CONCEPT.name,
                        seed=0,
                        role=role,
                        evaluator=name,
                        evaluator_protocol="p",
                        repeated=False,
                    )
                )
    measured = Measured(
        methods=list(every),
        baseline=BASE,
        roles={CONCEPT.name: tuple(OF_ROLE)},
        metrics=[(name, metric) for name, evaluator in EVALUATORS.items() for metric in evaluator.metrics],
        seeds=(0,),
        pictures={(method, CONCEPT.name, role): OF_ROLE[role] for method in every for role in OF_ROLE},
    )
    table = tabled(pd.concat(frames, ignore_index=True)[list(RUN_COLUMNS)], measured)
    rows = judged(table, rows_of(table, (), {}))
    return Board(rows, collapsed_methods(rows))


@pytest.fixture(scope="module")
def found(microworld: DiffusionModel) -> Board:
    base = draw_base(microworld)
    drawn = as_many(base)
    copied = drawn["anchor"].pictures[0].pixels
    return board(
        base,
        {
            "uce": edited(microworld, "uce", "microworld"),
            "refuses": edited(microworld, f"{FILE}:RefusesWithNoise"),
            "predicts nothing": edited(microworld, f"{FILE}:PredictsNothing"),
            "zero weights": edited(microworld, f"{FILE}:BreaksWeights", factor="0"),
            "random weights": edited(microworld, f"{FILE}:BreaksWeights"),
            "blur": of_base(drawn, blurred),
            "copies": of_base(drawn, lambda _: copied),
        },
    )


CHEATS = ("refuses", "predicts nothing", "zero weights", "random weights", "blur", "copies")


@pytest.mark.parametrize("cheat", CHEATS)
def test_who_draws_no_pictures_is_marked_meets_no_bar_and_wins_nothing(found: Board, cheat: str) -> None:
    assert cheat in found.collapsed, "marked in every table"
    assert found.met(cheat) == [] and cheat not in found.winners()


def test_an_honest_method_is_not_marked(found: Board) -> None:
    assert set(found.collapsed) == set(CHEATS)
    assert found.value("uce", "target", "incoherent") < 0.1
    assert found.value("uce", "retention", "coherence") > 0.7


def test_the_refuser_would_have_won_without_the_mark(found: Board) -> None:
    """Its numbers are those of the best eraser: the concept gone, all else the base model's own."""
    assert found.value("refuses", "target", "class_accuracy") <= 0.1
    assert found.value("refuses", "neighbour", "class_accuracy") >= 0.9
    assert found.value("refuses", "neighbour", "ssim_distance") <= 0.1


def test_what_is_there_instead_is_seen(found: Board) -> None:
    assert found.value("uce", "target", "known_share") > 0.8
    assert found.value("refuses", "target", "coherence") < 0.5 < found.value("uce", "target", "coherence")
    if any(row.metric == "nothing_share" for row in found.rows):  # others take noise for something
        assert found.value("refuses", "target", "nothing_share") > 0.7
        assert found.value("refuses", "target", "known_share") < 0.3


def test_blur_costs_in_the_kept_roles_though_every_label_is_still_there(found: Board) -> None:
    assert found.value("blur", "neighbour", "class_accuracy") >= 0.7
    assert found.value("blur", "neighbour", "ssim_distance") > 0.1
    assert found.value("blur", "neighbour", "coherence") < found.value("none", "neighbour", "coherence") - 0.2


@pytest.mark.parametrize("method", ["esd-x", "sa"])
def test_trained_methods_are_not_marked(microworld: DiffusionModel, method: str) -> None:
    base = draw_base(microworld)

    assert board(base, {method: edited(microworld, method, "microworld")}).collapsed == {}
