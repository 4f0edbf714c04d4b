"""ConceptPrune.

Chavhan, Li, Hospedales: ConceptPrune: Concept Editing in Diffusion Models via Skilled Neuron Pruning, ICLR
2025. Nothing is trained: the weights W of the feed-forward layers' second matrix that are skilled in the
concept become 0. At a step t of sampling a weight's score is that of Wanda (Sun et al., ICLR 2024),

    S_ij(t) = |W_ij| · ‖X_j(t)‖₂          X_j: the j-th input of the layer, over positions and pictures

and W_ij is skilled where S is among the largest of its row i for the concept's prompts and larger than for
the same prompts with the anchor in the concept's place, at any of the first steps.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from pydantic import PositiveFloat, PositiveInt
from torch import Tensor, nn
from torch.nn.functional import normalize

from erasure_bench.errors import BenchError
from erasure_bench.methods.base import EraseContext, MethodCard, Need
from erasure_bench.methods.edit import Edit, check_concepts, new_edit
from erasure_bench.methods.machinery.cost import Meter
from erasure_bench.methods.machinery.prompt_pairs import prompt_pairs
from erasure_bench.models.diffusion_model import DiffusionModel
from erasure_bench.models.sampling import partly_denoised, sample_latents
from erasure_bench.models.seeds import image_seed
from erasure_bench.prompt_suites.concepts import Concept
from erasure_bench.prompt_suites.suite import SchedulerName

SECOND_MATRIX = ".ff.net.2"
"""How the names of the layers end whose weights are pruned."""


@dataclass(frozen=True, kw_only=True)
class ConceptPrune:
    """Settings of ConceptPrune.

    `row_share` of a row's weights are looked at, one at least, at each of the first `skilled_steps` of
    `denoise_steps` steps. `images` pictures are begun for each concept, of its anchor prompts with the target
    in the anchor's place, and as many from the same noise of the anchor prompts themselves, by `scheduler`
    with `guidance_scale`. What counts is what the network sees under the prompt (`rows` `conditional`), or
    under the empty one as well (`both`); with `unit_positions` each position's inputs are scaled to length 1
    before.
    """

    row_share: PositiveFloat = 0.01
    skilled_steps: PositiveInt = 10
    images: PositiveInt = 10
    denoise_steps: PositiveInt = 50
    scheduler: SchedulerName = "ddim"
    guidance_scale: float = 7.5
    rows: Literal["conditional", "both"] = "conditional"
    unit_positions: bool = False

    def __post_init__(self) -> None:
        if self.skilled_steps > self.denoise_steps:
            raise BenchError(
                f"skilled_steps={self.skilled_steps} of denoise_steps={self.denoise_steps}: at most all"
            )
        if self.row_share > 1:
            raise BenchError(f"row_share={self.row_share:g}: valid: above 0, to 1")

    def erase(self, model: DiffusionModel, concepts: Sequence[Concept], context: EraseContext) -> Edit:
        """The feed-forward weights without those that are skilled in any of the concepts."""
        check_concepts(concepts)
        with Meter(model.device) as meter:
            layers = second_matrices(model.unet)
            pruned = {
                name: torch.zeros_like(layer.weight, dtype=torch.bool) for name, layer in layers.items()
            }
            for concept in concepts:
                pairs = prompt_pairs(concept)
                chosen = [pairs[number % len(pairs)] for number in range(self.images)]
                targets = [
                    pair.targets[number // len(pairs) % len(pair.targets)]
                    for number, pair in enumerate(chosen)
                ]
                anchors = [pair.anchor for pair in chosen]
                seeds = [
                    image_seed("skilled neurons", concept.name, number, context.seed)
                    for number in range(self.images)
                ]
                of_target, of_anchor = (self.norms(model, texts, seeds) for texts in (targets, anchors))
                for name, layer in layers.items():
                    pruned[name] |= skilled(
                        layer.weight.detach(), of_target[name], of_anchor[name], self.row_share
                    )
        tensors = {
            f"unet.{name}.weight": layer.weight.detach().masked_fill(pruned[name], 0.0).cpu()
            for name, layer in layers.items()
            if bool((pruned[name] & (layer.weight.detach() != 0)).any())
        }
        return new_edit("concept-prune", self, model, concepts, tensors=tensors, cost=meter.cost(steps=0))

    def needs(self, concepts: Sequence[Concept], context: EraseContext) -> tuple[Need, ...]:
        """The beginnings of as many pictures of the concepts and of their anchors."""
        count = 2 * self.images * len(concepts)
        return (Need(unit="pictures", count=count, passes=2 * self.skilled_steps),)

    def norms(self, model: DiffusionModel, prompts: Sequence[str], seeds: Sequence[int]) -> dict[str, Tensor]:
        """‖X_j(t)‖₂ [steps, inputs] of every layer, over all pictures and positions."""
        squares: dict[str, list[Tensor]] = {name: [] for name in second_matrices(model.unet)}

        def keeping(name: str) -> Any:
            def hook(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
                first = len(inputs[0]) // 2 if self.rows == "conditional" else 0
                counted = inputs[0][first:].double()
                if self.unit_positions:
                    counted = normalize(counted, dim=-1)
                squares[name].append(counted.square().flatten(0, -2).sum(0))

            return hook

        hooks = [
            layer.register_forward_pre_hook(keeping(name))
            for name, layer in second_matrices(model.unet).items()
        ]
        settings: dict[str, Any] = {
            "steps": self.denoise_steps,
            "guidance_scale": self.guidance_scale,
            "scheduler": self.scheduler,
        }
        try:
            if self.skilled_steps < self.denoise_steps:
                partly_denoised(model, prompts, seeds, stop=self.skilled_steps, **settings)
            else:
                sample_latents(model, prompts, seeds, **settings)
        finally:
            for hook in hooks:
                hook.remove()
        return {name: torch.stack(found[: self.skilled_steps]).sqrt() for name, found in squares.items()}


def second_matrices(unet: nn.Module) -> Mapping[str, nn.Linear]:
    """The feed-forward layers' second matrices by their names; raises BenchError where there are none."""
    found = {
        name: module
        for name, module in unet.named_modules()
        if name.endswith(SECOND_MATRIX) and isinstance(module, nn.Linear)
    }
    if not found:
        raise BenchError("this model's UNet has no feed-forward layers that could be pruned")
    return found


