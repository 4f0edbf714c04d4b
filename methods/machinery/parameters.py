"""Which of a model's parameters a method trains."""

from collections.abc import Mapping
from typing import Literal, get_args

from torch import nn

from erasure_bench.errors import BenchError, UnknownName
from erasure_bench.models.roles import CROSS_ATTENTION, Roles

UNetGroup = Literal["xattn", "xattn-strict", "crossattn", "attn", "u", "all", "noxattn", "full"]
"""Groups of the UNet's parameters, named after the papers' own settings, by diffusers' module names:

- `xattn`: every parameter under an `attn2` (cross-attention q, k, v, out), ESD-x;
- `xattn-strict`: `attn2.to_k` and `attn2.to_v` only, ESD-x-strict, Concept Ablation and UCE;
- `crossattn`: `to_q`, `to_k` and `to_v` of self- and cross-attention, so named by Concept Ablation's
  compvis code;
- `attn`: `to_q`, `to_k`, `to_v` and `to_out.0` of self- and cross-attention, Concept Ablation for nudity;
- `u`: Linear and Conv2d modules without `attn2`, no norms, as ESD's diffusers code selects them;
- `all`: every Linear and Conv2d module, no norms, as ESD's diffusers code selects them;
- `noxattn`: all but `conv_norm_out`, `conv_out`, `attn2` and `time_embedding`: the rule of the
  compvis code of ESD, SA, EraseDiff, EAP and AGE, norms and `conv_in` included;
- `full`: everything.

Of a class-conditional denoiser, which has no cross-attention, `xattn` is where the class enters (its
embedding and the layers behind it), `xattn-strict` the embedding alone, and `u` and `noxattn` go without
these. A variational autoencoder has the group `full` alone.
"""

ParameterGroup = Literal[UNetGroup, "embedding"]
"""The UNet's groups, and `embedding`: the text encoder's token embedding, Concept Ablation's `embedding`.

Training `embedding` changes what a prompt's embeddings are: the loss has to be computed from prompts
as text, encoded anew at every step, never from embeddings that were kept.
"""

QUERIES_KEYS_VALUES = (".to_q.", ".to_k.", ".to_v.")
PROJECTIONS = (*QUERIES_KEYS_VALUES, ".to_out.0.")
NETWORKS = ("unet", "vae")
"""The part that methods train: the denoiser, and where there is none the autoencoder itself."""
TOKEN_EMBEDDING = "embeddings.token_embedding.weight"
LAYERS = "encoder.layers."


def select(parts: Mapping[str, nn.Module], group: ParameterGroup) -> dict[str, nn.Parameter]:
    """The group's parameters by their names in `ImageModel.named_tensors`, in the model's own order.

    `parts` is a model's `parts`: one of `NETWORKS`, for `embedding` its `text_encoder` instead. Raises
    BenchError where the model has nothing in the group, as an autoencoder without a denoiser.
    """
    if group not in get_args(ParameterGroup):
        raise UnknownName("parameter group", group, get_args(ParameterGroup), "--method-option parameters=…")
    if group == "embedding":
        chosen = _token_embedding(parts["text_encoder"]) if "text_encoder" in parts else {}
    else:
        part = next(name for name in NETWORKS if name in parts)
        chosen = _of_network(part, parts[part], group)
    if not chosen:
        raise BenchError(
            f"this model has no parameters in the group {group!r}; "
            f"valid: {', '.join(get_args(ParameterGroup))} (--method-option parameters=…)"
        )
    return chosen


def cross_attentions(unet: nn.Module) -> dict[str, nn.Module]:
    """The UNet's cross-attention modules by their names in it, in its own order."""
    names = CROSS_ATTENTION.condition
    return {name: module for name, module in unet.named_modules() if name.rpartition(".")[2] in names}


def of_text_encoder(text_encoder: nn.Module, layers: int | None = None) -> dict[str, nn.Parameter]:
    """The text encoder's parameters by their names in `DiffusionModel.named_tensors`.

    All of them, or those of its first `layers` transformer layers alone; BenchError where it has fewer.
    """
    named = {
        name.removeprefix("text_model."): parameter  # transformers 4 has one level more
        for name, parameter in text_encoder.named_parameters()
    }
    if layers is not None:
        known = {int(name.split(".")[2]) for name in named if name.startswith(LAYERS)}
        if layers > len(known):
            raise BenchError(f"layers={layers}: the text encoder has {len(known)} (--method-option layers=…)")
        first = tuple(f"{LAYERS}{number}." for number in range(layers))
        named = {name: parameter for name, parameter in named.items() if name.startswith(first)}
    return {f"text_encoder.{name}": parameter for name, parameter in named.items()}


def _token_embedding(text_encoder: nn.Module) -> dict[str, nn.Parameter]:
    return {
        f"text_encoder.{TOKEN_EMBEDDING}": parameter
        for name, parameter in text_encoder.named_parameters()
        if name.removeprefix("text_model.") == TOKEN_EMBEDDING  # transformers 4 has one level more
    }


def _of_network(part: str, network: nn.Module, group: UNetGroup) -> dict[str, nn.Parameter]:
    if part != "unet" and group != "full":
        return {}
    roles: Roles = getattr(network, "roles", CROSS_ATTENTION)
    weighted = {name for name, module in network.named_modules() if isinstance(module, nn.Linear | nn.Conv2d)}
    return {
        f"{part}.{name}": parameter
        for name, parameter in network.named_parameters()
        if _belongs(name, name.rpartition(".")[0] in weighted, group, roles)
    }


def _belongs(name: str, linear_or_convolution: bool, group: UNetGroup, roles: Roles) -> bool:
    crosses = any(part in name for part in roles.condition)
    match group:
        case "xattn":
            return crosses
        case "xattn-strict":
            return any(part in name for part in roles.condition_strict)
        case "crossattn":
            return any(part in name for part in QUERIES_KEYS_VALUES)
        case "attn":
            return any(part in name for part in PROJECTIONS)
        case "u":
            return linear_or_convolution and not crosses
        case "all":
            return linear_or_convolution
        case "noxattn":
            return not crosses and not name.startswith(roles.kept)
        case "full":
            return True
