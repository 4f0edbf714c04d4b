"""Memory recovery: what the edited model still knows of a few pictures is taught back to it in a few steps.

MemoRa: the edited model inverts pictures of the concept, draws what lies between the inversions, and is tuned
with a low-rank change on what it drew itself.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from erasure_bench.attacks.base import Assault, AttackCard, AttackContext, Target, Try, Victim
from erasure_bench.attacks.base_pictures import base_of, of_the_concept
from erasure_bench.attacks.base_pictures import latents as base_latents
from erasure_bench.attacks.ddim_inversion import invert, slerp
from erasure_bench.attacks.low_rank import LowRank
from erasure_bench.attacks.noise_of_tries import seed_of_try
from erasure_bench.attacks.probe_steps import ABLE, sampling_timesteps
from erasure_bench.attacks.settings import at_least
from erasure_bench.attacks.telling import telling
from erasure_bench.methods.machinery.lots import integers
from erasure_bench.methods.machinery.training import Training
from erasure_bench.models.detours import Detour, Steps
from erasure_bench.models.sampling import ImageRequest, sample


@dataclass(frozen=True, kw_only=True)
class MemoryRecovery:
    """`pairs` of the base model's pictures are inverted by the edited model down to step `begin` of its
    sampler; `points` on the great circle between the two are denoised by it; on these pictures and the
    concept's name a change of rank `rank` of its cross-attention (`layers`: `attn`, of all attention) is
    trained for `steps` steps. Inversions follow the name by a guidance of `inversion_scale`. The prompts are
    then drawn as they are; tries after the first have another noise."""

    tries: int = 1
    steps: int = 10
    pairs: int = 3
    points: int = 11
    begin: float = 0.3
    rank: int = 4
    batch_size: int = 4
    learning_rate: float = 1e-4
    guidance_scale: float = 7.5
    inversion_scale: float = 1.0
    layers: Literal["xattn", "attn"] = "xattn"

    def __post_init__(self) -> None:
        at_least(
            1,
            tries=self.tries,
            pairs=self.pairs,
            points=self.points,
            rank=self.rank,
            batch_size=self.batch_size,
        )
        at_least(0, steps=self.steps, learning_rate=self.learning_rate)
        if not 0 <= self.begin < 1:
            raise ValueError(f"begin={self.begin:g}: a share of the sampler's steps, from 0 to below 1")

    def assault(self, victim: Victim, targets: Sequence[Target], context: AttackContext) -> Assault:
        """See `Attack`. The weights are made once for all of an edit's prompts."""
        key: dict[str, Any] = {
            "settings": {**dataclasses.asdict(self), "tries": None},
            "base": base_of(victim).digest,
            "concept": dataclasses.asdict(victim.concept),
            "seed": context.seed,
            "drawn": [victim.scheduler, victim.steps, victim.eta],
        }

        def recover() -> dict[str, Tensor]:
            own = dataclasses.replace(context, checkpoints=context.cache.checkpoints(__name__, key))
            return self._recovered(victim, own)

        tensors = context.cache.fetch(__name__, key, recover)
        tries = [[self._drawn(target, number) for number in range(self.tries)] for target in targets]
        return Assault(tries, tensors=tensors)

    def _drawn(self, target: Target, number: int) -> Try:
        seed = seed_of_try("memory", target, number)
        return Try(asked=target.prompt, seed=seed)

    def _recovered(self, victim: Victim, context: AttackContext) -> dict[str, Tensor]:
        model, name = victim.model, victim.concept.target
        latents = self._remembered(victim, context)
        adapter = LowRank(model, self.rank, torch.Generator().manual_seed(context.seed), self.layers)
        with torch.no_grad():
            embedding = model.encode_prompts([name])
        with (
            adapter.attached(),
            Training(
                adapter.parameters,
                device=model.device,
                learning_rate=self.learning_rate,
                steps=self.steps,
                optimiser="adamw",
                context=context,
            ) as tuning,
        ):
            for _ in tuning:
                rows = integers(tuning.generator, 0, len(latents), self.batch_size)
                steps = torch.tensor(
                    integers(tuning.generator, 0, model.num_train_timesteps, self.batch_size)
                )
                clean = latents[rows]
                noise = torch.randn(clean.shape, generator=tuning.generator).to(clean)
                noisy = model.add_noise(clean, noise, steps)
                with telling([name] * len(rows)):
                    predicted = model.predict_noise(noisy, steps, embedding)
                tuning.minimise([(predicted - noise).square().mean()])
        return adapter.merged(tuning.tensors)

    @torch.no_grad()
    def _remembered(self, victim: Victim, context: AttackContext) -> Tensor:
        """x₀ [pairs · points, channels, height, width] of what the edited model draws between inversions."""
        model, name = victim.model, victim.concept.target
        steps = sampling_timesteps(victim, "memory-recovery")
        first = int(self.begin * len(steps))
        pictures = base_latents(
            victim, of_the_concept(victim.concept, 2 * self.pairs), self.guidance_scale, context
        )
        prompts = [name] * len(pictures)
        inverted = invert(model, pictures, prompts, steps[first:], self.inversion_scale)
        starts = [
            slerp(one, other, place / max(self.points - 1, 1))
            for one, other in zip(inverted[::2], inverted[1::2], strict=True)
            for place in range(self.points)
        ]
        requests = [
            ImageRequest(
                prompt=name,
                seed=number,
                guidance_scale=self.guidance_scale,
                height=model.resolution,
                width=model.resolution,
                detour=Detour(steps=Steps(first=first), start=start.cpu()),
            )
            for number, start in enumerate(starts)
        ]
        drawn = sample(
            model, requests, scheduler=victim.scheduler, steps=victim.steps, guidance=victim.guidance
        )
        images = torch.stack([torch.from_numpy(each) for each in drawn]).movedim(-1, 1).float() / 255
        return torch.cat([model.encode_images(batch) for batch in images.split(32)])


MEMORY_RECOVERY = AttackCard(
    name="memory-recovery",
    title="Memory recovery: tuned in a few steps on what the edited model draws itself",
    paper="Memory Self-Regeneration (MemoRa), 2025",
    formula="x₀ between DDIM inversions of the edited model; min over B, A of ‖ε − ε_{θ+BA}(x_t, c, t)‖²",
    build=MemoryRecovery,
    quick={"tries": 2, "steps": 2, "pairs": 1, "points": 2},
    presets={
        "official": {"inversion_scale": 7.5, "layers": "attn"},
        "microworld": {"learning_rate": 2e-3, "batch_size": 8, "steps": 30, "guidance_scale": 4.0},
    },
    argument="steps",
    control="fresh-noise",
    scheduler=ABLE,
    chosen_by="order: the first try",
    needs_base=True,
    notes=(
        "Preset official has the numbers of the authors' configuration: 11 points between 3 pairs of "
        "pictures, from step 15 of 50 by inversions with guidance 7.5, rank 4 of q, k, v and out of all "
        "attention, learning rate 1e-4, 10 steps of four pictures (one at a time, four together; their "
        "README says 500 steps: memory-recovery:500). Left out: their cosine schedule, the gradient's "
        "largest norm of 1, and mirrored pictures."
    ),
)
