"""Receler: erasers that begin as nothing, an adversary that lowers its loss, a mask that is the formula."""

import numpy as np
import pytest
import torch

from erasure_bench.errors import BenchError
from erasure_bench.methods.base import EraseContext
from erasure_bench.methods.edit import applied
from erasure_bench.methods.machinery.adversary import Adversary
from erasure_bench.methods.machinery.attention_maps import attention_maps
from erasure_bench.methods.machinery.on_the_way import Ways
from erasure_bench.methods.machinery.training import Training
from erasure_bench.methods.receler import Receler, erased, erasers, followed, outside, own_tokens
from erasure_bench.methods.registry import build_method
from erasure_bench.prompt_suites.concepts import Concept

CAT = Concept(name="cat", kind="instance", targets=("grumpy cat",), anchor="cat")
TINY = {
    "sampled_by": "base",
    "timestep": "sampler",
    "denoise_steps": 2,
    "trajectories": 2,
    "rank": 4,
    "mask_side": 8,
    "attack_steps": 2,
    "steps": 2,
    "learning_rate": 1e-2,
}


def setting(model, **options):
    method = Receler(**TINY | options)
    generator = torch.Generator().manual_seed(0)
    ways = Ways(method, model.frozen_copy(), model, [CAT.target], generator)
    return method, ways.base, ways.embeddings, ways.draw(2, generator), own_tokens(model, CAT.target)


def test_new_erasers_change_nothing_and_trained_ones_add_their_formula(tiny_model):
    latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        plain = tiny_model.predict_noise(latents, 500, "a cat")
        tensors = erasers(tiny_model.unet, 4, torch.Generator().manual_seed(0))
        with erased(tiny_model, tensors) as residuals:
            assert torch.equal(tiny_model.predict_noise(latents, 500, "a cat"), plain)
        assert all(not residual.any() for residual in residuals)
        tensors = {name: tensor + 0.1 for name, tensor in tensors.items()}
        seen = []
        name, module = next(
            (name, module) for name, module in tiny_model.unet.named_modules() if name.endswith("attn2")
        )
        hook = module.register_forward_hook(lambda module, inputs, output: seen.append(output))
        with erased(tiny_model, tensors) as residuals:
            changed = tiny_model.predict_noise(latents, 500, "a cat")
        hook.remove()
    assert not torch.allclose(changed, plain)
    hidden = torch.nn.functional.gelu(seen[0] @ tensors[f"{name}.down"].T + tensors[f"{name}.down_bias"])
    wanted = hidden @ tensors[f"{name}.up"].T + tensors[f"{name}.up_bias"]
    torch.testing.assert_close(residuals[0], wanted, rtol=1e-4, atol=1e-5)
    assert not any(module._forward_hooks for module in tiny_model.unet.modules())


def test_soft_tokens_follow_the_concepts_own(tiny_model):
    prompt = tiny_model.encode_prompts(["grumpy cat"])
    tokens = own_tokens(tiny_model, "grumpy cat")
    assert tokens == len(tiny_model.tokenizer("grumpy cat", add_special_tokens=False).input_ids)
    vectors = torch.full((3, 32), 7.0)
    found = followed(prompt, vectors, tokens)
    assert torch.equal(found[:, : 1 + tokens], prompt[:, : 1 + tokens])
    assert (found[:, 1 + tokens : 4 + tokens] == 7).all()
    assert torch.equal(found[:, 4 + tokens :], prompt[:, 4 + tokens :])
    assert followed(prompt, torch.zeros(99, 32), tokens).shape == prompt.shape


def test_the_adversary_lowers_its_loss_and_goes_on_from_there(tiny_model):
    method, _, prompt, seen, tokens = setting(tiny_model, attack_steps=20)
    with torch.no_grad():
        tiny_model.unet.conv_in.weight.mul_(1.2)
    adversary = Adversary(torch.rand(4, 32, generator=torch.Generator().manual_seed(0)), learning_rate=0.1)
    losses = method.attack(tiny_model, adversary, seen, prompt, tokens)
    assert losses[-1] < losses[0]
    again = method.attack(tiny_model, adversary, seen, prompt, tokens)
    assert again[0] < losses[0]
    assert all(parameter.grad is None for parameter in tiny_model.unet.parameters())


