"""SAFREE: its projectors, its triggers, and which prompts change for how long."""

import json
import math

import pytest
import torch

from erasure_bench.methods import safree
from erasure_bench.methods.base import EraseContext
from erasure_bench.methods.edit import Edit, applied
from erasure_bench.methods.machinery.attachments import same
from erasure_bench.methods.registry import build_method
from erasure_bench.models.asking import Layout, laid_out
from erasure_bench.prompt_suites.concepts import Concept

CAT = Concept(name="cat", kind="instance", targets=("grumpy cat", "cat"), anchor="dog")
VALIDATED = safree.SelfValidation(steepness=2.5, centre=5.333, most_steps=10, of_steps=None)


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def projector(rows):
    """C (CᵀC)⁺ Cᵀ of the columns C = rowsᵀ."""
    columns = rows.T
    return columns @ torch.linalg.pinv(columns.T @ columns) @ columns.T


def test_projections_are_those_of_the_pseudo_inverse():
    concept, prompt, embeddings = drawn(3, 10), drawn(4, 10, seed=1), drawn(6, 10, seed=2)
    dependent = torch.cat([concept, concept[:1] + concept[1:2]])
    found = safree.projected(embeddings, safree.basis(prompt), safree.basis(dependent))
    wanted = (torch.eye(10).double() - projector(concept)) @ projector(prompt) @ embeddings.T
    torch.testing.assert_close(found, wanted.T, rtol=1e-9, atol=1e-9)
    assert safree.basis(dependent).shape == (10, 3)


def test_a_trigger_is_what_holds_the_prompt_near_the_concept():
    concept, one_out = drawn(2, 10), drawn(5, 10, seed=1)
    away = torch.eye(10).double() - projector(concept)
    distances = [float((away @ row).norm()) for row in one_out]
    for sensitivity in (0.0, 0.01, 0.3):
        wanted = [own >= (1 + sensitivity) * (sum(distances) - own) / 4 for own in distances]
        assert safree.triggers(one_out, safree.basis(concept), sensitivity).tolist() == wanted
    assert safree.triggers(one_out[:1], safree.basis(concept), 0.01).tolist() == [True]


@pytest.mark.parametrize("change", [0.4, 0.52, 0.5333, 0.55, 0.8])
def test_the_validation_is_a_sigmoid_of_the_change(change):
    wanted = round(10 / (1 + math.exp(-2 * 2.5 * (10 * change - 5.333))))
    assert VALIDATED.last_step(change) == wanted
    assert [VALIDATED.used(3, index, 50) for index in (0, 3, 4)] == [True, True, False]
    papers = safree.SelfValidation(steepness=0.05, centre=0.0, most_steps=10, of_steps=None)
    assert papers.last_step(change) == round(10 / (1 + math.exp(-change)))
    share = safree.SelfValidation(steepness=2.5, centre=5.333, most_steps=10, of_steps=50)
    assert [share.used(10, index, 20) for index in (0, 4, 5)] == [True, True, False]


def test_each_row_puts_one_token_out(tiny_model):
    rows = safree.without_each(tiny_model, "a cat")
    own = torch.tensor(tiny_model.tokenizer("a cat", padding="max_length", max_length=16).input_ids)
    assert rows.shape == (2, 16)
    assert (rows != own).nonzero().tolist() == [[0, 1], [1, 2]] and rows[0, 1] == rows[1, 2] == 0


def test_what_is_pooled_is_the_end_tokens_embedding(tiny_model):
    texts = ["a grumpy cat", "cat"]
    encoded = tiny_model.tokenizer(texts, padding="max_length", max_length=16)
    ends = [len(tiny_model.tokenizer(text).input_ids) - 1 for text in texts]
    found = safree.pooled(tiny_model, torch.tensor(encoded.input_ids))
    for row, end, embeddings in zip(found, ends, tiny_model.encode_prompts(texts), strict=True):
        torch.testing.assert_close(row, embeddings[end])


def embeddings_seen(model, edit, layout, embeddings):
    seen = []
    handle = model.unet.conv_in.register_forward_hook(lambda *given: None)
    hook = model.unet.down_blocks[0].register_forward_pre_hook(
        lambda module, inputs, named: seen.append(named["encoder_hidden_states"]), with_kwargs=True
    )
    try:
        with applied(model, edit), laid_out(layout):
            model.predict_noise(torch.zeros(len(embeddings), 4, 8, 8), 500, embeddings)
    finally:
        handle.remove()
        hook.remove()
    return seen[0]


