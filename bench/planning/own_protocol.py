"""What a run changes in its suite's protocol, for every row: pictures of a prompt, scheduler, steps."""

import dataclasses

from erasure_bench.bench.planning.config import RunConfig
from erasure_bench.errors import BenchError
from erasure_bench.prompt_suites.suite import Protocol, Suite


def with_own_protocol(suite: Suite, config: RunConfig) -> Suite:
    """The suite with `--images`, `--scheduler` and `--steps`, as far as they are said.

    Raises BenchError where they do not go together: an η that the scheduler does not have, too few steps,
    seeds that run out.
    """
    if config.images is not None:
        suite = _with_images(suite, config.images)
    scheduler, steps = config.scheduler or suite.protocol.scheduler, config.steps or suite.protocol.steps
    try:
        protocol = dataclasses.replace(suite.protocol, scheduler=scheduler, steps=steps)
    except ValueError as error:
        raise BenchError(
            f"--scheduler {scheduler} --steps {steps} with suite {suite.name}: {error}"
        ) from error
    return dataclasses.replace(suite, protocol=protocol)


def own_words(config: RunConfig) -> str:
    """The flags that changed the suite's protocol, " (--images, --steps)"; empty where none did."""
    names = [name for name in ("images", "scheduler", "steps") if getattr(config, name) is not None]
    return f" ({', '.join(f'--{name}' for name in names)})" if names else ""


def _with_images(suite: Suite, images: int) -> Suite:
    """The suite with so many pictures of each prompt, also of those that have a number of their own."""
    prompts = {
        concept: tuple(dataclasses.replace(prompt, images_per_prompt=None) for prompt in those)
        for concept, those in suite.prompts.items()
    }
    protocol: Protocol = dataclasses.replace(suite.protocol, images_per_prompt=images)
    try:
        return dataclasses.replace(suite, protocol=protocol, prompts=prompts)
    except ValueError as error:
        raise BenchError(f"--images {images}: {error}") from error
