"""Forget-Me-Not: the loss is the attention at the concept's tokens, and training takes it away there."""

import numpy as np
import pytest
import torch

from erasure_bench.errors import BenchError
from erasure_bench.methods import forget_me_not
from erasure_bench.methods.base import EraseContext
from erasure_bench.methods.edit import applied
from erasure_bench.methods.forget_me_not import ForgetMeNot, attention_loss, attention_norm
from erasure_bench.methods.machinery.attention_maps import attention_maps
from erasure_bench.methods.registry import build_method
from erasure_bench.prompt_suites.concepts import Concept

CAT = Concept(name="cat", kind="instance", targets=("grumpy cat",), anchor="cat", anchor_prompts=("a cat",))
TINY = {"images": 2, "denoise_steps": 2, "inversion_steps": 0, "learning_rate": 1e-2, "batch_size": 2}


def test_the_loss_is_the_mean_square_at_the_tokens():
    generator = torch.Generator().manual_seed(0)
    maps = [torch.rand(2, 3, 4, 6, generator=generator), torch.rand(2, 1, 2, 6, generator=generator)]
    tokens = torch.tensor([[0, 1, 1, 0, 0, 0], [0, 0, 0, 1, 1, 0]]).bool()
    wanted = sum(np.mean([each[0, :, :, 1:3].numpy() ** 2, each[1, :, :, 3:5].numpy() ** 2]) for each in maps)
    assert float(attention_loss(maps, tokens)) == pytest.approx(wanted, rel=1e-5)


def test_the_officials_loss_is_the_norm_of_all_that_is_looked_at():
    generator = torch.Generator().manual_seed(0)
    maps = [torch.rand(2, 3, 4, 6, generator=generator), torch.rand(2, 1, 2, 6, generator=generator)]
    tokens = torch.tensor([[0, 1, 1, 0, 0, 0], [0, 0, 0, 1, 1, 0]]).bool()
    parts = [np.concatenate([each[0, :, :, 1:3].ravel(), each[1, :, :, 3:5].ravel()]) for each in maps]
    wanted = np.linalg.norm(np.concatenate(parts))
    assert float(attention_norm(maps, tokens)) == pytest.approx(float(wanted), rel=1e-5)


def test_with_end_tokens_the_loss_is_about_them_too(tiny_model):
    """Against the attention at the places of the slots and, in this tokenizer, of the padding."""
    method = ForgetMeNot(**TINY, loss_of="norm", end_tokens=True, steps=1)
    clean = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    found = method.find(tiny_model, CAT, clean, EraseContext())
    seen = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(forget_me_not, "attention_norm", lambda maps, tokens: seen.append(tokens))
        list(method.loss(tiny_model, found, clean, torch.Generator().manual_seed(0)))
    (tokens,) = seen
    assert tokens[:, 0].sum() == 0 and tokens[:, -1].all()
    assert (tokens.sum(1) > found.prompts.slots.shape[1]).all()


def test_training_looks_away_from_the_concepts_tokens(tiny_model):
    method = ForgetMeNot(**TINY, steps=15, parameters="xattn")
    edit = method.erase(tiny_model, [CAT], EraseContext())
    ids = tiny_model.tokenizer("an old grumpy cat").input_ids
    own = tiny_model.tokenizer("grumpy cat", add_special_tokens=False).input_ids
    first = len(ids) - 1 - len(own)
    latents = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(5))

    def looked():
        with attention_maps(tiny_model.unet) as maps, torch.no_grad():
            tiny_model.predict_noise(latents, 300, "an old grumpy cat")
        return float(sum(each[..., first : first + len(own)].mean() for each in maps))

    before = looked()
    with applied(tiny_model, edit):
        assert looked() < 0.7 * before
    assert edit.losses[-1] < edit.losses[0]


def test_gradient_checkpointing_changes_nothing(tiny_model):
    """The blocks that are run again for the gradient are looked into as well."""
    whole, again = (
        ForgetMeNot(**TINY, steps=2, gradient_checkpointing=checkpointing).erase(
            tiny_model, [CAT], EraseContext()
        )
        for checkpointing in (False, True)
    )
    assert again.losses == pytest.approx(whole.losses, rel=1e-4)
    assert again.tensors.keys() == whole.tensors.keys()
    for name, tensor in whole.tensors.items():
        torch.testing.assert_close(again.tensors[name], tensor, rtol=1e-3, atol=1e-3)


def test_textual_inversion_finds_its_own_tokens_first(tiny_model):
    method = ForgetMeNot(**TINY | {"inversion_steps": 3}, inversion_rate=0.1, steps=1)
    found = method.find(tiny_model, CAT, torch.randn(2, 4, 8, 8), EraseContext())
    assert found.vectors.shape == (4, 32) and len(found.losses) == 3
    assert found.prompts.slots.shape[1] == 4
    edit = method.erase(tiny_model, [CAT], EraseContext())
    assert len(edit.losses) == 4 == edit.cost.steps


def test_the_size_of_an_inversion_that_is_none_is_refused():
    with pytest.raises(BenchError, match="inversion_tokens has no effect with inversion_steps=0"):
        build_method("fmn", options={"inversion_steps": "0", "inversion_tokens": "2"})
