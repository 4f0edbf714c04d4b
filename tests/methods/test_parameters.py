"""The parameter groups are the papers': checked against every name of the real SD 1.4 UNet."""

import pytest
import torch
from torch import nn

from methods.parameters import select
from prompt_suites.errors import BenchError


@pytest.fixture(scope="module")
def sd14() -> dict[str, nn.Module]:
    """SD 1.4's UNet from its config, without memory for the weights."""
    from diffusers import UNet2DConditionModel

    with torch.device("meta"):
        return {"unet": UNet2DConditionModel(sample_size=64, cross_attention_dim=768, attention_head_dim=8)}


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


def test_u_is_linear_and_convolution_without_cross_attention(sd14):
    chosen = set(select(sd14, "u"))

    norms = {name for name in names(sd14) if "norm" in name.removeprefix("unet.").rsplit(".", 2)[-2]}
    crossing = {name for name in names(sd14) if ".attn2." in name}
    assert chosen == names(sd14) - norms - crossing
    assert {"unet.conv_in.weight", "unet.conv_out.bias", "unet.time_embedding.linear_1.weight"} <= chosen


def test_all_is_u_and_cross_attention(sd14):
    assert set(select(sd14, "all")) == set(select(sd14, "u")) | set(select(sd14, "xattn"))


def test_noxattn_is_compvis_rule(sd14):
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


def test_full_is_everything(sd14):
    assert set(select(sd14, "full")) == names(sd14)
    assert count(select(sd14, "full")) == 859_520_964


def test_model_without_cross_attention_is_refused():
    with pytest.raises(BenchError, match="no parameters in the group 'xattn'"):
        select({"unet": nn.Sequential(nn.Linear(2, 2))}, "xattn")


def test_unknown_group_is_refused(sd14):
    with pytest.raises(BenchError, match="did you mean xattn"):
        select(sd14, "xatn")
