"""Chance in the place of a stored prompt: as many tokens, all usable, none of them the prompt's own."""

from collections.abc import Callable, Sequence

import torch

from erasure_bench.attacks.base import AttackContext, Target, Victim
from erasure_bench.attacks.random_prefix import random_tokens
from erasure_bench.attacks.random_tokens import RandomTokens
from erasure_bench.models.diffusion_model import DiffusionModel
from erasure_bench.models.token_input import embedded, usable_tokens, with_slots


def test_the_embedding_is_that_of_as_many_usable_tokens(
    tiny_model: DiffusionModel,
    victim_of: Callable[[DiffusionModel], Victim],
    targets: Sequence[Target],
    context: AttackContext,
) -> None:
    long = Target(prompt="cat " * 300, seed=5, guidance_scale=3.0, picture=targets[0].picture)
    found = RandomTokens(tries=3).assault(victim_of(tiny_model), [*targets, long], context)
    most, usable = tiny_model.tokenizer.model_max_length - 2, usable_tokens(tiny_model)
    counts = [len(tiny_model.tokenizer(target.prompt).input_ids) - 2 for target in targets]
    for target, count, tries in zip([*targets, long], [*counts, most], found.tries, strict=True):
        assert [one.loss for one in tries] == [0.0, 1.0, 2.0] and len({one.asked for one in tries}) == 3
        for number, one in enumerate(tries):
            ids = random_tokens(usable, target, number, count, context.seed)
            with torch.no_grad():
                (expected,) = embedded(tiny_model, with_slots(tiny_model, [[count]]).filled(ids[None]))
            assert one.seed is None and one.embedding is not None and one.asked
            torch.testing.assert_close(one.embedding, expected)
