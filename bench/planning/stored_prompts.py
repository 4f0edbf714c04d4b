"""A suite's own prompts of the role attack, which others found: what is drawn beside them.

They are drawn like all of the suite's prompts. Beside them stand their control, random tokens in the place of
theirs, and the same prompts on an edit of an unrelated concept.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from erasure_bench.bench.planning.cases import Case
from erasure_bench.bench.planning.tasks import EraseTask, GenerateTask, PlannedImage, PlannedImages
from erasure_bench.prompt_suites.suite import Role, Suite

STORED = "stored prompts"
"""What they are called in tables."""
CONTROL = "random-tokens"
"""The attack that is their control, and of nothing else."""
ROLE: Role = "attack"


def most_pictures(suite: Suite, cases: Iterable[Case]) -> int:
    """Of a stored prompt of these cases; 0 where there is none.

    One that a transformation wrote of another is none by itself: it stands beside that other one.
    """
    prompts = [prompt for case in cases for prompt in case.prompts(suite) if prompt.role == ROLE]
    if not any(prompt.rewrites is None for prompt in prompts):
        return 0
    return max(suite.protocol.images_of(prompt) for prompt in prompts)


def stored(tasks: Iterable[GenerateTask]) -> list[GenerateTask]:
    """Those that draw stored prompts."""
    return [task for task in tasks if task.images.role == ROLE]


def on_unrelated(tasks: Iterable[GenerateTask], unrelated: EraseTask) -> list[GenerateTask]:
    """The stored prompts of the cell on the edit of an unrelated concept: the same pictures otherwise."""
    return [dataclasses.replace(task, erase=unrelated) for task in stored(tasks)]


def control_lots(
    like: Sequence[GenerateTask], shown: Sequence[GenerateTask], tries: int, prompts: int
) -> Iterator[tuple[PlannedImages, tuple[GenerateTask, ...]]]:
    """For the control: `prompts` stored prompts at a time, `tries` pictures of each with its own noise.

    Beside each lot the base model's tasks that draw its prompts' first pictures. A prompt that has fewer
    pictures of its own gets more tries than it has pictures, with its first one's noise: who compares leaves
    them out.
    """
    drawn = [
        (image, base)
        for task, base in zip(like, shown, strict=True)
        if task.images.role == ROLE
        for image in task.images.images
    ]
    of_prompt = [list(those) for _, those in groupby(drawn, key=lambda each: each[0].prompt.id)]
    for start in range(0, len(of_prompt), prompts):
        lot = of_prompt[start : start + prompts]
        images = tuple(_numbered([image for image, _ in those], tries) for those in lot)
        known = {base.id: base for those in lot for image, base in those if image.image_index == 0}
        yield (
            PlannedImages(role=ROLE, images=tuple(image for each in images for image in each)),
            tuple(known.values()),
        )


def _numbered(images: Sequence[PlannedImage], tries: int) -> list[PlannedImage]:
    more = (dataclasses.replace(images[0], image_index=number) for number in range(len(images), tries))
    return [*images, *more]
