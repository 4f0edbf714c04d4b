"""Prompts in which some tokens are vectors of their own: an adversary's, or those of textual inversion."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from erasure_bench.models.diffusion_model import DiffusionModel


@dataclass(frozen=True, eq=False)
class SoftPrompts:
    """Token ids [n, tokens], of which those where `soft` [n, tokens] is true stand for vectors.

    `mask` [n, tokens] is 1 up to the end token.
    """

    ids: Tensor
    mask: Tensor
    soft: Tensor

    def encode(self, model: DiffusionModel, vectors: Tensor) -> Tensor:
        """Text embeddings [n, tokens, width] with `vectors` [k, width] in their places, in every row's order.

        Differentiable in the vectors, and in the text encoder's parameters where they ask for it.
        """
        with _in_place(model.text_encoder.get_input_embeddings(), self.soft.to(model.device), vectors):
            uses_mask = getattr(model.text_encoder.config, "use_attention_mask", False)
            mask = self.mask.to(model.device) if uses_mask else None
            embeddings: Tensor = model.text_encoder(self.ids.to(model.device), attention_mask=mask)[0]
        return embeddings


def with_prefix(
    model: DiffusionModel, prompts: Sequence[str], count: int, kept: Sequence[int] | None = None
) -> SoftPrompts:
    """`prompts`, each with `count` vectors between the start token and its own first one.

    To make room as many tokens go: the last ones but one, or with `kept` those after a prompt's first
    `kept` tokens, whatever they are.
    """
    ids, mask = _tokenised(model, prompts)
    length = ids.shape[1]
    own = [length - count - 2] * len(ids) if kept is None else list(kept)
    rows = [_inserted(row, count, first) for row, first in zip(ids, own, strict=True)]
    masks = [_inserted(row, count, first) for row, first in zip(mask, own, strict=True)]
    soft = torch.zeros(len(ids), length, dtype=torch.bool)
    soft[:, 1 : 1 + count] = True
    return SoftPrompts(torch.stack(rows), torch.stack(masks), soft)


def _inserted(row: Tensor, count: int, kept: int) -> Tensor:
    """Of [start, t_1 … t_n]: the start `1 + count` times, t_1 … t_kept, and what follows t_(kept + count)."""
    return torch.cat([row[:1], row[:1].expand(count), row[1 : 1 + kept], row[1 + kept + count :]])


def with_word(model: DiffusionModel, templates: Sequence[str], count: int) -> SoftPrompts:
    """`templates` with `{}` standing for `count` vectors; the other words are tokenised as they are.

    What no longer fits is cut off from what follows the vectors, then from what is before them.
    """
    tokenizer = model.tokenizer
    length = tokenizer.model_max_length
    start, end = tokenizer.bos_token_id, tokenizer.eos_token_id
    padding = end if tokenizer.pad_token_id is None else tokenizer.pad_token_id
    rows, masks, softs = [], [], []
    for template in templates:
        before, found, after = template.partition("{}")
        if not found:
            raise ValueError(f"no place for the vectors in {template!r}")
        room = length - 2 - count
        ahead = _own(tokenizer, before)[:room]
        behind = _own(tokenizer, after)[: room - len(ahead)]
        row = [start, *ahead, *[end] * count, *behind, end]
        first = 1 + len(ahead)
        rows.append(row + [padding] * (length - len(row)))
        masks.append([1] * len(row) + [0] * (length - len(row)))
        softs.append([first <= place < first + count for place in range(length)])
    return SoftPrompts(torch.tensor(rows), torch.tensor(masks), torch.tensor(softs))


def word_embeddings(model: DiffusionModel, text: str) -> Tensor:
    """The vectors [k, width] of a text's own tokens, as the model has them; a copy, in fp32 at least."""
    table: Tensor = model.text_encoder.get_input_embeddings().weight.detach()
    rows = table[_own(model.tokenizer, text)[: model.tokenizer.model_max_length - 2]]
    return rows.to(torch.promote_types(rows.dtype, torch.float32), copy=True)


def _own(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer(text.strip(), add_special_tokens=False).input_ids)


def _tokenised(model: DiffusionModel, prompts: Sequence[str]) -> tuple[Tensor, Tensor]:
    tokens = model.tokenizer(
        list(prompts),
        padding="max_length",
        max_length=model.tokenizer.model_max_length,
        truncation=True,
        return_tensors="pt",
    )
    return tokens.input_ids, tokens.attention_mask


@contextmanager
def _in_place(table: nn.Module, soft: Tensor, vectors: Tensor) -> Iterator[None]:
    """Within it, the table gives `vectors` [k, width] where `soft` [n, tokens] is true, k times a row."""

    def put(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        changed = output.clone()
        changed[soft] = vectors.to(output).repeat(len(output), 1)
        return changed

    hook = table.register_forward_hook(put)
    try:
        yield
    finally:
        hook.remove()
