"""From a config to cells and tasks. Nothing here draws, trains, loads weights or writes a result."""

import gc
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Protocol, get_args

from erasure_bench.bench.identity.code import code_of_part
from erasure_bench.bench.identity.ids import content_id, each_spelt_once, plain_id
from erasure_bench.bench.planning.attacks import (
    ChosenAttack,
    attack_scores,
    attack_tasks,
    unrelated_case,
)
from erasure_bench.bench.planning.bases import BaseFacts
from erasure_bench.bench.planning.cases import TOGETHER, Case, pick_cases
from erasure_bench.bench.planning.chosen import BASELINE, ChosenEvaluator, ChosenMethod
from erasure_bench.bench.planning.config import RunConfig
from erasure_bench.bench.planning.sizes import ModelSizes, scaled_side
from erasure_bench.bench.planning.tasks import (
    EraseTask,
    FeatureTask,
    FolderPictures,
    GenerateTask,
    PlannedImage,
    PlannedImages,
    ScoreTask,
    Task,
    TaskKind,
)
from erasure_bench.bench.storage.store import Store
from erasure_bench.errors import BenchError
from erasure_bench.models.seeds import image_seed
from erasure_bench.prompt_suites.concepts import Concept
from erasure_bench.prompt_suites.suite import ROLES, Prompt, Role, Suite

IMAGES_PER_TASK = 64
"""A kill loses at most this many pictures; a role's pictures are shared by all that ask for the same."""


class BaseModel(Protocol):
    """What the plan must know of the base model (`models.zoo.ModelSource` has it)."""

    @property
    def name(self) -> str: ...

    @property
    def digest(self) -> str: ...


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One method erasing one concept of the suite, or several together, with one seed.

    `assaults` are the attacks on its edit, and on an edit of an unrelated concept, with what these need, and
    the scores of both.
    """

    method: ChosenMethod
    case: Case
    seed: int
    erase: EraseTask
    generate: tuple[GenerateTask, ...]
    score: tuple[ScoreTask, ...]
    features: tuple[FeatureTask, ...] = ()
    assaults: tuple[Task, ...] = ()

    @property
    def concept(self) -> Concept:
        """The concept that is measured."""
        return self.case.concept

    @cached_property
    def id(self) -> str:
        """Hash of the cell's tasks: two cells with one id have the same scores."""
        return plain_id(sorted(task.id for task in self.tasks))

    @cached_property
    def model(self) -> str:
        """Names the edited model: that of another seed is the same where the seed changes nothing."""
        return self.erase.id if self.method.uses_seed else self.erase.whatever_seed

    @property
    def title(self) -> str:
        """How messages name the cell."""
        return f"{self.method.name} · {self.case.name} · seed {self.seed}"

    @property
    def tasks(self) -> tuple[Task, ...]:
        """All of the cell's tasks, in an order in which they can be done."""
        edits = (*self.erase.earlier, self.erase)
        return (*edits, *self.generate, *self.score, *self.features, *self.assaults)


