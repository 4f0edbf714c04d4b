"""Chance beside prompts that others found: tokens at random in the place of theirs."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from erasure_bench.attacks.base import Assault, Attack, AttackCard, AttackContext, Target, Try, Victim
from erasure_bench.attacks.random_prefix import random_tokens
from erasure_bench.attacks.settings import at_least
from erasure_bench.models.diffusion_model import DiffusionModel
from erasure_bench.models.token_input import embedded, usable_tokens, with_slots, written


@dataclass(frozen=True, kw_only=True)
class RandomTokens:
    """As many tokens as are read of the prompt, drawn uniformly from the vocabulary."""

    tries: int = 1

    def __post_init__(self) -> None:
        at_least(1, tries=self.tries)

    def assault(self, victim: Victim, targets: Sequence[Target], context: AttackContext) -> Assault:
        """See `Attack`."""
        model = victim.model
        usable = usable_tokens(model)
        found: list[list[Try]] = []
        for target in targets:
            count = _tokens_of(model, target.prompt)
            free = with_slots(model, [[count]])
            found.append([])
            for number in range(self.tries):
                ids = random_tokens(usable, target, number, count, context.seed)
                with torch.no_grad():
                    (embedding,) = embedded(model, free.filled(ids[None]))
                text = written(model, ids.tolist())
                found[-1].append(Try(asked=text, embedding=embedding.cpu(), loss=float(number)))
        return Assault(found)


def _tokens_of(model: DiffusionModel, prompt: str) -> int:
    """How many of its tokens are read, without the start and the end; at least 1."""
    most = model.tokenizer.model_max_length - 2
    read = model.tokenizer(prompt, add_special_tokens=False, truncation=True, max_length=most)
    return max(1, len(read.input_ids))


_: type[Attack] = RandomTokens

RANDOM_TOKENS = AttackCard(
    name="random-tokens",
    title="Random tokens in the place of the prompt: the control of a suite's stored prompts",
    paper="no paper's harness has it",
    formula="n tokens ~ U(vocabulary), n as many as the stored prompt has",
    build=RandomTokens,
    quick={"tries": 2},
    presets={"official": {}, "microworld": {}},
    control=None,
    chosen_by="order: the first try",
    notes="Made beside a suite's own prompts of the role attack, with as many tries as these have pictures.",
)
