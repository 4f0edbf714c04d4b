"""LoRA adapters in kohya's names (SPM's too) and in PEFT's and diffusers' names, merged into the weights.

    W' = W + scale · (α / r) · up · down

for Linear and convolutions alike: `down` [r, in, (h, w)] is the layer's own convolution into r
channels, `up` [out, r, (1, 1)] mixes those.
"""

import math
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from pydantic import BaseModel, FiniteFloat, TypeAdapter, ValidationError
from torch import Tensor

from erasure_bench.errors import BenchError
from erasure_bench.models.checkpoints.compvis import compvis_names
from erasure_bench.models.checkpoints.contents import Contents, Format, Source, Target, is_flat, some
from erasure_bench.models.checkpoints.fitting import refuse_unknown
from erasure_bench.models.checkpoints.names import full_name
from erasure_bench.models.checkpoints.reading import Tree
from erasure_bench.models.checkpoints.state_dicts import PARTS
from erasure_bench.models.diffusion_model import wide

# …to_q.lora_A.weight, .lora_B.default.weight (PEFT); .lora.up.weight, .lora_linear_layer.down.weight
# (diffusers); .lora_down.weight (kohya); …attn1.processor.to_q_lora.down.weight (diffusers' first).
FACTOR = re.compile(
    r"(?P<module>.+?)\.(?:lora_(?P<letter>[AB])(?:\.\w+)?|lora(?:_linear_layer)?[._](?P<side>down|up))\.weight"
)
PROCESSOR_FACTOR = re.compile(r"(?P<module>.+)\.processor\.(?P<leaf>to_\w+)_lora\.(?P<side>down|up)\.weight")
ALPHA = re.compile(r"(?P<module>.+)\.alpha")
UNET_LEVELS = ("unet.", "diffusion_model.", "model.diffusion_model.")
"""How OneTrainer, ComfyUI and others begin a UNet's layer, in diffusers' or compvis' spelling."""
COMPVIS_BLOCKS = ("input_blocks.", "middle_block.", "output_blocks.")
TEXT_LEVELS = ("text_encoder.", "text_encoders.clip_l.transformer.", "clip_l.transformer.", "clip_l.")
SIDES = {"A": "down", "B": "up"}
KOHYA_UNET, KOHYA_TEXT = "lora_unet_", "lora_te_"
PEFT_PREFIX = "base_model.model."
METADATA_KEY = "lora_adapter_metadata"
"""Where diffusers keeps a PEFT adapter's settings in a safetensors file."""

SUPPORTED = "supported: LoRA of Linear and Conv2d layers, in kohya's, PEFT's, diffusers' or compvis' names"
OTHER_ADAPTERS: dict[str, str] = {
    ".hada_": "a LoHa adapter (Hadamard product)",
    ".lokr_": "a LoKr adapter (Kronecker product)",
    ".dora_scale": "a DoRA adapter (weights decomposed into direction and magnitude)",
    ".lora_magnitude_vector": "a DoRA adapter (weights decomposed into direction and magnitude)",
    ".lora_mid.": "a LoCon adapter with lora_mid (Tucker decomposition)",
    ".lora_embedding_": "a LoRA of an embedding",
    ".oft_": "an OFT adapter (orthogonal finetuning)",
    ".boft_": "a BOFT adapter (orthogonal finetuning)",
    ".on_input": "an IA3 adapter",
    ".ia3_": "an IA3 adapter",
    ".a1.weight": "a GLoRA adapter",
    ".diff_b": "a LyCORIS adapter of whole differences (full)",
}
"""What no other files have in their names -> the kind of adapter that it gives away."""


class Key(NamedTuple):
    """What a file's key holds: a factor ("down", "up") or "alpha" of the layer that it calls `module`."""

    module: str
    role: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Adapter:
    """A low-rank change of one layer's weight; without `alpha` the factors' product counts as it is."""

    down: Tensor
    up: Tensor
    alpha: float | None = None

    @property
    def rank(self) -> int:
        """r, the channels between the factors."""
        return int(self.down.shape[0])

    def change(self, shape: torch.Size) -> Tensor:
        """ΔW = (α / r) · up · down, of the weight's `shape`; raises ValueError where it does not fit."""
        if self.up.dim() < 2 or self.down.dim() < 2 or math.prod(self.up.shape[2:]) != 1:
            raise ValueError("the LoRA's factors are not those of a Linear or Conv2d layer")
        up, down = self.up.float().flatten(1), self.down.float().flatten(1)
        if up.shape[1] != down.shape[0] or (up.shape[0], down.shape[1]) != (shape[0], math.prod(shape[1:])):
            raise ValueError(
                f"the LoRA's factors are {tuple(self.up.shape)} and {tuple(self.down.shape)}, the base "
                f"model's weight is {tuple(shape)}: it belongs to another base model"
            )
        strength = 1.0 if self.alpha is None else self.alpha / self.rank
        return (strength * (up @ down)).reshape(shape)