@dataclass(frozen=True, kw_only=True)
class Missing:
    """How much of a plan is not in the store yet."""

    tasks: Mapping[TaskKind, int]
    images: int


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything a run does. Cells are ordered so that those that share an edit stand together.

    `bases` says what must be known of the base models, the run's own first.
    """

    config: RunConfig
    suite: Suite
    model: BaseModel
    sizes: ModelSizes
    methods: tuple[ChosenMethod, ...]
    evaluators: tuple[ChosenEvaluator, ...]
    cases: tuple[Case, ...]
    cells: tuple[Cell, ...]
    attacks: tuple[ChosenAttack, ...] = ()
    bases: tuple[BaseFacts, ...] = ()

    @cached_property
    def tasks(self) -> tuple[Task, ...]:
        """Every task once."""
        return tuple({task.id: task for cell in self.cells for task in cell.tasks}.values())

    @cached_property
    def id(self) -> str:
        """Hash of the tasks: two plans with one id give the same scores."""
        return plain_id(sorted(task.id for task in self.tasks))

    @property
    def prompts(self) -> tuple[Prompt, ...]:
        """Every prompt that is drawn, once."""
        shared = {id(task.images): task.images for cell in self.cells for task in cell.generate}
        prompts = (image.prompt for images in shared.values() for image in images.images)
        return tuple({prompt.id: prompt for prompt in prompts}.values())

    @property
    def images(self) -> int:
        """Pictures that the plan needs, each counted once."""
        return sum(len(task.images) for task in self.tasks if isinstance(task, GenerateTask))

    def unfinished(self, store: Store) -> tuple[Task, ...]:
        """The tasks that are not in the store.

        Edits and pictures are results of their own: they are wanted even where all scores are there.
        """
        lacking = store.lacking((task.kind, task.id) for task in self.tasks)
        return tuple(task for task in self.tasks if task.id in lacking) if lacking else ()

    def missing(self, store: Store) -> Missing:
        """How much is still to be done; see `unfinished`."""
        todo = self.unfinished(store)
        count = Counter(task.kind for task in todo)
        return Missing(
            tasks={kind: count[kind] for kind in get_args(TaskKind)},
            images=sum(len(task.images) for task in todo if isinstance(task, GenerateTask)),
        )


def make_plan(
    config: RunConfig,
    suite: Suite,
    model: BaseModel,
    sizes: ModelSizes,
    methods: Sequence[ChosenMethod],
    evaluators: Sequence[ChosenEvaluator],
    general_prompts: Sequence[str] = (),
    attacks: Sequence[ChosenAttack] = (),
) -> Plan:
    """Cells in the order method, concept, seed, and their tasks.

    `general_prompts` are for the methods that ask for them. Raises UnknownName for a concept that
    the suite does not have, BenchError for a method that cannot erase concepts together.
    """
    cases = pick_cases(suite, config.concepts)
    _check_together(methods, cases)
    pictures = {
        (case.name, seed): _generate_groups(config, suite, case, seed, sizes)
        for case in cases
        for seed in config.seeds
    }
    with each_spelt_once(), _nothing_collected():
        cells = _cells(
            config,
            suite,
            model,
            methods,
            evaluators,
            cases,
            pictures,
            content_id(list(general_prompts)),
            attacks,
        )
    return Plan(
        config=config,
        suite=suite,
        model=model,
        sizes=sizes,
        methods=tuple(methods),
        evaluators=tuple(evaluators),
        cases=cases,
        cells=cells,
        attacks=tuple(attacks),
    )


def _cells(
    config: RunConfig,
    suite: Suite,
    model: BaseModel,
    methods: Sequence[ChosenMethod],
    evaluators: Sequence[ChosenEvaluator],
    cases: Sequence[Case],
    pictures: Mapping[tuple[str, int], tuple[PlannedImages, ...]],
    general: str,
    attacks: Sequence[ChosenAttack],
) -> tuple[Cell, ...]:
    """With the ids of all tasks known."""
    sampling = code_of_part("sampler")
    cells = []
    by_base: dict[tuple[str, int], _ByBase] = {}
    for method in methods:
        for case in cases:
            for seed in config.seeds:
                erase = _erase_task(config, model, method, case, seed, general)
                generate = tuple(
                    GenerateTask(
                        erase=erase,
                        images=images,
                        scheduler=suite.protocol.scheduler,
                        steps=suite.protocol.steps,
                        eta=suite.protocol.eta,
                        code=sampling,
                    )
                    for images in pictures[case.name, seed]
                )
                if (case.name, seed) not in by_base:  # the first method is the base model
                    by_base[case.name, seed] = _ByBase(generate, tuple((task,) for task in generate))
                assaults: tuple[Task, ...] = ()
                if attacks:
                    other = None if method.fixed else unrelated_case(suite, cases, case)
                    unrelated = (
                        None if other is None else _erase_task(config, model, method, other, seed, general)
                    )
                    base = by_base[case.name, seed].all
                    drawn = attack_tasks(attacks, case, seed, erase, unrelated, generate, base, general)
                    measured = attack_scores(drawn, case, evaluators, base)
                    assaults = (*([unrelated] if unrelated else ()), *drawn, *measured)
                cells.append(
                    Cell(
                        method=method,
                        case=case,
                        seed=seed,
                        erase=erase,
                        generate=generate,
                        score=_score_tasks(evaluators, case, generate, by_base[case.name, seed]),
                        features=_feature_tasks(evaluators, generate),
                        assaults=assaults,
                    )
                )
    for cell in cells:
        for task in cell.tasks:
            assert task.id
    return tuple(cells)


@contextmanager
def _nothing_collected() -> Iterator[None]:
    """Keeps Python from looking for garbage among the millions of objects of a large plan: there is none."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def with_baseline(names: Sequence[str]) -> tuple[str, ...]:
    """The methods with the base model's own row first."""
    return (BASELINE, *(name for name in names if name != BASELINE))


def planned_images(
    suite: Suite, prompts: Sequence[Prompt], seed: int, sizes: ModelSizes
) -> tuple[PlannedImage, ...]:
    """The pictures of these prompts, `images_per_prompt` of each, the prompt's own or the protocol's.

    `seed` is the run's, which counts for prompts without one of their own.
    """
    protocol = suite.protocol
    reference = suite.reference_resolution
    return tuple(
        PlannedImage(
            prompt=prompt,
            image_index=index,
            seed=_seed(suite, prompt, index, seed),
            guidance_scale=protocol.guidance_scale
            if prompt.guidance_scale is None
            else prompt.guidance_scale,
            height=scaled_side(prompt.height or protocol.height, reference, sizes),
            width=scaled_side(prompt.width or protocol.width, reference, sizes),
        )
        for prompt in prompts
        for index in range(protocol.images_of(prompt))
    )


