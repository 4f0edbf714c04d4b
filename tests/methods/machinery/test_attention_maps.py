"""The maps are what diffusers' own plain attention computes, and they go with their gradient."""

import torch
from diffusers.models.attention_processor import AttnProcessor

from erasure_bench.methods.machinery.attention_maps import attention_maps


def test_maps_are_those_of_the_plain_processor(tiny_model, monkeypatch):
    latents = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    with attention_maps(tiny_model.unet) as maps, torch.no_grad():
        fused = tiny_model.predict_noise(latents, 500, ["a cat", "a dog at sea"])
    wanted = []
    crossing = {module for name, module in tiny_model.unet.named_modules() if name.endswith("attn2")}

    def scores(attention, query, key, mask=None):
        found = type(attention).get_attention_scores(attention, query, key, mask)
        if attention in crossing:
            wanted.append(found.unflatten(0, (2, -1)))
        return found

    for module in tiny_model.unet.modules():
        if hasattr(module, "get_attention_scores"):
            module.set_processor(AttnProcessor())
            monkeypatch.setattr(
                module, "get_attention_scores", lambda q, k, m=None, own=module: scores(own, q, k, m)
            )
    with torch.no_grad():
        plain = tiny_model.predict_noise(latents, 500, ["a cat", "a dog at sea"])
    torch.testing.assert_close(fused, plain, rtol=1e-4, atol=1e-4)
    assert len(maps) == len(wanted) == len(crossing)
    for one, other in zip(maps, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(one.sum(-1), torch.ones(one.shape[:-1]))


def test_maps_have_a_gradient_and_no_hook_stays(tiny_model):
    weight = tiny_model.unet.mid_block.attentions[0].transformer_blocks[0].attn2.to_k.weight
    weight.requires_grad_(True)
    with attention_maps(tiny_model.unet) as maps:
        tiny_model.predict_noise(torch.randn(1, 4, 8, 8), 500, "a cat")
    sum(each[..., 1].sum() for each in maps).backward()
    assert weight.grad.abs().max() > 0
    weight.requires_grad_(False).grad = None
    assert not any(module._forward_hooks for module in tiny_model.unet.modules())
