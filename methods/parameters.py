"""Which of the UNet's parameters a method trains."""

from collections.abc import Mapping
from typing import Literal, get_args

from torch import nn

from prompt_suites.errors import BenchError, UnknownName

ParameterGroup = Literal["xattn", "xattn-strict", "u", "all", "noxattn", "full"]
"""Named after the papers' own settings, by diffusers' module names:

- `xattn`: every parameter under an `attn2` (cross-attention q, k, v, out), ESD-x;
- `xattn-strict`: `attn2.to_k` and `attn2.to_v` only, ESD-x-strict and Concept Ablation;
- `u`: Linear and Conv2d modules without `attn2`, no norms, as ESD's diffusers code selects them;
- `all`: every Linear and Conv2d module, no norms, as ESD's diffusers code selects them;
- `noxattn`: all but `conv_norm_out`, `conv_out`, `attn2` and `time_embedding`: the rule of the
  compvis code of ESD, SA, EraseDiff, EAP and AGE, norms and `conv_in` included;
- `full`: everything.
"""

CROSS_ATTENTION = "attn2"
KEYS_AND_VALUES = ("attn2.to_k", "attn2.to_v")
KEPT_BY_NOXATTN = ("conv_norm_out.", "conv_out.", "time_embedding.")


def select(parts: Mapping[str, nn.Module], group: ParameterGroup) -> dict[str, nn.Parameter]:
    """The group's parameters by full name, `unet.` first, in the model's own order.

    `parts` is a model's `parts`: only its `unet` is looked at. Raises BenchError where the model
    has nothing in the group, as a UNet without cross-attention.
    """
    if group not in get_args(ParameterGroup):
        raise UnknownName("parameter group", group, get_args(ParameterGroup), "--method-option parameters=…")
    unet = parts["unet"]
    weighted = {name for name, module in unet.named_modules() if isinstance(module, nn.Linear | nn.Conv2d)}
    chosen = {
        f"unet.{name}": parameter
        for name, parameter in unet.named_parameters()
        if _belongs(name, name.rpartition(".")[0] in weighted, group)
    }
    if not chosen:
        raise BenchError(
            f"this model's UNet has no parameters in the group {group!r}; "
            f"valid: {', '.join(get_args(ParameterGroup))} (--method-option parameters=…)"
        )
    return chosen


def _belongs(name: str, linear_or_convolution: bool, group: ParameterGroup) -> bool:
    crosses = CROSS_ATTENTION in name
    match group:
        case "xattn":
            return crosses
        case "xattn-strict":
            return any(part in name for part in KEYS_AND_VALUES)
        case "u":
            return linear_or_convolution and not crosses
        case "all":
            return linear_or_convolution
        case "noxattn":
            return not crosses and not name.startswith(KEPT_BY_NOXATTN)
        case "full":
            return True
