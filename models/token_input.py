"""Prompts as token ids, and as vectors in the place of some of the tokens: what an attack searches over."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from erasure_bench.models.diffusion_model import DiffusionModel


@dataclass(frozen=True, eq=False)
class Tokens:
    """Prompts as the text encoder reads them: `ids` and `mask` [n, tokens], padded, with start and end.

    `slots` [n, k] are the places, in each row, of tokens that a search may choose.
    """

    ids: Tensor
    mask: Tensor
    slots: Tensor

    def filled(self, chosen: Tensor) -> "Tokens":
        """With the ids `chosen` [n, k] in the slots."""
        return replace(self, ids=self.ids.scatter(1, self.slots, chosen.to(self.ids)))


def with_slots(model: DiffusionModel, prompts: Sequence[Sequence[str | int]]) -> Tokens:
    """Prompts made of texts and of numbers, each of which is so many free slots.

    `[3, "a cat"]` is three slots before "a cat". What is longer than the text encoder can read loses its
    end. Raises ValueError where the rows have different numbers of slots, or no room for them.
    """
    tokenizer, length = model.tokenizer, model.tokenizer.model_max_length
    start, end, padding = tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id
    rows: list[list[int]] = []
    masks: list[list[int]] = []
    slots: list[list[int]] = []
    for parts in prompts:
        row: list[int] = [start]
        own: list[int] = []
        for part in parts:
            if isinstance(part, int):
                own += range(len(row), len(row) + part)
                row += [end] * part
            else:
                row += tokenizer(part, add_special_tokens=False).input_ids
        if own and own[-1] >= length - 1:
            raise ValueError(f"{len(own)} slots have no room in {length} tokens")
        row = [*row[: length - 1], end]
        rows.append(row + [padding] * (length - len(row)))
        masks.append([1] * len(row) + [0] * (length - len(row)))
        slots.append(own)
    if len({len(own) for own in slots}) > 1:
        raise ValueError("prompts with different numbers of slots")
    return Tokens(torch.tensor(rows), torch.tensor(masks), torch.tensor(slots, dtype=torch.int64))


def usable_tokens(model: DiffusionModel) -> Tensor:
    """The ids [m] of the vocabulary without the tokens that mark start, end and padding.

    A table of token vectors may be longer, padded with rows that no text asks for.
    """
    special = set(model.tokenizer.all_special_ids)
    size = min(len(token_vectors(model)), len(model.tokenizer))
    return torch.tensor([number for number in range(size) if number not in special])


def token_vectors(model: DiffusionModel) -> Tensor:
    """The text encoder's table of token vectors [vocabulary, width], as it is now, without a graph."""
    table: Tensor = model.text_encoder.get_input_embeddings().weight
    return table.detach()


def embedded(model: DiffusionModel, tokens: Tokens, vectors: Tensor | None = None) -> Tensor:
    """Text embeddings [n, tokens, width]; `vectors` [n, k, width] stand in the slots, before position is
    added. Differentiable in them."""
    if vectors is None:
        return model.encode_tokens(tokens.ids, tokens.mask)
    with _in_place(model, tokens.slots.to(model.device), vectors.to(model.device, model.dtype)):
        return model.encode_tokens(tokens.ids, tokens.mask)


def written(model: DiffusionModel, ids: Sequence[int]) -> str:
    """Token ids as text, for people: it need not be read back as the same tokens."""
    return str(model.tokenizer.decode(list(ids), skip_special_tokens=True)).strip()


@contextmanager
def _in_place(model: DiffusionModel, slots: Tensor, vectors: Tensor) -> Iterator[None]:
    def put(module: Any, inputs: Any, output: Tensor) -> Tensor:
        places = slots[..., None].expand(-1, -1, output.shape[-1])
        return output.scatter(1, places, vectors)

    handle = model.text_encoder.get_input_embeddings().register_forward_hook(put)
    try:
        yield
    finally:
        handle.remove()
