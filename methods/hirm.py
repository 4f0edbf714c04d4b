"""HiRM: the concept's last representation in the text encoder, led astray by its first layer.

HiRM, 2026, arXiv:2602.19631. Only the first layer of the text encoder is trained, so that what the last
layer's attention gives for the concept becomes a fixed target:

    L = ‖o_last(c) − c*‖² / size          c* = s u/‖u‖,  u uniform in [0, 1)^{tokens × width}

The denoiser is not touched: the edit serves every model that has this text encoder.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat
from torch import Generator, Tensor, nn
from torch.nn.functional import mse_loss

from erasure_bench.errors import BenchError
from erasure_bench.methods.base import EraseContext, MethodCard, Need
from erasure_bench.methods.edit import Edit, check_concepts, new_edit
from erasure_bench.methods.machinery.training import Training
from erasure_bench.models.diffusion_model import DiffusionModel
from erasure_bench.prompt_suites.concepts import Concept

LAYER = re.compile(r"(?:text_model\.)?encoder\.layers\.(\d+)$")  # transformers 5 dropped the first level
PASSES = 0.02
"""What a pass through a text encoder and back costs, in images through the denoiser: little."""


@dataclass(frozen=True, kw_only=True)
class HiRM:
    """Settings of HiRM; the defaults are those of the numbers that are known of it.

    `target` is c*: `random`, one for each erased phrase, or what the last layer gives for the concept's
    `anchor`, both of Frobenius norm `norm`. `phrases` says whether a concept's canonical phrase is erased or
    all of its target phrases, all of them in every one of `steps` steps. `learning_rate` and `weight_decay`
    are AdamW's.
    """

    target: Literal["random", "anchor"] = "random"
    norm: PositiveFloat = 5000.0
    phrases: Literal["canonical", "all"] = "canonical"
    steps: NonNegativeInt = 50
    learning_rate: PositiveFloat = 1e-4
    weight_decay: NonNegativeFloat = 1e-8

    def needs(self, concepts: Sequence[Concept], context: EraseContext) -> tuple[Need, ...]:
        """Its training, in which no picture goes through the denoiser."""
        return (Need(unit="steps", count=self.steps, passes=PASSES),) if self.steps else ()

    def erase(self, model: DiffusionModel, concepts: Sequence[Concept], context: EraseContext) -> Edit:
        """The text encoder's first layer that leads the concepts astray."""
        check_concepts(concepts)
        phrases, anchors = self._texts(concepts)
        with Training(
            first_layer(model),
            device=model.device,
            learning_rate=self.learning_rate,
            steps=self.steps,
            context=context,
            optimiser="adamw",
            weight_decay=self.weight_decay,
            betas=(0.9, 0.98),
            epsilon=1e-6,
        ) as tuning:
            targets = self._targets(model, anchors, tuning.generator)
            for _ in tuning:
                tuning.minimise([mse_loss(last_attention(model, phrases), targets)])
        return new_edit(
            "hirm", self, model, concepts, tensors=tuning.tensors, cost=tuning.cost, losses=tuning.losses
        )

    def _texts(self, concepts: Sequence[Concept]) -> tuple[list[str], list[str]]:
        """The erased phrases, and the anchor of each."""
        pairs = [
            (phrase, concept.anchor)
            for concept in concepts
            for phrase in (concept.targets if self.phrases == "all" else (concept.target,))
        ]
        return [phrase for phrase, _ in pairs], [anchor for _, anchor in pairs]

    def _targets(self, model: DiffusionModel, anchors: Sequence[str], generator: Generator) -> Tensor:
        """c* of each phrase, [n, tokens, width] in fp32."""
        with torch.no_grad():
            directions = last_attention(model, anchors).detach()
        if self.target == "random":
            directions = torch.rand(directions.shape, generator=generator).to(directions)
        return of_norm(directions, self.norm)


def of_norm(directions: Tensor, norm: float) -> Tensor:
    """Each of n matrices [n, tokens, width] with that Frobenius norm."""
    return norm * directions / directions.norm(dim=(1, 2), keepdim=True)


def layers(model: DiffusionModel) -> list[nn.Module]:
    """The text encoder's layers in their order; raises BenchError where it has none that are known."""
    found = {
        int(matched[1]): module
        for name, module in model.text_encoder.named_modules()
        if (matched := LAYER.fullmatch(name))
    }
    if not found:
        raise BenchError(f"the text encoder of {model.name} has no layers as CLIP's has")
    return [found[number] for number in sorted(found)]


def first_layer(model: DiffusionModel) -> dict[str, nn.Parameter]:
    """The parameters of the first layer's attention and of its MLP, without norms, by their full names."""
    starts = ("text_encoder.encoder.layers.0.self_attn.", "text_encoder.encoder.layers.0.mlp.")
    own = {
        name: tensor
        for name, tensor in model.named_tensors().items()
        if name.startswith(starts) and isinstance(tensor, nn.Parameter)
    }
    if not own:
        raise BenchError(f"the text encoder of {model.name} has no layers as CLIP's has")
    return own


def last_attention(model: DiffusionModel, texts: Sequence[str]) -> Tensor:
    """What the last layer's attention gives, [n, tokens, width] in fp32, with its graph."""
    with _caught(layers(model)[-1].get_submodule("self_attn.out_proj")) as outputs:
        model.encode_prompts(texts)
    return outputs[-1].float()


@contextmanager
def _caught(module: nn.Module) -> Iterator[list[Tensor]]:
    outputs: list[Tensor] = []

    def catch(module: nn.Module, inputs: Any, output: Tensor) -> None:
        outputs.append(output)

    handle = module.register_forward_hook(catch)
    try:
        yield outputs
    finally:
        handle.remove()


MICROWORLD: dict[str, Any] = {"phrases": "all", "norm": 100.0, "learning_rate": 1e-3}

HIRM_CARD = MethodCard(
    name="hirm",
    title="High-Level Representation Misdirection",
    paper="Lee et al., Localized Concept Erasure in Text-to-Image Diffusion Models via High-Level "
    "Representation Misdirection, ICLR 2026, arXiv:2602.19631",
    formula="min_θ₀ ‖o_last(c) − s u/‖u‖‖²",
    build=HiRM,
    presets={"official": {}, "microworld": MICROWORLD},
    quick={"steps": 2},
    many_concepts=True,
    notes="Trains the first layer of the text encoder alone, attention and MLP. Its official code was not at "
    "hand where this was written: the numbers of preset official are those of a port, and whether they are "
    "the paper's could not be checked, nor that the target is held against all token positions.",
)
