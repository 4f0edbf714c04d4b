"""AdvUnlearn: adversarial training of the text encoder.

Zhang, Chen, Jia, Zhang, Fan, Liu, Hong, Ding, Liu: Defensive Unlearning with Adversarial Training for Robust
Concept Erasure in Diffusion Models, NeurIPS 2024. The text encoder is trained so that the concept stays away
whatever word an adversary puts in front of it, while other prompts keep their predictions:

    p* = argmin_p ‖ε_θ(x_t, p ⊕ c) − ε_c‖²                            p: word embeddings of a prefix
    L  = ‖ε_θ(x_t, p* ⊕ c) − [ε_∅ − η (ε_c − ε_∅)]‖² + γ ‖ε_θ(x'_t, r) − ε_r‖²

ε_∅, ε_c and ε_r are the frozen base model's; the first steps are without an adversary and without r.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple

from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from torch import Generator, Tensor, nn
from torch.nn.functional import mse_loss

from erasure_bench.errors import BenchError
from erasure_bench.methods.base import EraseContext, MethodCard, Need
from erasure_bench.methods.edit import Edit, check_concepts, new_edit
from erasure_bench.methods.machinery.adversary import Adversary
from erasure_bench.methods.machinery.general_prompts import silent_on
from erasure_bench.methods.machinery.lots import integers
from erasure_bench.methods.machinery.on_the_way import OnTheWay, Ways, WayThere, away_from
from erasure_bench.methods.machinery.parameters import of_text_encoder
from erasure_bench.methods.machinery.soft_tokens import encoded, with_prefix
from erasure_bench.methods.machinery.training import FORWARD_AND_BACKWARD, OptimiserName, Training
from erasure_bench.models.diffusion_model import DiffusionModel
from erasure_bench.models.token_input import Tokens, token_vectors
from erasure_bench.prompt_suites.concepts import Concept

EMBEDDINGS = "text_encoder.embeddings."


@dataclass(frozen=True, kw_only=True)
class AdvUnlearn(WayThere):
    """Settings of AdvUnlearn; the numbers of preset official are the official code's for SD 1.4.

    What is trained: the text encoder, with or without its embeddings of tokens and positions
    (`train_embeddings`), or its first `layers` transformer layers. `eta` is η. `phrases`
    says whether a concept's canonical phrase is erased or all of its target phrases, of which each latent
    draws one.

    The adversary: after `warmup_steps` steps without one, each step lets `prefix_tokens` vectors, which
    begin as random rows of the vocabulary, take `attack_steps` steps of Adam at `attack_rate`, each on fresh
    latents, along its own gradient or along the sum of all so far (`summed_gradients`). Where they push
    tokens out is decided by `counted`: the last padding (`tokens`), or what follows as many tokens as the
    phrase has `words`, which in the official code cuts words of several tokens.

    What is kept: γ is `retain_weight`; `retain_batch` prompts a step of the first `retain_prompts` general
    ones that neither name nor evoke a concept (`retain` `general`), or of a list of prompts. Their latents
    are the base model's. It is kept from the first step on, or only after the warm-up (`retain_early` false).

    How: `steps` steps of `optimiser` at `learning_rate` on `batch_size` latents that share a timestep. What
    the other settings mean, `WayThere` says.
    """

    layers: PositiveInt | None = None
    train_embeddings: bool = True
    eta: float = 1.0
    phrases: Literal["canonical", "all"] = "canonical"
    warmup_steps: NonNegativeInt = 200
    prefix_tokens: PositiveInt = 1
    attack_steps: NonNegativeInt = 30
    attack_rate: PositiveFloat = 1e-3
    summed_gradients: bool = False
    counted: Literal["tokens", "words"] = "words"
    retain: Literal["general"] | tuple[str, ...] = "general"
    retain_prompts: PositiveInt = 243
    retain_weight: NonNegativeFloat = 0.3
    retain_batch: PositiveInt = 5
    retain_early: bool = False
    steps: NonNegativeInt = 1000
    optimiser: OptimiserName = "adam"
    learning_rate: PositiveFloat = 1e-5
    batch_size: PositiveInt = 1
    gradient_checkpointing: bool = False

    def unused_settings(self) -> Mapping[str, str]:
        """Those of an adversary that takes no step, of a term without weight, and of layers alone."""
        unused = {}
        if self.layers is not None:
            unused["train_embeddings"] = "with layers, which have none"
        if not self.attack_steps:
            unused |= dict.fromkeys(("attack_rate", "summed_gradients"), "with attack_steps=0")
        if not self.retain_weight:
            unused |= dict.fromkeys(
                ("retain", "retain_prompts", "retain_batch", "retain_early"), "with retain_weight=0"
            )
        elif self.retain != "general":
            unused["retain_prompts"] = "with a list of prompts to retain"
        return unused

    def erase(self, model: DiffusionModel, concepts: Sequence[Concept], context: EraseContext) -> Edit:
        """The text encoder for which the concepts' phrases lead away, whatever stands in front of them."""
        check_concepts(concepts)
        phrases, retained = self.erased(concepts), self.retained(concepts, context)
        base = model.frozen_copy()
        with Training(
            self.trained(model),
            device=model.device,
            learning_rate=self.learning_rate,
            steps=self.steps,
            context=context,
            optimiser=self.optimiser,
            weight_decay=0.0,
            checkpointed=model.unet if self.gradient_checkpointing else None,
        ) as tuning:
            generator = tuning.generator
            soft = self.soft(model, phrases)
            ways = Ways(self, base, model, phrases, generator)
            kept = Ways(self._way_of_retained(), base, base, retained, generator) if retained else None
            for step in tuning:
                losses = []
                if step < self.warmup_steps:
                    seen = ways.draw(self.batch_size, generator)
                    losses.append(self.away(model, seen, model.encode_prompts(phrases)))
                else:
                    prefix = self.attack(model, ways, soft, generator).prefix
                    seen = ways.draw(self.batch_size, generator)
                    losses.append(self.away(model, seen, encoded(model, soft, prefix)))
                if kept is not None and (self.retain_early or step >= self.warmup_steps):
                    losses.append(self._retaining(model, kept, generator))
                tuning.minimise([sum(losses[1:], losses[0])])
        return new_edit(
            "advunlearn",
            self,
            model,
            concepts,
            tensors=tuning.tensors,
            cost=tuning.cost,
            losses=tuning.losses,
        )

    def needs(self, concepts: Sequence[Concept], context: EraseContext) -> tuple[Need, ...]:
        """Latents, if they are sampled beforehand, and the steps with the adversary's."""
        phrases, retained = len(self.erased(concepts)), len(self.retained(concepts, context))
        walks = self.walks_needed(phrases), self._way_of_retained().walks_needed(retained)
        each = FORWARD_AND_BACKWARD + self.passes
        attacked = max(self.steps - self.warmup_steps, 0) / max(self.steps, 1)
        kept = (self.retain_batch if retained else 0) * (1.0 if self.retain_early else attacked)
        passes = each * (self.batch_size + attacked * self.attack_steps * self.batch_size + kept)
        return (*walks[0], *walks[1], Need(unit="steps", count=self.steps, passes=passes))

    def trained(self, model: DiffusionModel) -> dict[str, nn.Parameter]:
        """What is trained, by the names of `DiffusionModel.named_tensors`."""
        found = of_text_encoder(model.text_encoder, self.layers)
        if self.train_embeddings:
            return found
        return {name: tensor for name, tensor in found.items() if not name.startswith(EMBEDDINGS)}

    def erased(self, concepts: Sequence[Concept]) -> tuple[str, ...]:
        """The phrases to erase."""
        return tuple(
            phrase
            for concept in concepts
            for phrase in (concept.targets if self.phrases == "all" else (concept.target,))
        )

    def retained(self, concepts: Sequence[Concept], context: EraseContext) -> tuple[str, ...]:
        """The prompts that keep their predictions; raises BenchError where none are known."""
        if not self.retain_weight:
            return ()
        prompts = self.retain
        if prompts == "general":
            silent = [context.general_prompts[row] for row in silent_on(concepts, context.general_prompts)]
            prompts = tuple(silent[: self.retain_prompts])
        if not prompts:
            raise BenchError(
                "no general prompts are known for this model, or all of them name what is erased: there is "
                'nothing to retain (--method-option retain=["a dog", …] or retain_weight=0)'
            )
        return tuple(prompts)

    def soft(self, model: DiffusionModel, phrases: Sequence[str]) -> Tokens:
        """The phrases with room for the adversary in front of them; raises BenchError where none is."""
        room = model.tokenizer.model_max_length - 2
        if self.prefix_tokens > room:
            raise BenchError(
                f"prefix_tokens={self.prefix_tokens}: a text of {model.name} has room for {room} "
                "(--method-option prefix_tokens=…)"
            )
        kept = [len(phrase.split()) for phrase in phrases] if self.counted == "words" else None
        return with_prefix(model, phrases, self.prefix_tokens, kept)

    def attack(self, model: DiffusionModel, ways: Ways, soft: Tokens, generator: Generator) -> "Attacked":
        """The prefix that brings the concept's prediction back the most, and the loss at every step."""
        table = token_vectors(model)
        start = table[integers(generator, 0, len(table), self.prefix_tokens)]
        adversary = Adversary(start, learning_rate=self.attack_rate, summed=self.summed_gradients)
        losses = []
        for _ in range(self.attack_steps):
            seen = ways.draw(self.batch_size, generator)
            losses.append(adversary.descend(partial(brought_back, model, seen, soft)))
        return Attacked(adversary.value.detach(), tuple(losses))

    def away(self, model: DiffusionModel, seen: OnTheWay, embeddings: Tensor) -> Tensor:
        """The first term of L; `embeddings` [phrases, tokens, width] are those of all phrases."""
        predicted = model.predict_noise(seen.latents, seen.timestep, embeddings[list(seen.prompts)])
        return mse_loss(predicted, away_from(seen.unconditional, seen.conditional, self.eta))

    def _retaining(self, model: DiffusionModel, kept: Ways, generator: Generator) -> Tensor:
        """The second term of L."""
        seen = kept.draw(self.retain_batch, generator)
        prompts = [kept.prompts[row] for row in seen.prompts]
        predicted = model.predict_noise(seen.latents, seen.timestep, prompts)
        return self.retain_weight * mse_loss(predicted, seen.conditional)

    def _way_of_retained(self) -> WayThere:
        return WayThere(
            sampled_by="base",
            timestep=self.timestep,
            denoise_steps=self.denoise_steps,
            guidance_scale=self.guidance_scale,
            scheduler=self.scheduler,
            trajectories=min(self.trajectories, 1),
        )


