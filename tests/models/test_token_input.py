"""Prompts as tokens: vectors in the place of tokens give what the tokens themselves give."""

import pytest
import torch

from erasure_bench.models.diffusion_model import DiffusionModel
from erasure_bench.models.token_input import embedded, token_vectors, usable_tokens, with_slots


def test_a_prompt_without_slots_is_encoded_as_ever(tiny_model: DiffusionModel) -> None:
    prompts = ["a cat", "a dog and a very long sentence about it that does not fit"]
    ours = embedded(tiny_model, with_slots(tiny_model, [[prompt] for prompt in prompts]))
    assert torch.equal(ours, tiny_model.encode_prompts(prompts))


def test_vectors_in_slots_are_what_their_tokens_are(tiny_model: DiffusionModel) -> None:
    asked = with_slots(tiny_model, [[2, "a cat"], ["a ", 2, " cat"]])
    chosen = torch.tensor([[5, 70], [80, 9]])
    by_tokens = embedded(tiny_model, asked.filled(chosen))
    by_vectors = embedded(tiny_model, asked, token_vectors(tiny_model)[chosen])
    assert torch.allclose(by_tokens, by_vectors, atol=1e-6)
    assert not torch.allclose(by_tokens, embedded(tiny_model, asked.filled(chosen.flip(1))))


def test_the_marks_of_start_and_end_are_not_usable(tiny_model: DiffusionModel) -> None:
    usable = set(usable_tokens(tiny_model).tolist())
    assert not usable & set(tiny_model.tokenizer.all_special_ids)
    assert len(usable) == len(tiny_model.tokenizer) - 2


def test_slots_that_have_no_room_are_refused(tiny_model: DiffusionModel) -> None:
    with pytest.raises(ValueError, match="no room"):
        with_slots(tiny_model, [[15, "a cat"]])
    with pytest.raises(ValueError, match="different numbers"):
        with_slots(tiny_model, [[1, "a cat"], [2, "a cat"]])


def test_rows_of_a_padded_table_are_no_tokens(tiny_model: DiffusionModel) -> None:
    """As fine-tunes have them, whose table is a multiple of 64: no text asks for them."""
    before = usable_tokens(tiny_model)
    tiny_model.text_encoder.resize_token_embeddings(len(tiny_model.tokenizer) + 64)
    assert torch.equal(usable_tokens(tiny_model), before)
    assert int(before.max()) < len(tiny_model.tokenizer)
