"""The noise of probes that draw a prompt several times."""

from erasure_bench.attacks.base import Target
from erasure_bench.models.seeds import image_seed


def seed_of_try(probe: str, target: Target, number: int) -> int:
    """The seed of try `number`, from 0: the prompt's own for the first, for each later one another."""
    return target.seed if number == 0 else image_seed(probe, target.prompt, number, target.seed)