class Attacked(NamedTuple):
    """The adversary's vectors [tokens, width], and its loss at every step."""

    prefix: Tensor
    losses: tuple[float, ...]


def brought_back(model: DiffusionModel, seen: OnTheWay, soft: Tokens, prefix: Tensor) -> Tensor:
    """‖ε_θ(x_t, p ⊕ c) − ε_c‖²: how far the prefix is from bringing the concept back."""
    embeddings = encoded(model, soft, prefix)[list(seen.prompts)]
    return mse_loss(model.predict_noise(seen.latents, seen.timestep, embeddings), seen.conditional)


OFFICIAL: dict[str, Any] = {
    "train_embeddings": False,
    "summed_gradients": True,
    "counted": "words",
    "sampled_by": "base",
    "timestep": "interval",
    "retain_early": True,
}
MICROWORLD: dict[str, Any] = {
    "sampled_by": "base",
    "timestep": "sampler",
    "denoise_steps": 20,
    "trajectories": 16,
    "counted": "tokens",
    "warmup_steps": 30,
    "attack_steps": 5,
    "attack_rate": 1e-2,
    "retain_prompts": 64,
    "retain_batch": 8,
    "retain_weight": 1.0,
    "steps": 70,
    "batch_size": 4,
    "learning_rate": 2e-4,
}