def test_the_erasers_are_led_away_and_the_adversary_back(tiny_model):
    """Both targets are the base model's answers to the concept's phrase, whatever is asked."""
    method, base, prompt, seen, tokens = setting(tiny_model, eta=1.5, attack_steps=1)
    with torch.no_grad():
        tiny_model.unet.conv_in.weight.mul_(1.2)
        start = torch.rand(4, 32, generator=torch.Generator().manual_seed(0))
        asked = prompt.clone()
        asked[:, 1 + tokens : 5 + tokens] = start
        empty, concept = (
            base.predict_noise(seen.latents, seen.timestep, text) for text in ("", "grumpy cat")
        )
        now = tiny_model.predict_noise(seen.latents, seen.timestep, asked)
        away = method.away(tiny_model, seen, asked)
    torch.testing.assert_close(away, (now - (2.5 * empty - 1.5 * concept)).square().mean(), rtol=1e-3, atol=0)
    (back,) = method.attack(tiny_model, Adversary(start, learning_rate=0.1), seen, prompt, tokens)
    assert back == pytest.approx(float((now - concept).square().mean()), rel=1e-3)


def test_residuals_are_the_last_passes_alone(tiny_model):
    """Those of sampling and of the adversary are not kept: on Stable Diffusion they are some gigabytes."""
    method, _, prompt, seen, tokens = setting(tiny_model, attack_steps=3)
    tensors = erasers(tiny_model.unet, 4, torch.Generator().manual_seed(0))
    with erased(tiny_model, tensors) as residuals:
        adversary = method._adversary(prompt, torch.Generator().manual_seed(0))
        method.attack(tiny_model, adversary, seen, prompt, tokens)
        assert len(residuals) == len(tensors) // 4


def test_officially_no_soft_prompt_reaches_the_network(tiny_model):
    """As torch has it: what is written into a tensor's rows by their numbers' `.data` is written nowhere."""
    official = build_method("receler", "official").soft_tokens
    method, _, prompt, seen, tokens = setting(tiny_model, soft_tokens=official, mask_weight=0.0)
    asked = prompt.clone()
    asked[:, torch.arange(1 + tokens, 5 + tokens), :].data = torch.rand(1, 4, 32)
    adversary = method._adversary(prompt, torch.Generator().manual_seed(0))
    assert method.attack(tiny_model, adversary, seen, prompt, tokens) == []
    assert torch.equal(followed(prompt, adversary.value, tokens), asked)
    told = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Receler, "away", lambda own, model, seen, text: told.append(text) or text.sum() * 0)
        patch.setattr(Training, "minimise", lambda tuning, losses: tuning.losses.append(0.0))
        method.erase(tiny_model, [CAT], EraseContext())
    assert len(told) == 2 and all(torch.equal(text, prompt) for text in told)


def test_the_mask_is_where_the_base_model_looks(tiny_model):
    method, base, prompt, seen, tokens = setting(tiny_model, mask_threshold=0.4)
    found = method.masks(base, seen, prompt, tokens)
    with attention_maps(base.unet) as maps, torch.no_grad():
        base.predict_noise(seen.latents, seen.timestep, "grumpy cat")
    large = [each.numpy() for each in maps if each.shape[2] == 64]
    for row in range(2):
        looked = np.mean([each[row, :, :, 1 : 1 + tokens].mean((0, 2)) for each in large], axis=0)
        scaled = (looked - looked.min()) / (looked.max() - looked.min())
        assert np.array_equal(found[row, 0].numpy().ravel() == 1, scaled >= 0.4)
    assert 0 < found.mean() < 1
    with pytest.raises(BenchError, match="mask_side=5: .* maps of side 4, 8"):
        setting(tiny_model, mask_side=5)[0].masks(base, seen, prompt, tokens)


def test_outside_the_mask_is_a_mean_over_its_positions():
    generator = torch.Generator().manual_seed(0)
    residuals = [torch.randn(2, count, 3, generator=generator) for count in (16, 4)]
    masks = torch.zeros(2, 1, 4, 4)
    masks[0, 0, :2] = 1
    wanted = []
    for residual, rows in zip(residuals, (8, 2), strict=True):
        free = np.concatenate([residual[0, rows:].numpy().ravel(), residual[1].numpy().ravel()])
        wanted.append((free**2).sum() / (rows + 2 * rows))
    assert float(outside(residuals, masks)) == pytest.approx(np.mean(wanted), rel=1e-5)
    assert float(outside(residuals, masks, "values")) == pytest.approx(np.mean(wanted) / 3, rel=1e-5)


def test_the_network_keeps_its_weights_and_the_edit_its_erasers(tiny_model):
    before = {name: tensor.clone() for name, tensor in tiny_model.named_tensors().items()}
    edit = Receler(**TINY).erase(tiny_model, [CAT], EraseContext())
    assert not edit.tensors
    assert all(torch.equal(tensor, before[name]) for name, tensor in tiny_model.named_tensors().items())
    (attachment,) = edit.attachments
    assert attachment.tensors.keys() == erasers(tiny_model.unet, 4, torch.Generator()).keys()
    latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        plain = tiny_model.predict_noise(latents, 500, "grumpy cat")
        with applied(tiny_model, edit):
            assert not torch.allclose(tiny_model.predict_noise(latents, 500, "grumpy cat"), plain)
