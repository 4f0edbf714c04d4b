"""AdaVD: its projection against an explicit Gram-Schmidt, and whom it changes."""

import math

import pytest
import torch

from erasure_bench.errors import BenchError
from erasure_bench.methods import adavd
from erasure_bench.methods.base import EraseContext
from erasure_bench.methods.edit import applied
from erasure_bench.methods.machinery.exporting import export_edit
from erasure_bench.methods.machinery.parameters import cross_attentions
from erasure_bench.methods.registry import build_method
from erasure_bench.models.asking import Layout, called_with, laid_out
from erasure_bench.models.weights import swapped
from erasure_bench.prompt_suites.concepts import Concept

CAT = Concept(name="cat", kind="instance", targets=("grumpy cat",), anchor="cat")
DOG = Concept(name="dog", kind="instance", targets=("pirate dog",), anchor="dog")


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_one_concept_is_the_formula():
    values, targets = drawn(2, 5, 8), drawn(1, 5, 8, seed=1)
    shift = adavd.Shift(steepness=3.0, centre=0.1, factor=2.0)
    after = adavd.taken_out(values, targets, shift)
    assert torch.equal(after[:, 0], values[:, 0]), "the start token stays"
    for picture in range(2):
        for token in range(1, 5):
            value, target = values[picture, token], targets[0, token]
            cosine = float(value @ target / (value.norm() * target.norm()))
            gate = 2.0 / (1 + math.exp(-3.0 * (cosine - 0.1)))
            wanted = value - gate * (value @ target) / (target @ target) * target
            torch.testing.assert_close(after[picture, token], wanted)


def test_several_concepts_are_projected_out_as_by_gram_schmidt():
    values, targets = drawn(2, 4, 8), drawn(3, 4, 8, seed=1)
    after = adavd.taken_out(values, targets, None)
    for picture in range(2):
        for token in range(1, 4):
            left, basis = values[picture, token].clone(), []
            for target in targets[:, token]:
                direction = target - sum((target @ one) * one for one in basis)
                basis.append(direction / direction.norm())
            for one in basis:
                left = left - (values[picture, token] @ one) * one
            torch.testing.assert_close(after[picture, token], left, rtol=1e-9, atol=1e-9)
    twice = adavd.taken_out(values, targets[[0, 0]], None)
    torch.testing.assert_close(twice, adavd.taken_out(values, targets[:1], None), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("preset", ["official", "paper"])
def test_whose_values_change(tiny_model, preset):
    """Of the module itself: the prompt's, with `official` the unconditional ones too, no guidance text's."""
    edit = build_method("adavd", preset, {"shift": "false"}).erase(tiny_model, [CAT], EraseContext())
    embeddings = tiny_model.encode_prompts(["", "a grumpy cat", "a tree"])
    to_v = next(iter(cross_attentions(tiny_model.unet).values())).to_v
    plain = to_v(embeddings)
    layout = Layout(("unconditional", "conditional", "extra"))
    with applied(tiny_model, edit), laid_out(layout), called_with(embeddings):
        changed = to_v(embeddings)
    same = [bool(torch.equal(one, other)) for one, other in zip(plain, changed, strict=True)]
    assert same == [preset == "paper", False, True]

    last = len(tiny_model.tokenizer("grumpy cat").input_ids) - 2
    target = to_v(tiny_model.encode_prompts(["grumpy cat"])[0, last]).double()
    if preset == "paper":
        assert (changed[1, 1:].double() @ target).abs().max() < 1e-4 * target.norm() ** 2
    else:
        pair = torch.cat([changed[0], changed[1]], -1).double()[1:]
        both = torch.cat([plain[0, 1:].double(), target.expand(len(pair), -1)], -1)
        assert (pair * both).sum(-1).abs().max() < 1e-4 * (both * both).sum(-1).max()


def test_a_prompt_alone_has_the_empty_text_beside_it(tiny_model):
    """As an attack asks: the same values of the prompt as with its unconditional row, gradients included."""
    edit = build_method("adavd").erase(tiny_model, [CAT], EraseContext())
    latents = torch.zeros(1, 4, 8, 8)
    with applied(tiny_model, edit):
        pair = tiny_model.predict_noise_pair(latents, 500, "a grumpy cat")
        embeddings = tiny_model.encode_prompts(["a grumpy cat"]).detach().requires_grad_()
        alone = tiny_model.predict_noise(latents, 500, embeddings)
    torch.testing.assert_close(alone, pair.conditional, rtol=1e-4, atol=1e-4)
    alone.sum().backward()
    assert embeddings.grad.abs().sum() > 0


@pytest.mark.parametrize("preset", ["official", "paper"])
def test_what_is_taken_out_is_the_value_of_the_weights_at_hand(tiny_model, preset):
    """Weights that are tuned with the edit in place count as if it had been put there after them."""
    edit = build_method("adavd", preset).erase(tiny_model, [CAT], EraseContext())
    tuned = {
        name: tensor + 0.3 * drawn(*tensor.shape).float()
        for name, tensor in tiny_model.named_tensors().items()
        if "attn2.to_v" in name
    }
    latents = drawn(1, 4, 8, 8).float()
    with torch.no_grad():
        with swapped(tiny_model, tuned), applied(tiny_model, edit):
            after = tiny_model.predict_noise(latents, 500, "a grumpy cat")
        with applied(tiny_model, edit), swapped(tiny_model, tuned):
            found = tiny_model.predict_noise(latents, 500, "a grumpy cat")
    assert torch.equal(found, after)


def test_it_is_not_exported(tiny_model, tiny_model_dir, tmp_path):
    edit = build_method("adavd").erase(tiny_model, [CAT, DOG], EraseContext())
    with pytest.raises(BenchError, match="changes the attention's values"):
        export_edit(edit, tiny_model_dir, "delta", tmp_path / "out")
