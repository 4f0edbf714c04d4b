"""The parameter groups are the papers': checked against every name of the real SD 1.4 UNet."""

from typing import get_args

import pytest
import torch
from torch import nn

from erasure_bench.errors import BenchError
from erasure_bench.methods.machinery.parameters import ParameterGroup, select


@pytest.fixture(scope="module")
def sd14() -> dict[str, nn.Module]:
    """SD 1.4's UNet and text encoder from their configs, without memory for the weights."""
    from diffusers import UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    text = CLIPTextConfig(
        hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12
    )
    with torch.device("meta"):
        return {
            "unet": UNet2DConditionModel(sample_size=64, cross_attention_dim=768, attention_head_dim=8),
            "text_encoder": CLIPTextModel(text),
        }


def names(parts: dict[str, nn.Module]) -> set[str]:
    return {f"unet.{name}" for name, _ in parts["unet"].named_parameters()}


def count(parameters: dict[str, nn.Parameter]) -> int:
    return sum(parameter.numel() for parameter in parameters.values())


def test_cross_attention_of_sd14(sd14):
    chosen = select(sd14, "xattn")

    assert len({name.split(".attn2.")[0] for name in chosen}) == 16
    assert {name.split(".attn2.")[1] for name in chosen} == {
        "to_q.weight", "to_k.weight", "to_v.weight", "to_out.0.weight", "to_out.0.bias",
    }  # fmt: skip
    assert len(chosen) == 16 * 5
    assert count(chosen) / 1e6 == pytest.approx(43.96, abs=0.005)


def test_keys_and_values_of_sd14(sd14):
    chosen = select(sd14, "xattn-strict")

    assert len(chosen) == 32
    assert all(name.endswith((".attn2.to_k.weight", ".attn2.to_v.weight")) for name in chosen)
    assert count(chosen) / 1e6 == pytest.approx(19.17, abs=0.005)


def test_attention_of_sd14(sd14):
    """q, k, v and out of 16 self- and 16 cross-attentions: 5 of width 320, 5 of 640 and 6 of 1280."""
    chosen = select(sd14, "attn")

    assert {name.split(".transformer_blocks.0.")[1] for name in chosen} == {
        f"attn{which}.{projection}"
        for which in (1, 2)
        for projection in ("to_q.weight", "to_k.weight", "to_v.weight", "to_out.0.weight", "to_out.0.bias")
    }
    assert len(chosen) == 160
    widths = [320] * 5 + [640] * 5 + [1280] * 6
    self_attention = sum(4 * width**2 + width for width in widths)
    assert count(chosen) == self_attention + count(select(sd14, "xattn"))


def test_token_embedding_of_sd14(sd14):
    chosen = select(sd14, "embedding")

    assert chosen.keys() == {"text_encoder.embeddings.token_embedding.weight"}
    assert count(chosen) == 49408 * 768
    assert next(iter(chosen.values())) is sd14["text_encoder"].get_input_embeddings().weight


def test_token_embedding_has_its_name_under_transformers_4_too():
    """Where the encoder is one level further down, as `text_model`."""
    inner = nn.ModuleDict({"embeddings": nn.ModuleDict({"token_embedding": nn.Embedding(5, 3)})})
    parts = {"text_encoder": nn.ModuleDict({"text_model": inner})}

    assert select(parts, "embedding").keys() == {"text_encoder.embeddings.token_embedding.weight"}


@pytest.mark.parametrize("group", get_args(ParameterGroup))
def test_names_are_the_models_own(tiny_model, group):
    named = tiny_model.named_tensors()
    assert all(parameter is named[name] for name, parameter in select(tiny_model.parts, group).items())


def test_u_is_linear_and_convolution_without_cross_attention(sd14):
    chosen = set(select(sd14, "u"))

    norms = {name for name in names(sd14) if "norm" in name.removeprefix("unet.").rsplit(".", 2)[-2]}
    crossing = {name for name in names(sd14) if ".attn2." in name}
    assert chosen == names(sd14) - norms - crossing
    assert {"unet.conv_in.weight", "unet.conv_out.bias", "unet.time_embedding.linear_1.weight"} <= chosen


def test_all_is_u_and_cross_attention(sd14):
    assert set(select(sd14, "all")) == set(select(sd14, "u")) | set(select(sd14, "xattn"))


def test_noxattn_is_the_rule_in_diffusers_names(sd14):
    chosen = set(select(sd14, "noxattn"))

    left_out = {name for name in names(sd14) if ".attn2." in name} | {
        f"unet.{module}.{kind}"
        for module in ("conv_norm_out", "conv_out", "time_embedding.linear_1", "time_embedding.linear_2")
        for kind in ("weight", "bias")
    }
    assert left_out <= names(sd14)
    assert chosen == names(sd14) - left_out
    assert "unet.down_blocks.0.resnets.0.time_emb_proj.weight" in chosen
    assert "unet.down_blocks.0.attentions.0.transformer_blocks.0.norm2.weight" in chosen


def test_noxattn_is_the_compvis_codes_rule_name_by_name(sd14):
    """Its rule on all of its own names, each translated: neither list knows of the other."""
    theirs = compvis_names()
    translated = {f"unet.{to_diffusers(name)}" for name in theirs}
    assert len(theirs) == len(translated) == 686
    assert translated == names(sd14)

    trained = {
        name for name in theirs if not (name.startswith("out.") or "attn2" in name or "time_embed" in name)
    }
    assert set(select(sd14, "noxattn")) == {f"unet.{to_diffusers(name)}" for name in trained}