def refuse_adapter(source: Source) -> None:
    """Raises BenchError where the file is an adapter of another kind than a LoRA."""
    for name in source.tree:
        for mark, kind in OTHER_ADAPTERS.items():
            if mark in name:
                raise BenchError(f"{source.path}: {kind}, for it holds {name}; {SUPPORTED}")


def _matches(tree: Tree) -> bool:
    return is_flat(tree) and any((key := _parse(name)) and key.role != "alpha" for name in tree)


def _parse(name: str) -> Key | None:
    if match := PROCESSOR_FACTOR.fullmatch(name):
        leaf = "to_out.0" if match["leaf"] == "to_out" else match["leaf"]
        return Key(f"{match['module']}.{leaf}", match["side"])
    if match := FACTOR.fullmatch(name):
        return Key(match["module"], match["side"] or SIDES[match["letter"]])
    if match := ALPHA.fullmatch(name):
        return Key(match["module"], "alpha")
    return None


def _read(source: Source, target: Target) -> Contents:
    parsed = {name: _parse(name) for name in source.tree}
    if strange := [name for name, key in parsed.items() if key is None]:
        raise BenchError(f"{source.path}: a LoRA with {some(strange)}: {SUPPORTED}")
    by_module: defaultdict[str, dict[str, Tensor]] = defaultdict(dict)
    for name, key in parsed.items():
        if key is not None:
            by_module[key.module][key.role] = source.tree[name]
    kohya = any(module.startswith((KOHYA_UNET, KOHYA_TEXT)) for module in by_module)
    weights = _weights_by_module(by_module, target, kohya)
    refuse_unknown(
        f"{source.path}, taken for a {LORA.title}",
        [module for module, weight in weights.items() if weight not in target.base],
    )
    settings = _settings(source)
    adapters = {
        weights[module]: _adapter(source.path, module, factors, weights[module], settings)
        for module, factors in by_module.items()
    }
    ranks = sorted({adapter.rank for adapter in adapters.values()})
    rank = str(ranks[0]) if len(ranks) == 1 else f"{ranks[0]}–{ranks[-1]}"
    return Contents(
        f"{_spelling(by_module, kohya)} LoRA of {len(adapters)} layers, rank {rank}, scale {target.scale:g}",
        {name: _merged(source.path, name, adapter, target) for name, adapter in adapters.items()},
        tuple(_notes(adapters.values(), kohya)),
    )


def _spelling(modules: Iterable[str], kohya: bool) -> str:
    if kohya:
        return "kohya"
    compvis = any(block in module for module in modules for block in COMPVIS_BLOCKS)
    return "OneTrainer or ComfyUI (compvis names)" if compvis else "PEFT or diffusers"


def _weights_by_module(modules: Mapping[str, Any], target: Target, kohya: bool) -> dict[str, str]:
    """The file's name of a layer -> the base model's name of its weight (or what it would be)."""
    if kohya:
        known = _kohya_modules(target)
        return {module: known.get(module, module) for module in modules}
    by_compvis = {new: old for old, new in compvis_names(target.names("unet")).items()}
    return {module: _weight_of(module.replace(PEFT_PREFIX, ""), by_compvis) for module in modules}


def _weight_of(module: str, by_compvis: Mapping[str, str]) -> str:
    """The base model's name (or what it would be) of the weight of a layer with dots in its name."""
    for level in TEXT_LEVELS:
        if module.startswith(level):
            return full_name(f"text_encoder.{module.removeprefix(level)}.weight")
    level = next((level for level in UNET_LEVELS if module.startswith(level)), "")
    name = f"{module.removeprefix(level)}.weight"
    return f"unet.{by_compvis[name]}" if name in by_compvis else full_name(name, "unet" if level else None)


