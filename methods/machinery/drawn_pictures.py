"""The settings of a method that learns from the base model's own pictures: how these are drawn."""

from dataclasses import dataclass

from pydantic import NonNegativeFloat, PositiveInt

from erasure_bench.methods.machinery.base_images import Drawing
from erasure_bench.prompt_suites.suite import SchedulerName


@dataclass(frozen=True, kw_only=True)
class DrawnPictures:
    """They take `denoise_steps` steps of `scheduler`, with DDIM's `eta` and `guidance_scale`.

    Raises BenchError for an η that the scheduler does not have.
    """

    denoise_steps: PositiveInt = 50
    scheduler: SchedulerName = "ddim"
    eta: NonNegativeFloat = 0.0
    guidance_scale: float = 7.5

    def __post_init__(self) -> None:
        self.drawing()

    def drawing(self, negative_prompt: str = "") -> Drawing:
        """How the base model draws them; raises BenchError for an η that the scheduler does not have."""
        return Drawing(
            scheduler=self.scheduler,
            steps=self.denoise_steps,
            guidance_scale=self.guidance_scale,
            eta=self.eta,
            negative_prompt=negative_prompt,
        )
