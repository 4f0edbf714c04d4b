"""Completion: the base model draws the first steps, the edited one the rest (Lu et al. 2025)."""

from collections.abc import Sequence
from dataclasses import dataclass

from erasure_bench.attacks.base import Assault, AttackCard, AttackContext, Target, Try, Victim
from erasure_bench.attacks.base_pictures import base_of
from erasure_bench.attacks.probe_steps import sampling_timesteps
from erasure_bench.attacks.settings import at_least
from erasure_bench.errors import BenchError
from erasure_bench.models.detours import Detour, Steps
from erasure_bench.models.sampling import partly_denoised


@dataclass(frozen=True, kw_only=True)
class Completion:
    """Try i is begun by the base model, which draws its first i steps with the prompt and the same noise.

    Try 0 is the edited model's own picture.
    """

    tries: int = 3

    def __post_init__(self) -> None:
        at_least(1, tries=self.tries)

    def assault(self, victim: Victim, targets: Sequence[Target], context: AttackContext) -> Assault:
        """See `Attack`. The most steps are chosen."""
        steps = len(sampling_timesteps(victim, "completion"))
        if self.tries > steps:
            raise BenchError(f"completion with {self.tries} tries: the sampler has {steps} steps (--attacks)")
        return Assault(
            [[self._begun(victim, target, number) for number in range(self.tries)] for target in targets]
        )

    def _begun(self, victim: Victim, target: Target, number: int) -> Try:
        begun = partly_denoised(
            base_of(victim),
            [target.prompt],
            [target.seed],
            steps=victim.steps,
            stop=number,
            guidance_scale=target.guidance_scale,
            scheduler=victim.scheduler,
            eta=victim.eta,
            height=target.height,
            width=target.width,
        )
        detour = Detour(steps=Steps(first=number), start=begun.latents[0].cpu())
        return Try(asked=target.prompt, detour=detour, loss=-number)


COMPLETION = AttackCard(
    name="completion",
    title="Completion: the base model begins the picture",
    paper="Lu et al., When Are Concepts Erased From Diffusion Models?, 2025, arXiv:2505.17013",
    formula="x_t of the base model after s steps, s = 0, 1, 2; then ε_θ of the edited model",
    build=Completion,
    presets={"official": {}, "microworld": {}},
    control="fresh-noise",
    chosen_by="order: the try of the most steps",
    needs_base=True,
    notes="As in the code at 9a03e07: 50 steps there, the suite's own number here.",
)