def _kohya_modules(target: Target) -> dict[str, str]:
    """kohya's name of a layer, of diffusers' or compvis' spelling -> the base model's name of its weight."""

    def spelt(start: str, weight: str) -> str:
        return start + weight.removesuffix(".weight").replace(".", "_")

    known = {
        spelt(f"{KOHYA_TEXT}text_model_", name): f"text_encoder.{name}"
        for name in target.names("text_encoder")
    }
    compvis = compvis_names(target.names("unet"))
    for name in target.names("unet"):
        known[spelt(KOHYA_UNET, name)] = f"unet.{name}"
        if name in compvis:
            known[spelt(KOHYA_UNET, compvis[name])] = f"unet.{name}"
    return known


class _Settings(BaseModel):
    """What of a PEFT adapter's settings decides its strength, on one part of the model."""

    use_dora: bool = False
    use_rslora: bool = False
    lora_alpha: FiniteFloat | None = None
    alpha_pattern: dict[re.Pattern[str], FiniteFloat] | None = None

    def alpha(self, layer: str, rank: int) -> float | None:
        """α of a layer that the file itself has none for; None where nothing says it."""
        patterns = (self.alpha_pattern or {}).items()
        alpha = next(
            (value for known, value in patterns if re.fullmatch(rf"(.*\.)?({known.pattern})", layer)),
            self.lora_alpha,
        )
        return alpha * math.sqrt(rank) if alpha is not None and self.use_rslora else alpha


def _settings(source: Source) -> dict[str, _Settings]:
    """By part of the model: an adapter's own file, or what diffusers noted in the safetensors file."""
    try:
        noted = TypeAdapter(dict[str, Any]).validate_json(source.metadata.get(METADATA_KEY, "{}"))
        settings = {part: _Settings.model_validate(source.adapter or _of_part(noted, part)) for part in PARTS}
    except ValidationError as error:
        problem = error.errors()[0]
        name = ".".join(map(str, problem["loc"])) or "all of them"
        raise BenchError(
            f"{source.path}: a LoRA with settings that cannot be read: {name}: {problem['msg']}"
        ) from None
    if any(given.use_dora for given in settings.values()):
        raise BenchError(f"{source.path}: a DoRA adapter; {SUPPORTED}")
    return settings


def _of_part(noted: Mapping[str, Any], part: str) -> dict[str, Any]:
    prefix = f"{part}."
    return {key.removeprefix(prefix): value for key, value in noted.items() if key.startswith(prefix)}


def _adapter(
    path: Path, module: str, factors: Mapping[str, Tensor], weight: str, settings: Mapping[str, _Settings]
) -> Adapter:
    if not {"down", "up"} <= factors.keys():
        raise BenchError(f"{path}: the LoRA of {module} is incomplete: it has {', '.join(factors)} only")
    rank = len(factors["down"])
    if not rank:
        raise BenchError(f"{path}: the LoRA of {module} has rank 0")
    part, _, layer = weight.removesuffix(".weight").partition(".")
    own = factors.get("alpha")
    alpha = settings[part].alpha(layer, rank) if own is None else _number(path, module, own)
    return Adapter(down=factors["down"], up=factors["up"], alpha=alpha)


def _number(path: Path, module: str, alpha: Tensor) -> float:
    if alpha.numel() != 1:
        raise BenchError(f"{path}: the alpha of {module} is {alpha.numel()} numbers, not one")
    return 1.0 if alpha.is_meta else float(alpha)


def _merged(path: Path, name: str, adapter: Adapter, target: Target) -> Tensor:
    own = target.base[name].detach()
    weight = wide(own if target.shapes_only else own.cpu())
    try:
        return weight + target.scale * adapter.change(weight.shape)
    except ValueError as error:
        raise BenchError(f"{path}: {name}: {error} (--model)") from error


def _notes(adapters: Collection[Adapter], kohya: bool) -> Iterator[str]:
    if not all(adapter.alpha is not None for adapter in adapters):
        yield "no alpha for some layers: taken as equal to the rank, as diffusers does"
    if kohya and all(adapter.rank == 1 for adapter in adapters):
        yield "rank 1 in kohya's names, as SPM saves it: merged as it is, without SPM's gate on the prompt"


LORA = Format("LoRA in kohya's, PEFT's, diffusers' or compvis' names", _matches, _read, has_scale=True)