def skilled(weight: Tensor, of_target: Tensor, of_anchor: Tensor, share: float) -> Tensor:
    """Which of the weights [outputs, inputs] are skilled at any of the steps; norms are [steps, inputs]."""
    found = torch.zeros_like(weight, dtype=torch.bool)
    size = weight.detach().double().abs()
    count = max(1, int(share * weight.shape[1]))
    for target, anchor in zip(of_target, of_anchor, strict=True):
        score = size * target
        largest = torch.zeros_like(found).scatter_(1, score.topk(count, dim=1).indices, True)
        found |= largest & (score > size * anchor)
    return found


PAPER: dict[str, Any] = {"row_share": 0.01, "skilled_steps": 10, "images": 20}
OFFICIAL: dict[str, Any] = PAPER | {"rows": "both", "unit_positions": True}
NUDITY: dict[str, Any] = OFFICIAL | {"skilled_steps": 9, "images": 18}
MICROWORLD: dict[str, Any] = {
    "row_share": 0.3,
    "skilled_steps": 10,
    "images": 24,
    "denoise_steps": 20,
    "guidance_scale": 4.0,
}

CONCEPT_PRUNE = MethodCard(
    name="concept-prune",
    title="ConceptPrune",
    paper="Chavhan et al., ConceptPrune: Concept Editing in Diffusion Models via Skilled Neuron Pruning, "
    "ICLR 2025, arXiv:2405.19237",
    formula="W_ij = 0 where |W_ij| ‖X_j‖ is in the top share of row i for c, and larger than for the anchor",
    build=ConceptPrune,
    presets={"official": OFFICIAL, "official-nudity": NUDITY, "paper": PAPER, "microworld": MICROWORLD},
    quick={"images": 2, "denoise_steps": 3, "skilled_steps": 2},
    many_concepts=True,
    notes="Without training. Presets have the numbers of the official README, configuration and scripts "
    "(72927d9): the top 1 % of each row, united over the first 10 steps, of 20 plain things with and "
    "without the style (datasets/things.txt); of nudity over the first 9, of 18 words for people. For "
    "objects, in 12 scenes, the scripts have both 1 % and 2 % (--method-option row_share=0.02 images=12); "
    "which one the paper's table 7 has for each could not be checked. As in that code every position's "
    "inputs are scaled to length 1, and those under the empty prompt count as well, which the formula does "
    "not say (preset paper is without both, and could not be checked against the paper). There it is Stable "
    "Diffusion 1.5 with 50 steps of PNDM, here of DDIM, and all pictures begin with one noise, here each "
    "with its own. With several concepts the union is pruned. As |W| is in both scores, the second "
    "condition is on the inputs alone: ‖X_j‖ is larger than for the anchor. Written from the formula: the "
    "code has no licence.",
)
