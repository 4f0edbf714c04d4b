"""diffusers' own schedulers, built from a model's scheduler config.

Only this file knows which diffusers class a scheduler's name means and what it overrides.
"""

from collections.abc import Mapping
from typing import Any, Protocol, cast

import torch
from torch import Tensor

from erasure_bench.prompt_suites.errors import BenchError, UnknownName
from erasure_bench.prompt_suites.suite import SchedulerName


class Scheduler(Protocol):
    """The part of a diffusers scheduler that the sampling loop uses."""

    timesteps: Tensor
    init_noise_sigma: float

    def set_timesteps(self, num_inference_steps: int) -> None: ...

    def scale_model_input(self, sample: Tensor, timestep: int) -> Tensor: ...

    def step(
        self, model_output: Tensor, timestep: int, sample: Tensor, **options: Any
    ) -> tuple[Tensor, ...]: ...


OVERRIDES: dict[SchedulerName, tuple[str, dict[str, Any]]] = {
    "ddim": ("DDIMScheduler", {}),
    "dpm-solver++": (
        "DPMSolverMultistepScheduler",
        {"algorithm_type": "dpmsolver++", "solver_order": 2, "solver_type": "midpoint"},
    ),
    "pndm": ("PNDMScheduler", {"skip_prk_steps": True}),
}
"""diffusers class of each scheduler and the settings that make it the one meant: DDIM (Song et al. 2021),
second-order multistep DPM-Solver++ (Lu et al. 2022), PNDM without Runge-Kutta steps as SD has it."""


def pipeline_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """A scheduler config as `StableDiffusionPipeline` reads it: steps_offset 1, samples not clipped.

    Latents are no pixels, so clipping them is always a mistake of an old config; diffusers undoes it
    only where the pipeline's own scheduler is kept.

    Raises BenchError for what the sampling loop cannot follow: a model that predicts the sample
    itself, or a schedule with zero terminal signal-to-noise ratio, where ε says nothing at t = T.
    """
    prediction = config.get("prediction_type", "epsilon")
    if prediction not in ("epsilon", "v_prediction"):
        raise BenchError(f"scheduler config: prediction_type {prediction!r}; valid: epsilon, v_prediction")
    if config.get("rescale_betas_zero_snr"):
        raise BenchError("scheduler config: rescale_betas_zero_snr is not supported; set it to false")
    return {**config, "steps_offset": 1, "clip_sample": False}


def training_alphas_cumprod(config: Mapping[str, Any]) -> Tensor:
    """ᾱ_t of the model's noise schedule, fp32, shape [T]."""
    from diffusers import DDIMScheduler

    return cast(Tensor, DDIMScheduler.from_config(dict(config)).alphas_cumprod).to(torch.float32)


def build_scheduler(
    config: Mapping[str, Any], name: SchedulerName, steps: int, eta: float = 0.0
) -> Scheduler:
    """A fresh scheduler with its timesteps set, kept on the CPU so that no step waits for the GPU.

    `steps` is in [1, T]. PNDM takes one model call more than `steps`. Raises UnknownName for an
    unknown scheduler, BenchError for steps out of range or an η that the scheduler does not have.
    """
    import diffusers

    if name not in OVERRIDES:
        raise UnknownName("scheduler", name, OVERRIDES)
    if eta and name != "ddim":
        raise BenchError(f"scheduler {name!r} has no eta (got {eta:g}); use eta 0 or the scheduler ddim")
    if not 0.0 <= eta <= 1.0:
        raise BenchError(f"eta {eta:g} is out of range; valid: 0 to 1")
    trained = int(config.get("num_train_timesteps", 1000))
    least = 2 if name == "pndm" else 1
    if not least <= steps <= trained:
        raise BenchError(f"{steps} steps with {name}: out of range; valid: {least} to {trained}")
    class_name, overrides = OVERRIDES[name]
    scheduler = getattr(diffusers, class_name).from_config(dict(config), **overrides)
    scheduler.set_timesteps(steps)
    return cast(Scheduler, scheduler)