def test_the_prompt_changes_in_its_own_tokens_and_early_steps(tiny_model):
    method = build_method("safree", options={"centre": "-5"})  # every prompt for all of the 10 steps
    edit = method.erase(tiny_model, [CAT], EraseContext())
    texts = ("", "a grumpy cat")
    embeddings = tiny_model.encode_prompts(texts)
    early = Layout(("unconditional", "conditional"), texts, index=0, steps=20)
    found = embeddings_seen(tiny_model, edit, early, embeddings)
    own = len(tiny_model.tokenizer(texts[1]).input_ids) - 2

    assert torch.equal(found[0], embeddings[0])
    assert torch.equal(found[1, :1], embeddings[1, :1]) and torch.equal(
        found[1, 1 + own :], embeddings[1, 1 + own :]
    )
    one_out = safree.pooled(tiny_model, safree.without_each(tiny_model, texts[1])).double()
    concept = safree.pooled(
        tiny_model,
        torch.tensor(tiny_model.tokenizer(list(CAT.targets), padding="max_length", max_length=16).input_ids),
    ).double()
    moved = (torch.eye(32).double() - projector(concept)) @ projector(one_out)
    hit = safree.triggers(one_out, safree.basis(concept), 0.01)
    assert hit.any()
    wanted = torch.where(
        hit[:, None], embeddings[1, 1 : 1 + own].double() @ moved.T, embeddings[1, 1 : 1 + own].double()
    )
    torch.testing.assert_close(found[1, 1 : 1 + own].double(), wanted, rtol=1e-3, atol=1e-3)

    late = Layout(("unconditional", "conditional"), texts, index=11, steps=20)
    assert torch.equal(embeddings_seen(tiny_model, edit, late, embeddings), embeddings)
    unknown = Layout(("unconditional", "conditional"), None, index=0, steps=20)
    assert torch.equal(embeddings_seen(tiny_model, edit, unknown, embeddings), embeddings)


def test_the_papers_order_ends_inside_the_prompts_own_span():
    concept, span, embeddings = (safree.basis(drawn(3, 10, seed=seed)) for seed in (0, 1, 2))
    attachment = safree.TokenProjection(
        tensors={}, sensitivity=0.0, padding=False, validation=None, inside_last=True
    )
    found = attachment._projected(embeddings.T, span, concept)
    wanted = span @ span.T @ (torch.eye(10).double() - concept @ concept.T) @ embeddings
    torch.testing.assert_close(found, wanted.T)


def test_reattention_changes_what_is_drawn_where_embeddings_change_alone(tiny_model):
    """In early steps of prompts that have a trigger; in later ones no row takes a second pass."""
    options = {"centre": "-5", "reattention": "true"}
    plain, with_it = (
        build_method("safree", options=own).erase(tiny_model, [CAT], EraseContext())
        for own in ({"centre": "-5"}, options)
    )
    texts, latents = ("", "a grumpy cat"), torch.randn(2, 4, 16, 16)

    def predicted(edit, index):
        with applied(tiny_model, edit), laid_out(Layout(("unconditional", "conditional"), texts, index, 20)):
            return tiny_model.predict_noise(latents, 500, tiny_model.encode_prompts(texts))

    torch.testing.assert_close(predicted(with_it, 0)[0], predicted(plain, 0)[0])
    assert (predicted(with_it, 0)[1] - predicted(plain, 0)[1]).abs().max() > 1e-4
    torch.testing.assert_close(predicted(with_it, 11), predicted(plain, 11))


def test_an_edit_of_before_there_was_reattention_is_read(tiny_model, tmp_path):
    """And one that has none is written as it was then; one that has says so."""
    later = {"inside_last", "reattention"}
    for options, written in (({}, set()), ({"reattention": "true"}, {"reattention"})):
        edit = build_method("safree", options=options).erase(tiny_model, [CAT], EraseContext())
        edit.save(tmp_path / f"{len(options)}")
        content = json.loads((tmp_path / f"{len(options)}" / "edit.json").read_text())
        assert content["attachments"][0]["settings"].keys() & later == written
        assert same(Edit.load(tmp_path / f"{len(options)}").attachments, edit.attachments)


def test_an_empty_prompt_is_let_pass(tiny_model):
    edit = build_method("safree").erase(tiny_model, [CAT], EraseContext())
    latents = torch.zeros(1, 4, 8, 8)
    plain = tiny_model.predict_noise(latents, 500, "")
    with applied(tiny_model, edit):
        assert torch.equal(tiny_model.predict_noise(latents, 500, ""), plain)


def test_phrases_are_those_that_guidance_steers_away_from():
    method = build_method("safree")
    assert method._phrases(CAT) == ("grumpy cat", "cat")
    unsafe = Concept(name="bad", kind="unsafe", targets=("bad",), anchor="good", negative="hate, violence")
    assert method._phrases(unsafe) == ("hate", "violence")