def _seed(suite: Suite, prompt: Prompt, index: int, run_seed: int) -> int:
    """The first picture of a prompt with a seed of its own has that one.

    All others get one from suite, prompt, image index and the prompt's own seed, else the run's: with
    seed + 1, + 2 the pictures of one text under the seeds 1, 2, 3 would be one another's. A prompt that
    rewrites another has that one's.
    """
    if prompt.seed is not None and index == 0:
        return prompt.seed
    source = run_seed if prompt.seed is None else prompt.seed
    return image_seed(suite.name, prompt.rewrites or prompt.id, index, source)


def _generate_groups(
    config: RunConfig, suite: Suite, case: Case, seed: int, sizes: ModelSizes
) -> tuple[PlannedImages, ...]:
    """The case's pictures, role by role, at most `IMAGES_PER_TASK` together."""
    groups = []
    asked = _first(case.prompts(suite), config.limit)
    for role in ROLES:
        images = planned_images(suite, [prompt for prompt in asked if prompt.role == role], seed, sizes)
        groups += [
            PlannedImages(role=role, images=images[start : start + IMAGES_PER_TASK])
            for start in range(0, len(images), IMAGES_PER_TASK)
        ]
    if not groups:
        raise BenchError(f"suite {suite.name} has no prompts for {case.name}")
    return tuple(groups)


def _first(prompts: Sequence[Prompt], limit: int | None) -> list[Prompt]:
    """The first `limit` prompts of each role, and all that rewrite one of these.

    So no misspelt prompt is drawn without the one that it is compared with.
    """
    count: Counter[Role] = Counter()
    chosen = set()
    for prompt in prompts:
        if prompt.rewrites is None:
            count[prompt.role] += 1
            if limit is None or count[prompt.role] <= limit:
                chosen.add(prompt.id)
    return [prompt for prompt in prompts if (prompt.rewrites or prompt.id) in chosen]


def _erase_task(
    config: RunConfig, model: BaseModel, method: ChosenMethod, case: Case, seed: int, general: str
) -> EraseTask:
    """The last request's, where there are several in turn."""
    requests = [(concept,) for concept in case.erased] if case.in_turn else [case.erased]
    after: EraseTask | None = None
    for concepts in [()] if method.fixed else requests:
        after = EraseTask(
            method=method.name,
            settings_class=method.settings_class,
            settings=method.settings,
            defaults=method.defaults,
            code=method.code,
            base=(method.base or model).digest,
            concepts=concepts,
            seed=None if method.fixed else seed,
            dtype=config.dtype,
            general_prompts=general if method.general_prompts else None,
            after=after,
        )
    assert after is not None
    return after


class _ByBase(NamedTuple):
    """What the base model draws for a case and seed: all of it, and each task alone."""

    all: tuple[GenerateTask, ...]
    each: tuple[tuple[GenerateTask], ...]

    def compared_with(self, evaluator: ChosenEvaluator, place: int) -> tuple[GenerateTask, ...]:
        """What the evaluator is shown beside the task at this place of a cell."""
        if evaluator.compares_with is None:
            return ()
        return self.all if evaluator.compares_with == "concept" else self.each[place]


def _score_tasks(
    evaluators: Sequence[ChosenEvaluator], case: Case, generate: tuple[GenerateTask, ...], by_base: _ByBase
) -> tuple[ScoreTask, ...]:
    """Of the cell's pictures, for each evaluator of pictures."""
    return tuple(
        ScoreTask(
            generate=task,
            concept=case.concept,
            evaluator=evaluator.name,
            protocol=evaluator.protocol,
            code=evaluator.code,
            base=by_base.compared_with(evaluator, place),
        )
        for evaluator in evaluators
        if evaluator.of_sets is None
        for place, task in enumerate(generate)
    )


def _feature_tasks(
    evaluators: Sequence[ChosenEvaluator], generate: tuple[GenerateTask, ...]
) -> tuple[FeatureTask, ...]:
    """Of the cell's pictures and of the folders they are compared with, for each evaluator of sets."""
    found = []
    for evaluator in evaluators:
        if (of_sets := evaluator.of_sets) is not None:
            pictures: tuple[GenerateTask | FolderPictures, ...] = (*generate, *of_sets.folder)
            found += [
                FeatureTask(
                    pictures=each, evaluator=evaluator.name, protocol=of_sets.protocol, code=of_sets.code
                )
                for each in pictures
            ]
    return tuple(found)


def _check_together(methods: Sequence[ChosenMethod], cases: Sequence[Case]) -> None:
    together = next((case.erased for case in cases if len(case.erased) > 1 and not case.in_turn), ())
    unable = [method.name for method in methods if not (method.many_concepts or method.fixed)]
    if together and unable:
        names = TOGETHER.join(concept.name for concept in together)
        raise BenchError(
            f"{', '.join(unable)}: one concept at a time, so {names} cannot be erased together: leave the "
            "method out (--methods) or erase the concepts one by one (--concepts, a comma between them)"
        )
