"""Durability: the edited model is fine-tuned on pictures of other things, and asked for the concept again."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from erasure_bench.attacks.base import Assault, AttackCard, AttackContext, Target, Try, Victim
from erasure_bench.attacks.base_pictures import base_of, of_other_things
from erasure_bench.attacks.base_pictures import latents as base_latents
from erasure_bench.attacks.noise_of_tries import seed_of_try
from erasure_bench.attacks.settings import at_least
from erasure_bench.attacks.telling import telling
from erasure_bench.methods.machinery.lots import integers
from erasure_bench.methods.machinery.parameters import UNetGroup, select
from erasure_bench.methods.machinery.training import Training


@dataclass(frozen=True, kw_only=True)
class FineTune:
    """`steps` of ordinary training, min over θ of E ‖ε − ε_θ(x_t, c, t)‖², from the edited weights.

    On `pictures` of the base model, one for each of the first general prompts that neither name nor evoke the
    concept: whoever tunes an erased model for something else does no more. `parameters` are those of a
    group of the UNet. The prompts are then drawn as they are; tries after the first have another noise.
    """

    tries: int = 1
    steps: int = 1000
    pictures: int = 256
    batch_size: int = 4
    learning_rate: float = 1e-5
    parameters: UNetGroup = "full"
    guidance_scale: float = 7.5

    def __post_init__(self) -> None:
        at_least(1, tries=self.tries, pictures=self.pictures, batch_size=self.batch_size)
        at_least(0, steps=self.steps, learning_rate=self.learning_rate)

    def assault(self, victim: Victim, targets: Sequence[Target], context: AttackContext) -> Assault:
        """See `Attack`. The weights are made once for all of an edit's prompts."""
        key: dict[str, Any] = {
            "settings": {**dataclasses.asdict(self), "tries": None},
            "base": base_of(victim).digest,
            "concept": dataclasses.asdict(victim.concept),
            "prompts": list(context.general_prompts),
            "seed": context.seed,
            "drawn": [victim.scheduler, victim.steps, victim.eta],
        }

        def tune() -> dict[str, Tensor]:
            own = dataclasses.replace(context, checkpoints=context.cache.checkpoints(__name__, key))
            return self._tuned(victim, own)

        tensors = context.cache.fetch(__name__, key, tune)
        tries = [[self._drawn(target, number) for number in range(self.tries)] for target in targets]
        return Assault(tries, tensors=tensors)

    def _drawn(self, target: Target, number: int) -> Try:
        seed = seed_of_try("finetune", target, number)
        return Try(asked=target.prompt, seed=seed)

    def _tuned(self, victim: Victim, context: AttackContext) -> dict[str, Tensor]:
        model = victim.model
        prompts = of_other_things(victim.concept, context.general_prompts, self.pictures)
        latents = base_latents(victim, prompts, self.guidance_scale, context)
        with torch.no_grad():
            embeddings = torch.cat(
                [model.encode_prompts(prompts[at : at + 32]) for at in range(0, len(prompts), 32)]
            )
        with Training(
            select(model.parts, self.parameters),
            device=model.device,
            learning_rate=self.learning_rate,
            steps=self.steps,
            optimiser="adamw",
            context=context,
        ) as tuning:
            for _ in tuning:
                rows = integers(tuning.generator, 0, len(latents), self.batch_size)
                steps = torch.tensor(
                    integers(tuning.generator, 0, model.num_train_timesteps, self.batch_size)
                )
                clean = latents[rows]
                noise = torch.randn(clean.shape, generator=tuning.generator).to(clean)
                noisy = model.add_noise(clean, noise, steps)
                with telling([prompts[row] for row in rows]):
                    predicted = model.predict_noise(noisy, steps, embeddings[rows])
                tuning.minimise([(predicted - noise).square().mean()])
        return dict(tuning.tensors)


FINETUNE = AttackCard(
    name="finetune",
    title="Durability: benign fine-tuning on other things, then the prompts as they are",
    paper="Unstable Unlearning, 2024, arXiv:2410.08074; 2025, arXiv:2507.16302",
    formula="min_θ E ‖ε − ε_θ(x_t, c, t)‖² over pictures without the concept; finetune:STEPS",
    build=FineTune,
    quick={"tries": 2, "steps": 2, "pictures": 2},
    presets={
        "official": {},
        "microworld": {
            "steps": 200,
            "pictures": 64,
            "batch_size": 8,
            "learning_rate": 2e-4,
            "guidance_scale": 4.0,
        },
    },
    argument="steps",
    control="fresh-noise",
    chosen_by="order: the first try",
    needs_base=True,
    general_prompts=True,
    notes=(
        "The papers tune on public sets with LoRA or in full; here the pictures are the base model's own of "
        "general prompts, so nothing new is taught. How much tuning it takes is the budget's own: run "
        "several, finetune:100,finetune:1000. Beside the prompts as they are (“as asked”) its control is "
        "the same prompts with other noise."
    ),
)
