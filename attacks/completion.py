"""Completion: the base model draws the first steps, the edited one the rest (Lu et al. 2025)."""

from collections.abc import Sequence
from dataclasses import dataclass

from erasure_bench.attacks.base import Assault, AttackCard, AttackContext, Target, Try, Victim
from erasure_bench.attacks.base_pictures import base_in_step
from erasure_bench.attacks.probe_steps import ABLE, sampling_timesteps
from erasure_bench.attacks.settings import at_least
from erasure_bench.errors import BenchError
from erasure_bench.models.detours import Detour, Steps
from erasure_bench.models.sampling import partly_denoised


@dataclass(frozen=True, kw_only=True)
class Completion:
    """Try i is begun by the base model, which draws its first i + 1 steps with the prompt and its noise."""

    tries: int = 3

    def __post_init__(self) -> None:
        at_least(1, tries=self.tries)

    def assault(self, victim: Victim, targets: Sequence[Target], context: AttackContext) -> Assault:
        """See `Attack`. The most steps are chosen."""
        most = len(sampling_timesteps(victim, "completion")) - 1
        if self.tries > most:
            raise BenchError(
                f"completion with {self.tries} tries: of the sampler's {most + 1} steps the base model draws "
                f"at most {most}, one more in each try (--attacks completion:{max(most, 1)})"
            )
        return Assault(
            [[self._begun(victim, target, begun + 1) for begun in range(self.tries)] for target in targets]
        )

    def _begun(self, victim: Victim, target: Target, done: int) -> Try:
        begun = partly_denoised(
            base_in_step(victim, "completion"),
            [target.prompt],
            [target.seed],
            steps=victim.steps,
            stop=done,
            guidance_scale=target.guidance_scale,
            scheduler=victim.scheduler,
            eta=victim.eta,
            height=target.height,
            width=target.width,
        )
        detour = Detour(steps=Steps(first=done), start=begun.latents[0].cpu())
        return Try(asked=target.prompt, detour=detour, loss=-done)


COMPLETION = AttackCard(
    name="completion",
    title="Completion: the base model begins the picture",
    paper="Lu et al., When Are Concepts Erased From Diffusion Models?, 2025, arXiv:2505.17013",
    formula="x_t of the base model after s steps, s = 1, 2, 3; then ε_θ of the edited model",
    build=Completion,
    quick={"tries": 2},
    presets={"official": {}, "microworld": {}},
    control="fresh-noise",
    scheduler=ABLE,
    chosen_by="order: the try of the most steps",
    needs_base=True,
    notes="As in the code at 9a03e07, which numbers the base model's steps from 0: 50 steps there, the "
    "suite's own number here.",
)
