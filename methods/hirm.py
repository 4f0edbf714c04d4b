"""HiRM: the concept's last representation in the text encoder, led astray by its first layer.

HiRM, 2026, arXiv:2602.19631. Only the first layer of the text encoder is trained, so that what the last
layer's attention gives for the concept becomes a fixed target:

    L = ‖o_last(c) − c*‖² / size          c*_t = s u_t/‖u_t‖,  u uniform in [0, 1)^{tokens × width}

or c* is what the last layer's attention gives for a broader concept. The denoiser is not touched: the edit
serves every model that has this text encoder.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

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


class ByPaper(NamedTuple):
    """The paper's steps towards a random target and towards an anchor, and the learning rate."""

    random: int
    anchor: int
    learning_rate: float


BY_KIND = {
    "style": ByPaper(40, 30, 5e-5),
    "unsafe": ByPaper(50, 25, 1e-4),
    "implicit": ByPaper(50, 25, 1e-4),
}
OTHERWISE = ByPaper(25, 15, 5e-5)
"""Those of things."""


@dataclass(frozen=True, kw_only=True)
class HiRM:
    """Settings of HiRM.

    `target` is c*: `random`, one for each erased phrase, or what the last layer gives for the concept's
    `anchor`. `norm` is the length of each `token`'s vector in it, or of `all` of them as one (`norm_of`);
    None leaves the anchor's as they are. `phrases` says whether a concept's canonical phrase is erased or
    all of its target phrases, all of them in every one of `steps` steps. `learning_rate` and `weight_decay`
    are AdamW's. `steps` and `learning_rate` of None are the paper's numbers for the kind of the concept and
    the target, the larger where several differ.
    """

    target: Literal["random", "anchor"] = "random"
    norm: PositiveFloat | None = 5000.0
    norm_of: Literal["all", "token"] = "all"
    phrases: Literal["canonical", "all"] = "canonical"
    steps: NonNegativeInt | None = 50
    learning_rate: PositiveFloat | None = 1e-4
    weight_decay: NonNegativeFloat = 1e-8

    def __post_init__(self) -> None:
        if self.norm is None and self.target == "random":
            raise BenchError("norm=None: a random target has no length of its own (--method-option norm=…)")

    def unused_settings(self) -> Mapping[str, str]:
        """Without a length there is nothing that it is the length of."""
        return {"norm_of": "with norm=None"} if self.norm is None else {}

    def schedule(self, concepts: Sequence[Concept]) -> "Schedule":
        """How many steps, and the learning rate."""
        papers = [BY_KIND.get(concept.kind, OTHERWISE) for concept in concepts]
        steps = [one.random if self.target == "random" else one.anchor for one in papers]
        return Schedule(
            max(steps) if self.steps is None else self.steps,
            max(one.learning_rate for one in papers) if self.learning_rate is None else self.learning_rate,
        )

    def needs(self, concepts: Sequence[Concept], context: EraseContext) -> tuple[Need, ...]:
        """Its training, in which no picture goes through the denoiser."""
        steps, _ = self.schedule(concepts)
        return (Need(unit="steps", count=steps, passes=PASSES),) if steps else ()

    def erase(self, model: DiffusionModel, concepts: Sequence[Concept], context: EraseContext) -> Edit:
        """The text encoder's first layer that leads the concepts astray."""
        check_concepts(concepts)
        phrases, anchors = self._texts(concepts)
        steps, learning_rate = self.schedule(concepts)
        with Training(
            first_layer(model),
            device=model.device,
            learning_rate=learning_rate,
            steps=steps,
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
        return directions if self.norm is None else of_norm(directions, self.norm, self.norm_of)


class Schedule(NamedTuple):
    """How many steps, and the learning rate."""

    steps: int
    learning_rate: float


def of_norm(directions: Tensor, norm: float, norm_of: Literal["all", "token"]) -> Tensor:
    """n matrices [n, tokens, width], each with that Frobenius norm, or each token's vector that long."""
    over = (1, 2) if norm_of == "all" else (2,)
    return norm * directions / directions.norm(dim=over, keepdim=True)


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


BY_THE_KIND: dict[str, Any] = {"steps": None, "learning_rate": None}
PAPER: dict[str, Any] = BY_THE_KIND | {"norm": 500.0, "norm_of": "token"}
PAPER_ANCHOR: dict[str, Any] = BY_THE_KIND | {"target": "anchor", "norm": None}
MICROWORLD: dict[str, Any] = {"phrases": "all", "norm": 100.0, "learning_rate": 1e-3}

HIRM_CARD = MethodCard(
    name="hirm",
    title="High-Level Representation Misdirection",
    paper="Lee et al., Localized Concept Erasure in Text-to-Image Diffusion Models via High-Level "
    "Representation Misdirection, ICLR 2026, arXiv:2602.19631",
    formula="min_θ₀ mean_t ‖o_last(c)_t − s u_t/‖u_t‖‖²",
    build=HiRM,
    presets={"official": {}, "paper": PAPER, "paper-anchor": PAPER_ANCHOR, "microworld": MICROWORLD},
    quick={"steps": 2},
    many_concepts=True,
    notes="Trains the first layer of the text encoder alone, attention and MLP. Preset official has the "
    "numbers of a port of the code: the whole target is 5000 long, whatever is erased 50 steps at 1e-4; the "
    "code itself was not at hand, and that u is uniform in [0, 1), that norms are not trained, and AdamW's "
    "β, ε and weight decay are the port's in every preset. Preset paper is its HiRM-R: every token's vector "
    "is led to a random one of length 500, in 40 steps at 5e-5 for a style, 25 for a thing, 50 at 1e-4 for "
    "nudity; paper-anchor its HiRM-S, towards what a broader concept gives, in 30, 15 and 25 (for nudity "
    "its target is another: a prompt's own without the direction of nudity, as in Ring-A-Bell, which is "
    "left out). These numbers are summaries' of the paper, not its text's, which was not at hand; the "
    "README of the official code has 50 steps for nudity, for nine words in one text, and 20 for a style "
    "and 15 for a thing without saying towards what.",
)
