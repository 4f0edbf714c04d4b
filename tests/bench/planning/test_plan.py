"""The plan: which cells, which pictures, what is shared."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from erasure_bench.bench.planning.config import RunConfig
from erasure_bench.bench.planning.plan import IMAGES_PER_TASK, planned_images, with_baseline
from erasure_bench.bench.planning.sizes import ModelSizes, model_sizes, scaled_side
from erasure_bench.bench.planning.tasks import GenerateTask
from erasure_bench.models.diffusion_model import DiffusionModel
from erasure_bench.models.seeds import image_seed
from erasure_bench.prompt_suites.suite import Prompt


def test_a_cell_for_each_method_concept_and_seed(fake: ModuleType) -> None:
    plan = fake.tiny_plan(RunConfig(suite="tiny", methods=("dim",), seeds=(0, 3)))
    assert Counter(cell.method.name for cell in plan.cells) == {"none": 4, "dim": 4}
    assert {(cell.concept.name, cell.seed) for cell in plan.cells} == {
        (concept, seed) for concept in ("red ball", "Blue Cube") for seed in (0, 3)
    }


def test_the_baseline_is_one_edit_and_its_retention_pictures_are_drawn_once(fake: ModuleType) -> None:
    plan = fake.tiny_plan()
    base = [cell for cell in plan.cells if cell.method.is_baseline]
    assert len({cell.erase.id for cell in base}) == 1
    kept = {task.id for cell in base for task in cell.generate if task.images.role == "retention"}
    assert len(kept) == 1
    erased = [cell for cell in plan.cells if not cell.method.is_baseline]
    assert len({cell.erase.id for cell in erased}) == len(erased)
    # 8 pictures a role; base: 2 concepts x 2 own roles + 1 shared; the method: 2 x 3
    assert plan.images == 8 * (5 + 6)


def test_seeds_that_change_nothing_name_one_edited_model(fake: ModuleType) -> None:
    methods = [fake.method("none"), fake.method("dim"), replace(fake.method("solved"), uses_seed=False)]
    concepts = ("red-ball", "red-ball>blue-cube")
    plan = fake.tiny_plan(RunConfig(suite="tiny", seeds=(0, 3), concepts=concepts), methods=methods)
    models: dict[tuple[str, str], set[str]] = {}
    for cell in plan.cells:
        models.setdefault((cell.method.name, cell.case.name), set()).add(cell.model)
    assert {method: len(found) for (method, _), found in models.items()} == {"none": 1, "dim": 2, "solved": 1}
    of_cases = [*models["solved", "red ball"], *models["solved", "red ball (in turn: red ball, Blue Cube)"]]
    assert len(set(of_cases)) == 2


def test_no_task_draws_more_than_its_share_or_mixes_roles(fake: ModuleType) -> None:
    plan = fake.tiny_plan(suite=fake.tiny_suite(prompts=40, images_per_prompt=3))
    tasks = [task for task in plan.tasks if isinstance(task, GenerateTask)]
    assert max(len(task.images) for task in tasks) == IMAGES_PER_TASK
    for task in tasks:
        assert {image.prompt.role for image in task.images.images} == {task.images.role}
    cell = plan.cells[0]
    asked = [(i.prompt.id, i.image_index) for task in cell.generate for i in task.images.images]
    assert len(asked) == len(set(asked)) == 40 * 3 * 3


def test_seeds_come_from_the_prompt_or_from_suite_prompt_index_and_run(fake: ModuleType) -> None:
    suite = fake.tiny_suite()
    sizes = ModelSizes(8, 8)
    prompt = Prompt(id="x", text="x", role="target", subject="x")
    first, second = planned_images(suite, [prompt], 7, sizes)
    assert (first.seed, second.seed) == (image_seed("tiny", "x", 0, 7), image_seed("tiny", "x", 1, 7))
    own = planned_images(suite, [replace(prompt, seed=100)], 7, sizes)
    assert [image.seed for image in own] == [100, image_seed("tiny", "x", 1, 100)]
    assert own == planned_images(suite, [replace(prompt, seed=100)], 8, sizes), "whatever the run's seed"


def test_one_text_under_neighbouring_seeds_gives_no_picture_twice(fake: ModuleType) -> None:
    """As MACE's prompts have it: the second picture under seed 1 was the first one under seed 2."""
    suite = fake.tiny_suite(images_per_prompt=10)
    prompts = [Prompt(id=f"{seed}", text="x", role="target", subject="x", seed=seed) for seed in range(1, 6)]
    seeds = [image.seed for image in planned_images(suite, prompts, 0, ModelSizes(8, 8))]
    assert len(set(seeds)) == len(seeds) == 50
    assert seeds[::10] == [1, 2, 3, 4, 5]


def test_every_method_draws_from_the_same_noise(fake: ModuleType) -> None:
    plan = fake.tiny_plan()
    by_cell = {
        (cell.method.name, cell.concept.name): [task.images for task in cell.generate] for cell in plan.cells
    }
    for concept in ("red ball", "Blue Cube"):
        assert by_cell["none", concept] == by_cell["dim", concept]


@pytest.mark.parametrize(
    ("side", "reference", "resolution", "multiple", "expected"),
    [
        (512, 512, 64, 16, 64),
        (768, 512, 64, 16, 96),
        (832, 512, 64, 16, 112),  # 104 lies between 96 and 112: halves go up
        (600, 512, 64, 16, 80),  # 75
        (None, 512, 64, 16, 64),
        (512, 512, 512, 64, 512),
        (768, 512, 768, 64, 1152),
        (8, 512, 64, 16, 16),  # never nothing
        (100, None, 64, 16, 96),
    ],
)
def test_sizes_are_scaled_to_the_model_and_rounded(
    side: int | None, reference: int | None, resolution: int, multiple: int, expected: int
) -> None:
    assert scaled_side(side, reference, ModelSizes(resolution, multiple)) == expected


def test_sizes_read_from_configs_are_the_loaded_models_own(
    tiny_model_dir: Path, tiny_taesd_model_dir: Path
) -> None:
    for folder in (tiny_model_dir, tiny_taesd_model_dir):
        model = DiffusionModel.from_directory(folder)
        assert model_sizes(folder) == (model.resolution, model.size_multiple)


def test_limit_keeps_the_first_prompts_of_each_role(fake: ModuleType) -> None:
    plan = fake.tiny_plan(RunConfig(suite="tiny", methods=("dim",), limit=1))
    for cell in plan.cells:
        assert [task.images.role for task in cell.generate] == ["target", "anchor", "retention"]
        assert all(len({i.prompt.id for i in task.images.images}) == 1 for task in cell.generate)


def test_the_baseline_comes_first_and_once() -> None:
    assert with_baseline(["a", "none", "b"]) == ("none", "a", "b")
    assert with_baseline(["a"]) == ("none", "a")
