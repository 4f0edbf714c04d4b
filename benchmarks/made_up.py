"""Plans of any size: a made-up suite, methods and evaluators, none of which can do anything.

A cell has 3 roles with 10 prompts each, which 2 evaluators look at: 10 tasks.
"""

from typing import NamedTuple

from erasure_bench.bench.planning.chosen import ChosenEvaluator, ChosenMethod
from erasure_bench.bench.planning.config import RunConfig
from erasure_bench.bench.planning.plan import Plan, make_plan
from erasure_bench.bench.planning.sizes import ModelSizes
from erasure_bench.evaluators.base import Metric, by_role
from erasure_bench.prompt_suites.concepts import Concept
from erasure_bench.prompt_suites.suite import Prompt, Protocol, Role, Suite

METHODS, SEEDS, PROMPTS, SIDE = 40, 5, 10, 16
ROLES: tuple[Role, ...] = ("target", "neighbour", "retention")
EVALUATORS = ("one", "two")
METRICS = (
    Metric("accuracy", "accuracy", "share", (0.0, 1.0), by_role("lower", "higher"), kind="share"),
    Metric("probability", "probability", "probability", (0.0, 1.0), by_role("lower", "higher")),
)


class Given(NamedTuple):
    """What a plan is made from."""

    suite: Suite
    methods: list[ChosenMethod]
    evaluators: list[ChosenEvaluator]


class Model(NamedTuple):
    """What a plan must know of the base model."""

    name: str = "made-up"
    digest: str = "0" * 64


def given(cells: int, methods_count: int = METHODS) -> Given:
    """What a plan of so many cells is made from."""
    return made(max(cells // (methods_count * SEEDS), 1), methods_count)


def made(concepts: int, methods_count: int, prompts: int = PROMPTS) -> Given:
    """What a plan of so many concepts, methods and prompts of each role is made from."""
    return Given(suite(concepts, prompts), methods(methods_count), evaluators())


def planned(made_from: Given) -> Plan:
    """The plan, with the ids of its tasks."""
    config = RunConfig(suite="made-up", seeds=tuple(range(SEEDS)))
    return make_plan(
        config, made_from.suite, Model(), ModelSizes(SIDE, SIDE), made_from.methods, made_from.evaluators
    )


def suite(concepts: int, prompts: int = PROMPTS) -> Suite:
    """Prompts of their own for each concept's target and neighbour; those of retention are shared."""
    named = [f"concept {number}" for number in range(concepts)]
    return Suite(
        name="made-up",
        version="1",
        title="Made up",
        description="",
        concepts=tuple(
            Concept(
                name=name,
                kind="object",
                targets=(name,),
                anchor="something",
                neighbours=tuple(f"{name} neighbour {number}" for number in range(5)),
                anchor_prompts=tuple(f"something, number {number}" for number in range(10)),
            )
            for name in named
        ),
        prompts={name: tuple(_prompts(name, prompts)) for name in named},
        protocol=Protocol(scheduler="ddim", steps=50, guidance_scale=7.5),
        evaluators=EVALUATORS,
        model="made-up",
    )


def _prompts(concept: str, count: int) -> list[Prompt]:
    return [
        Prompt(id=f"{own}/{role}/{number}", text=f"{own} {role} {number}", role=role, subject=own, label=own)
        for role in ROLES
        for number in range(count)
        for own in ["something" if role == "retention" else concept]
    ]


def methods(count: int = METHODS) -> list[ChosenMethod]:
    """The baseline and made-up ones with a dozen settings each."""
    settings = {f"setting_{number}": number / 10 for number in range(12)}
    names = ["none", *(f"method-{number}" for number in range(1, count))]
    return [
        ChosenMethod(
            name=name,
            preset="official",
            options={},
            settings_class=name,
            settings=settings if place else {},
            defaults={},
            presets=("official",),
            code=f"{name} 1",
        )
        for place, name in enumerate(names)
    ]


def evaluators() -> list[ChosenEvaluator]:
    """Made-up ones with a dozen settings each."""
    protocol = {f"setting_{number}": "value" for number in range(12)}
    return [
        ChosenEvaluator(
            name=name,
            preset=None,
            settings={},
            options={},
            protocol={**protocol, "name": name},
            metrics=METRICS,
            code=f"{name} 1",
        )
        for name in EVALUATORS
    ]
