"""`python -m studies.training_memory`: which fine-tunings of Stable Diffusion 1.4 fit a 24 GB GPU.

Writes docs/memory.md. Nothing is trained and no weights are needed: the model is built from its
configuration on torch's meta device and `methods.machinery.memory` does the counting. About a minute.
"""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import get_args

import torch
from torch import nn

from erasure_bench.methods.machinery.memory import TrainingMemory, training_memory
from erasure_bench.methods.machinery.parameters import ParameterGroup, UNetGroup, select

GIB = 2**30
CARD_GIB = 24.0
RESERVE_GIB = 1.5
"""For the CUDA context, cuDNN's and cuBLAS' work space and what the allocator loses to fragmentation."""

LATENTS = (4, 64, 64)
PASSES = [(1, False), (1, True), (4, False), (4, True)]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What a kind of training holds besides weights, gradients and optimiser."""

    title: str
    groups: tuple[ParameterGroup, ...]
    frozen_copy: bool = False
    average: bool = False
    others: int = 0
    """Further tensors for each trained one."""


RECIPES = (
    Recipe(
        title="With a frozen copy of the model (ESD; Concept Ablation with `target=base`)",
        groups=get_args(UNetGroup),
        frozen_copy=True,
    ),
    Recipe(title="Without one (Concept Ablation)", groups=get_args(ParameterGroup)),
    Recipe(
        title="With the trained weights' original values and their distance from them (loss maximisation)",
        groups=get_args(ParameterGroup),
        others=2,
    ),
    Recipe(
        title="With the average of the weights (Selective Amnesia)", groups=("noxattn", "full"), average=True
    ),
    Recipe(title="The same with the average on the CPU (`ema_on_cpu`)", groups=("noxattn", "full")),
)

HEAD = f"""# Memory for training on Stable Diffusion 1.4

**A computed estimate, not a measurement**: made by `python -m studies.training_memory` from the shapes of
the tensors alone. Everything in fp32, Adam or AdamW, 512 × 512 pixels, fused attention kernels (PyTorch's
`scaled_dot_product_attention`). GiB on the GPU, the whole model with its text encoder and autoencoder
included. **Bold** fits a 24 GB card with {RESERVE_GIB:g} GiB left for what is not counted: the CUDA context,
the libraries' work space and fragmentation.

The columns are the images in one pass. A batch of any size can go through as micro-batches of one
(`--method-option micro_batch=1`); *checkpointed* is `--method-option gradient_checkpointing=true`, which
recomputes instead of remembering. What a method computes without gradients between its steps (sampling,
targets, the autoencoder) is not counted: it has the room of the activations, the gradients being gone.
Selective Amnesia's original weights and Fisher diagonal stay on the CPU, whence one tensor at a time is
copied. The distance that loss maximisation's penalty measures is not there at the same time as the
activations; it is counted as if it were.

The official presets pass their whole batch at once: ESD 1 image, loss maximisation 8, Concept Ablation up to
8 and as many anchors (by the concept's kind), Selective Amnesia 16 and as many replayed. On 24 GB give the
last three `micro_batch=1` (or as many as the tables allow).
"""


@cache
def stable_diffusion_1_4() -> dict[str, nn.Module]:
    """Its parts without memory for the weights."""
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    text = CLIPTextConfig(
        hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12
    )
    blocks = 4
    with torch.device("meta"):
        return {
            "unet": UNet2DConditionModel(sample_size=64, cross_attention_dim=768, attention_head_dim=8),
            "text_encoder": CLIPTextModel(text),
            "vae": AutoencoderKL(
                block_out_channels=(128, 256, 512, 512),
                down_block_types=("DownEncoderBlock2D",) * blocks,
                up_block_types=("UpDecoderBlock2D",) * blocks,
                layers_per_block=2,
                latent_channels=4,
            ),
        }


@cache
def everything(group: ParameterGroup, micro_batch: int, checkpointing: bool) -> TrainingMemory:
    """All that any recipe holds, as the pass, which takes the time, is the same for all of them."""
    print(f"{group}, {micro_batch} at a time, checkpointing {checkpointing}", file=sys.stderr, flush=True)
    return training_memory(
        stable_diffusion_1_4(),
        group,
        latent_shape=LATENTS,
        micro_batch=micro_batch,
        gradient_checkpointing=checkpointing,
        frozen_copy=True,
        average=True,
        other_tensors=1,
    )


def needed(recipe: Recipe, group: ParameterGroup, micro_batch: int, checkpointing: bool) -> TrainingMemory:
    """What one recipe holds."""
    most = everything(group, micro_batch, checkpointing)
    return replace(
        most,
        frozen_copy=most.frozen_copy * recipe.frozen_copy,
        average=most.average * recipe.average,
        others=most.others * recipe.others,
    )


def table(recipe: Recipe) -> Iterator[str]:
    """A recipe's lines of Markdown: one row for each group, one column for each way of passing."""
    parts = stable_diffusion_1_4()
    heads = [
        f"{size} image{'s' if size > 1 else ''}{', checkpointed' if saved else ''}" for size, saved in PASSES
    ]
    yield f"| group | parameters (M) | without activations | {' | '.join(heads)} |"
    yield "|---|" + "---:|" * (2 + len(heads))
    for group in recipe.groups:
        found = [needed(recipe, group, size, saved) for size, saved in PASSES]
        millions = sum(parameter.numel() for parameter in select(parts, group).values()) / 1e6
        fixed = (found[0].total - found[0].activations) / GIB
        cells = [shown(memory.total / GIB) for memory in found]
        yield f"| `{group}` | {millions:.2f} | {fixed:.1f} | {' | '.join(cells)} |"


def shown(gib: float) -> str:
    """A number of GiB, bold where it fits the card."""
    return f"**{gib:.1f}**" if gib <= CARD_GIB - RESERVE_GIB else f"{gib:.1f}"


def page() -> str:
    """docs/memory.md."""
    lines = [HEAD]
    for recipe in RECIPES:
        lines += [f"## {recipe.title}", "", *table(recipe), ""]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m studies.training_memory", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/memory.md"))
    given = parser.parse_args()
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
