"""Vectors in prompts: they stand where they should, touch nothing else, and mean what the words would."""

import torch

from erasure_bench.methods.machinery.soft_tokens import (
    encoded,
    slot_mask,
    with_prefix,
    with_word,
    word_embeddings,
)


def test_the_words_own_vectors_give_the_words_own_prompt(tiny_model):
    vectors = word_embeddings(tiny_model, "grumpy cat")
    soft = with_word(tiny_model, ["an old {}", "{}", "{} at sea"], len(vectors))
    found = encoded(tiny_model, soft, vectors)
    said = tiny_model.encode_prompts(["an old grumpy cat", "grumpy cat", "grumpy cat at sea"])
    torch.testing.assert_close(found, said)


def test_templates_without_room_are_left_out(tiny_model):
    templates = ["a very long way to {} and so on", "{} at sea", "see {}"]
    assert len(with_word(tiny_model, templates, 3).ids) == 2
    alone = with_word(tiny_model, templates, 12)
    assert slot_mask(alone).sum(1).tolist() == [12] and slot_mask(alone)[0, 1:13].all()


def test_a_prefix_takes_its_own_place_alone(tiny_model):
    """What the text encoder's layers are given: our vectors in two places, the prompt's own in all others."""
    encoder = tiny_model.text_encoder
    encoder = getattr(encoder, "text_model", encoder)
    given = []
    hook = encoder.embeddings.register_forward_hook(lambda module, inputs, output: given.append(output))
    prompts = ["cat", "a dog at sea"]
    try:
        encoded(tiny_model, with_prefix(tiny_model, prompts, 2), torch.full((2, 32), 5.0))
    finally:
        hook.remove()
    ids = tiny_model.tokenizer(prompts, padding="max_length", max_length=16, return_tensors="pt").input_ids
    table = encoder.embeddings.token_embedding.weight.detach()
    own = table[ids]
    wanted = torch.cat([own[:, :1], torch.full((2, 2, 32), 5.0), own[:, 1:13], own[:, 15:]], 1)
    torch.testing.assert_close(given[0], wanted + encoder.embeddings.position_embedding.weight.detach())


def test_a_prefix_changes_no_token_before_it_and_moves_every_later_one(tiny_model):
    """The text encoder is causal: the start token stays, every token from the prefix on hears of it."""
    soft = with_prefix(tiny_model, ["a dog"], 1)
    generator = torch.Generator().manual_seed(0)
    one, other = (encoded(tiny_model, soft, torch.randn(1, 32, generator=generator)) for _ in range(2))
    torch.testing.assert_close(one[:, 0], other[:, 0])
    assert (one[:, 1:] - other[:, 1:]).abs().amax(2).min() > 1e-4


def test_words_counted_for_tokens_cut_what_follows(tiny_model):
    """The official code of AdvUnlearn: of "grumpy cat", two words and seven tokens, the third token goes."""
    plain = tiny_model.tokenizer(
        ["grumpy cat"], padding="max_length", max_length=16, return_tensors="pt"
    ).input_ids[0]
    cut = with_prefix(tiny_model, ["grumpy cat"], 1, kept=[2]).ids[0]
    assert cut.tolist()[2:] == [*plain.tolist()[1:3], *plain.tolist()[4:]]
    whole = with_prefix(tiny_model, ["grumpy cat"], 1).ids[0]
    assert whole.tolist()[2:15] == plain.tolist()[1:14]


def test_gradients_reach_the_vectors_and_the_text_encoder(tiny_model):
    weight = tiny_model.text_encoder.get_input_embeddings().weight
    vectors = torch.zeros(1, 32, requires_grad=True)
    weight.requires_grad_(True)
    encoded(tiny_model, with_prefix(tiny_model, ["cat"], 1), vectors).square().sum().backward()
    assert vectors.grad.abs().max() > 0
    start = tiny_model.tokenizer.bos_token_id
    cat = tiny_model.tokenizer("cat", add_special_tokens=False).input_ids[0]
    assert weight.grad[cat].abs().max() > 0 and weight.grad[start].abs().max() > 0
    weight.requires_grad_(False).grad = None
    assert not tiny_model.text_encoder.get_input_embeddings()._forward_hooks
