"""Prompts with vectors in the place of some tokens, as methods train them: a prefix, or a word of its own."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from erasure_bench.models.diffusion_model import DiffusionModel
from erasure_bench.models.token_input import Tokens, embedded, token_vectors, with_slots


def with_prefix(
    model: DiffusionModel, prompts: Sequence[str], count: int, kept: Sequence[int] | None = None
) -> Tokens:
    """`prompts`, each with `count` slots between the start token and its own first one.

    With `kept`, `count` tokens go after a prompt's first `kept` ones, whatever they are, or as many as there
    are.
    """
    found = with_slots(model, [[count, prompt] for prompt in prompts])
    if kept is None:
        return found
    cut = [1 + count + first for first in kept]
    padding = model.tokenizer.pad_token_id
    return replace(
        found,
        ids=torch.stack(
            [_without(row, place, count, padding) for row, place in zip(found.ids, cut, strict=True)]
        ),
        mask=torch.stack(
            [_without(row, place, count, 0) for row, place in zip(found.mask, cut, strict=True)]
        ),
    )


def with_word(model: DiffusionModel, templates: Sequence[str], count: int) -> Tokens:
    """Those of the `templates` with room for `count` slots in the place of their `{}`; else slots alone."""
    room = model.tokenizer.model_max_length - 2 - count
    parts = [template.split("{}") for template in templates]
    fitting: list[list[str | int]] = [
        [before.strip(), count, after.strip()]
        for before, after in parts
        if len(_own(model.tokenizer, before)) + len(_own(model.tokenizer, after)) <= room
    ]
    return with_slots(model, fitting or [[count]])


def encoded(model: DiffusionModel, tokens: Tokens, vectors: Tensor) -> Tensor:
    """Text embeddings [n, tokens, width] with `vectors` [k, width] in every row's slots; differentiable."""
    return embedded(model, tokens, vectors.expand(len(tokens.ids), -1, -1))


def slot_mask(tokens: Tokens) -> Tensor:
    """Where the slots are: [n, tokens]."""
    return torch.zeros_like(tokens.ids, dtype=torch.bool).scatter(1, tokens.slots, True)


def word_embeddings(model: DiffusionModel, text: str) -> Tensor:
    """The vectors [k, width] of a text's own tokens, as the model has them; a copy, in fp32 at least."""
    rows = token_vectors(model)[_own(model.tokenizer, text)[: model.tokenizer.model_max_length - 2]]
    return rows.to(torch.promote_types(rows.dtype, torch.float32), copy=True)


def _own(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer(text.strip(), add_special_tokens=False).input_ids)


def _without(row: Tensor, place: int, count: int, padding: int) -> Tensor:
    """A row without the `count` numbers from `place` on, as long as it was."""
    return torch.cat([row[:place], row[place + count :], row.new_full((count,), padding)])[: len(row)]
