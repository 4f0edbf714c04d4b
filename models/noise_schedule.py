"""What a scheduler config says of the model, and what belongs to the protocol instead. Imports no torch.

How a model was trained (betas, what it predicts, zero terminal SNR) is its own. How its timesteps are
spaced when it is drawn, and where they begin, is the protocol's: the same for every row of a table and for
every copy of a model, whatever scheduler and version of diffusers it was saved with.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from erasure_bench.errors import BenchError

PREDICTIONS = ("epsilon", "v_prediction")
BETA_SCHEDULES = ("linear", "scaled_linear", "squaredcos_cap_v2")

DEFAULTS: dict[str, Any] = {
    "num_train_timesteps": 1000,
    "beta_start": 0.0001,
    "beta_end": 0.02,
    "beta_schedule": "linear",
    "trained_betas": None,
    "prediction_type": "epsilon",
    "rescale_betas_zero_snr": False,
}
"""How a model was trained, where its config says nothing of it: diffusers' own defaults."""

_NARROWER = {"beta_start": 0.00085, "beta_end": 0.012}
SCHEDULER_CLASSES: dict[str, dict[str, Any]] = {
    "DDIMScheduler": {},
    "DDIMInverseScheduler": {},
    "DDIMParallelScheduler": {},
    "DDPMScheduler": {},
    "DDPMParallelScheduler": {},
    "PNDMScheduler": {},
    "LMSDiscreteScheduler": {},
    "EulerDiscreteScheduler": {},
    "EulerAncestralDiscreteScheduler": {},
    "DPMSolverMultistepScheduler": {},
    "DPMSolverSinglestepScheduler": {},
    "UniPCMultistepScheduler": {},
    "DEISMultistepScheduler": {},
    "SASolverScheduler": {},
    "HeunDiscreteScheduler": _NARROWER,
    "KDPM2DiscreteScheduler": _NARROWER,
    "KDPM2AncestralDiscreteScheduler": _NARROWER,
}
"""diffusers' schedulers for a DDPM's noise schedule, each with its defaults that are not `DEFAULTS`."""

PROTOCOL: dict[str, Any] = {
    "timestep_spacing": "leading",
    "steps_offset": 1,
    "clip_sample": False,
    "thresholding": False,
    "set_alpha_to_one": False,
}
"""How timesteps are spaced and what is done to latents, for every model: as Stable Diffusion's pipelines
have it with DDIM and PNDM. Latents are no pixels, so clipping or thresholding them is a config's mistake."""

ZERO_SNR_SPACING = "trailing"
"""A model that was trained down to pure noise has to start from there: at the last timestep."""


class NoiseSchedule(NamedTuple):
    """`config` is what the sampling loop goes by: `DEFAULTS` and `PROTOCOL` with the model's own values.

    `set_aside` is what the model's config asks for that belongs to the protocol, in words.
    """

    config: dict[str, Any]
    set_aside: tuple[str, ...]

    @property
    def zero_snr(self) -> bool:
        """Whether the last timestep is pure noise."""
        return bool(self.config["rescale_betas_zero_snr"])

    @property
    def trained(self) -> dict[str, Any]:
        """How the model was trained: the keys of `DEFAULTS`."""
        return {key: self.config[key] for key in DEFAULTS}

    @property
    def words(self) -> str:
        """What a reader must know of it, such as "v-prediction, zero terminal SNR, trailing spacing"."""
        words = ["v-prediction" if self.config["prediction_type"] == "v_prediction" else "ε-prediction"]
        if self.zero_snr:
            words += ["zero terminal SNR", f"{ZERO_SNR_SPACING} spacing"]
        return ", ".join(words)

    @property
    def betas(self) -> str:
        """The noise schedule in words: "scaled_linear betas 0.00085–0.012 in 1000 steps"."""
        steps = f"in {self.config['num_train_timesteps']} steps"
        if self.config["trained_betas"] is not None:
            return f"betas of its own {steps}"
        ends = f"{self.config['beta_start']:g}–{self.config['beta_end']:g}"
        return f"{self.config['beta_schedule']} betas {ends} {steps}"


def noise_schedule(config: Mapping[str, Any]) -> NoiseSchedule:
    """Reads a scheduler config of diffusers.

    Raises BenchError for what no picture can be drawn with: a scheduler of another kind of model, an
    unknown prediction or beta schedule, values that are no numbers, or an ε-prediction with zero
    terminal SNR, where ε says nothing of the picture at the last timestep.
    """
    own = config.get("_class_name", "DDIMScheduler")
    if own not in SCHEDULER_CLASSES:
        raise BenchError(
            f"scheduler config: {own} is not of a model with a DDPM's noise schedule; valid: "
            f"{', '.join(SCHEDULER_CLASSES)}"
        )
    trained = DEFAULTS | SCHEDULER_CLASSES[own]
    trained |= {key: config[key] for key in DEFAULTS if config.get(key) is not None}
    _check(trained)
    protocol = dict(PROTOCOL)
    if trained["rescale_betas_zero_snr"]:
        protocol["timestep_spacing"] = ZERO_SNR_SPACING
    asked = {key: config[key] for key in PROTOCOL if key in config and config[key] != protocol[key]}
    if own.startswith("DPMSolver") and asked.get("timestep_spacing") == "linspace":
        del asked["timestep_spacing"]  # what diffusers writes for this scheduler unasked
    set_aside = tuple(f"{key} {_plain(value)}" for key, value in asked.items())
    return NoiseSchedule({"_class_name": own, **trained, **protocol}, set_aside)


def _check(trained: Mapping[str, Any]) -> None:
    prediction, betas = trained["prediction_type"], trained["beta_schedule"]
    if prediction not in PREDICTIONS:
        raise BenchError(f"scheduler config: prediction_type {prediction!r}; valid: {', '.join(PREDICTIONS)}")
    if betas not in BETA_SCHEDULES and trained["trained_betas"] is None:
        raise BenchError(f"scheduler config: beta_schedule {betas!r}; valid: {', '.join(BETA_SCHEDULES)}")
    steps = trained["num_train_timesteps"]
    if not isinstance(steps, int) or isinstance(steps, bool) or steps < 2:
        raise BenchError(f"scheduler config: num_train_timesteps {steps!r}; valid: a whole number from 2")
    for key in ("beta_start", "beta_end"):
        if not isinstance(trained[key], int | float) or not 0 < trained[key] < 1:
            raise BenchError(f"scheduler config: {key} {trained[key]!r}; valid: a number between 0 and 1")
    own = trained["trained_betas"]
    if own is not None and (not isinstance(own, list) or len(own) != steps):
        raise BenchError(f"scheduler config: trained_betas must be a list of {steps} numbers, one a timestep")
    if trained["rescale_betas_zero_snr"] and prediction == "epsilon":
        raise BenchError(
            "scheduler config: rescale_betas_zero_snr with prediction_type epsilon: at the last timestep ε "
            "says nothing of the picture, so no model can have been trained so; one of the two is wrong"
        )


def _plain(value: Any) -> str:
    return {True: "on", False: "off"}.get(value, str(value)) if isinstance(value, bool) else str(value)
