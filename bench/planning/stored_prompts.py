"""A suite's own prompts of the role attack, which others found: what is drawn beside them.

They are drawn like all of the suite's prompts. Beside them stand their control, random tokens in the place of
theirs, and the same prompts on an edit of an unrelated concept.
"""

from collections.abc import Iterable

from erasure_bench.bench.planning.cases import Case
from erasure_bench.bench.planning.tasks import GenerateTask
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