ADVUNLEARN = MethodCard(
    name="advunlearn",
    title="AdvUnlearn",
    paper="Zhang et al., Defensive Unlearning with Adversarial Training for Robust Concept Erasure in "
    "Diffusion Models, NeurIPS 2024, arXiv:2405.15234",
    formula="min_θ ‖ε_θ(x_t, p* ⊕ c) − [ε_∅ − η (ε_c − ε_∅)]‖² + γ ‖ε_θ(x'_t, r) − ε_r‖², "
    "p* = argmin_p ‖ε_θ(x_t, p ⊕ c) − ε_c‖²",
    build=AdvUnlearn,
    presets={"official": OFFICIAL, "microworld": MICROWORLD},
    quick={
        "steps": 2,
        "warmup_steps": 1,
        "denoise_steps": 4,
        "attack_steps": 2,
        "retain_prompts": 3,
        "retain_batch": 2,
    },
    many_concepts=True,
    general_prompts=True,
    notes="Trains the text encoder alone. Preset official has the numbers of the code's command (9d23124): "
    "all of its layers and the last norm, the embeddings as they are (the built-in model's preset trains "
    "them, too). That code counts a phrase's tokens as words and so cuts words of several tokens "
    "(counted=tokens puts that right), and never zeroes the adversary's gradient (summed_gradients); it "
    "trains on the prefix of before the adversary's last step, here on that after it. It retains 5 of its "
    "243 prompts of COCO's objects a step: here general prompts take their place, or --method-option "
    "retain=LIST. As there latents are sampled from the phrase itself by the base model, and it retains "
    "from the first step on; the built-in model's preset only after the warm-up.",
)
