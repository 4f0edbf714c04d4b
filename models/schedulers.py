"""diffusers' own schedulers, built from a model's scheduler config.

Only this file knows which diffusers class a scheduler's name means and what it overrides.
"""

import inspect
from collections.abc import Collection, Mapping
from typing import Any, Protocol, cast

import torch
from torch import Tensor

from erasure_bench.errors import BenchError, UnknownName
from erasure_bench.prompt_suites.suite import LEAST_STEPS, SchedulerName


class Scheduler(Protocol):
    """The part of a diffusers scheduler that the sampling loop uses."""

    timesteps: Tensor
    init_noise_sigma: float

    def set_timesteps(self, num_inference_steps: int) -> None: ...

    def scale_model_input(self, sample: Tensor, timestep: float) -> Tensor: ...

    def step(
        self, model_output: Tensor, timestep: float, sample: Tensor, **options: Any
    ) -> tuple[Tensor, ...]: ...


ZERO_SNR = "rescale_betas_zero_snr"

OVERRIDES: dict[SchedulerName, tuple[str, dict[str, Any]]] = {
    "ddim": ("DDIMScheduler", {}),
    "dpm-solver++": (
        "DPMSolverMultistepScheduler",
        {
            "algorithm_type": "dpmsolver++",
            "solver_order": 2,
            "solver_type": "midpoint",
            "timestep_spacing": "linspace",
        },
    ),
    "pndm": ("PNDMScheduler", {"skip_prk_steps": True}),
    "lms": ("LMSDiscreteScheduler", {"timestep_spacing": "linspace"}),
}
"""diffusers class of each scheduler and the settings that make it the one meant: DDIM (Song et al. 2021),
second-order multistep DPM-Solver++ (Lu et al. 2022) with the spacing that diffusers gives it, PNDM without
Runge-Kutta steps as SD has it, fourth-order linear multistep in σ (k-diffusion; Karras et al. 2022) with the
spacing that diffusers gives it, as ESD, UCE and UnlearnDiffAtk evaluate."""

BETWEEN_TIMESTEPS: frozenset[SchedulerName] = frozenset({"lms"})
"""Schedulers that ask the network between two timesteps of its training, about x_t that they hold as
x_0 + σ ε: nothing can begin or end within their steps that knows x_t and t of the training alone."""


def training_alphas_cumprod(config: Mapping[str, Any]) -> Tensor:
    """ᾱ_t of the model's noise schedule, fp32, shape [T]."""
    from diffusers import DDIMScheduler

    known = inspect.signature(DDIMScheduler.__init__).parameters
    scheduler = DDIMScheduler(**{key: value for key, value in config.items() if key in known})
    return cast(Tensor, scheduler.alphas_cumprod).to(torch.float32)


def build_scheduler(
    config: Mapping[str, Any], name: SchedulerName, steps: int, eta: float = 0.0
) -> Scheduler:
    """A fresh scheduler with its timesteps set, kept on the CPU so that no step waits for the GPU.

    `config` is `NoiseSchedule.config`, `steps` is in [1, T]. PNDM takes one model call more than `steps`.
    Raises UnknownName for an unknown scheduler, BenchError for steps out of range, an η that the
    scheduler does not have, or a model with zero terminal SNR and a scheduler that knows of none.
    """
    import diffusers

    if name not in OVERRIDES:
        raise UnknownName("scheduler", name, OVERRIDES)
    if eta and name != "ddim":
        raise BenchError(f"scheduler {name!r} has no eta (got {eta:g}); use eta 0 or the scheduler ddim")
    if not 0.0 <= eta <= 1.0:
        raise BenchError(f"eta {eta:g} is out of range; valid: 0 to 1")
    trained = int(config.get("num_train_timesteps", 1000))
    least = LEAST_STEPS[name]
    if not least <= steps <= trained:
        raise BenchError(f"{steps} steps with {name}: out of range; valid: {least} to {trained}")
    class_name, overrides = OVERRIDES[name]
    known = _settings(class_name)
    settings = {key: value for key, value in config.items() if key in known} | overrides
    if config.get(ZERO_SNR):
        if ZERO_SNR not in known:
            able = ", ".join(other for other in OVERRIDES if ZERO_SNR in _settings(OVERRIDES[other][0]))
            raise BenchError(f"scheduler {name!r} cannot draw a model with zero terminal SNR; valid: {able}")
        settings["timestep_spacing"] = config["timestep_spacing"]
    scheduler = getattr(diffusers, class_name)(**settings)
    scheduler.set_timesteps(steps)
    asked = scheduler.timesteps.tolist()
    # PNDM asks twice at one timestep on purpose; a solver of differences would divide by nought there.
    twice = name != "pndm" and len(set(asked)) < len(asked)
    if twice or not all(0 <= timestep <= trained - 1 for timestep in asked):
        raise BenchError(f"{steps} steps with {name} of this model's {trained}: too many; take fewer")
    return cast(Scheduler, scheduler)


def _settings(class_name: str) -> Collection[str]:
    import diffusers

    return inspect.signature(getattr(diffusers, class_name).__init__).parameters