def compvis_names() -> set[str]:
    """Every parameter of SD 1.4's UNet as the compvis code names it, from its architecture."""
    both = ("weight", "bias")
    residual = ["in_layers.0", "in_layers.2", "emb_layers.1", "out_layers.0", "out_layers.3"]
    attention = [f"{name}.{kind}" for name in ("norm", "proj_in", "proj_out") for kind in both]
    block = "transformer_blocks.0"
    with_bias = ["norm1", "norm2", "norm3", "ff.net.0.proj", "ff.net.2", "attn1.to_out.0", "attn2.to_out.0"]
    attention += [f"{block}.{name}.{kind}" for name in with_bias for kind in both]
    attention += [f"{block}.{a}.{to}.weight" for a in ("attn1", "attn2") for to in ("to_q", "to_k", "to_v")]

    found = {f"time_embed.{i}.{kind}" for i in (0, 2) for kind in both}
    found |= {f"out.{i}.{kind}" for i in (0, 2) for kind in both}
    found |= {f"input_blocks.0.0.{kind}" for kind in both}
    found |= {f"input_blocks.{i}.0.op.{kind}" for i in (3, 6, 9) for kind in both}
    residuals = [f"input_blocks.{i}.0" for i in (1, 2, 4, 5, 7, 8, 10, 11)]
    residuals += [f"middle_block.{i}" for i in (0, 2)] + [f"output_blocks.{i}.0" for i in range(12)]
    found |= {f"{place}.{name}.{kind}" for place in residuals for name in residual for kind in both}
    changing_width = ["input_blocks.4.0", "input_blocks.7.0", *(f"output_blocks.{i}.0" for i in range(12))]
    found |= {f"{place}.skip_connection.{kind}" for place in changing_width for kind in both}
    attentions = [f"input_blocks.{i}.1" for i in (1, 2, 4, 5, 7, 8)] + ["middle_block.1"]
    attentions += [f"output_blocks.{i}.1" for i in range(3, 12)]
    found |= {f"{place}.{name}" for place in attentions for name in attention}
    upsamplers = ("output_blocks.2.1", "output_blocks.5.2", "output_blocks.8.2")
    return found | {f"{place}.conv.{kind}" for place in upsamplers for kind in both}


RESIDUAL = {
    "in_layers.0": "norm1",
    "in_layers.2": "conv1",
    "emb_layers.1": "time_emb_proj",
    "out_layers.0": "norm2",
    "out_layers.3": "conv2",
    "skip_connection": "conv_shortcut",
}
OUTSIDE_BLOCKS = {
    "time_embed.0": "time_embedding.linear_1",
    "time_embed.2": "time_embedding.linear_2",
    "input_blocks.0.0": "conv_in",
    "out.0": "conv_norm_out",
    "out.2": "conv_out",
}


def to_diffusers(name: str) -> str:
    """A compvis name of SD 1.4's UNet as diffusers has it."""
    module, _, kind = name.rpartition(".")
    if module in OUTSIDE_BLOCKS:
        return f"{OUTSIDE_BLOCKS[module]}.{kind}"
    side, first, *rest = module.split(".")
    inside = ".".join(rest[1:])
    if side == "middle_block":
        inside = ".".join(rest)
        if first == "1":
            return f"mid_block.attentions.0.{inside}.{kind}"
        return f"mid_block.resnets.{int(first) // 2}.{RESIDUAL[inside]}.{kind}"
    index = int(first) - (side == "input_blocks")
    block = f"{'down' if side == 'input_blocks' else 'up'}_blocks.{index // 3}"
    if inside == "op":
        return f"{block}.downsamplers.0.conv.{kind}"
    if inside == "conv":
        return f"{block}.upsamplers.0.conv.{kind}"
    if rest[0] == "1":
        return f"{block}.attentions.{index % 3}.{inside}.{kind}"
    return f"{block}.resnets.{index % 3}.{RESIDUAL[inside]}.{kind}"


def test_full_is_everything(sd14):
    assert set(select(sd14, "full")) == names(sd14)
    assert count(select(sd14, "full")) == 859_520_964


def test_model_without_cross_attention_is_refused():
    with pytest.raises(BenchError, match="no parameters in the group 'xattn'"):
        select({"unet": nn.Sequential(nn.Linear(2, 2))}, "xattn")
    with pytest.raises(BenchError, match="no parameters in the group 'embedding'"):
        select({"text_encoder": nn.Sequential(nn.Linear(2, 2))}, "embedding")


def test_unknown_group_is_refused(sd14):
    with pytest.raises(BenchError, match="did you mean xattn"):
        select(sd14, "xatn")


def test_crossattn_is_concept_ablations_compvis_rule_name_by_name(sd14):
    """Its `--freeze_model crossattn`: queries, keys and values of self- and cross-attention, no outputs."""
    trained = {
        name
        for name in compvis_names()
        if "transformer_blocks" in name and any(part in name for part in ("to_k", "to_q", "to_v"))
    }

    assert len(trained) == 16 * 2 * 3
    assert set(select(sd14, "crossattn")) == {f"unet.{to_diffusers(name)}" for name in trained}
