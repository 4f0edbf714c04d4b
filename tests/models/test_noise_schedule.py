"""A scheduler config tells how the model was trained; how it is drawn is the protocol's."""

import inspect
import subprocess
import sys

import diffusers
import pytest
import torch

from erasure_bench.errors import BenchError
from erasure_bench.models.noise_schedule import DEFAULTS, PROTOCOL, SCHEDULER_CLASSES, noise_schedule
from erasure_bench.models.schedulers import build_scheduler, training_alphas_cumprod

BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


@pytest.mark.parametrize("name", SCHEDULER_CLASSES)
def test_what_a_config_leaves_out_is_what_diffusers_takes(name):
    parameters = inspect.signature(getattr(diffusers, name).__init__).parameters
    found = noise_schedule({"_class_name": name}).config
    for key in DEFAULTS:
        if key in parameters:
            assert found[key] == parameters[key].default, key


@pytest.mark.parametrize("name", ["DDIMScheduler", "HeunDiscreteScheduler", "EulerDiscreteScheduler"])
@pytest.mark.parametrize(
    "values", [{}, BETAS, {"beta_schedule": "squaredcos_cap_v2", "num_train_timesteps": 50}]
)
def test_the_betas_are_the_models_own(name, values):
    config = {"_class_name": name, **values}
    theirs = getattr(diffusers, name).from_config(config).alphas_cumprod
    torch.testing.assert_close(training_alphas_cumprod(noise_schedule(config).config), theirs)


def test_sampling_is_the_protocols_whatever_the_config_asks_for():
    asked = {
        **BETAS,
        "_class_name": "DDIMScheduler",
        "timestep_spacing": "trailing",
        "steps_offset": 0,
        "thresholding": True,
        "clip_sample": True,
        "set_alpha_to_one": True,
    }
    plain, odd = noise_schedule({"_class_name": "DDIMScheduler", **BETAS}), noise_schedule(asked)

    assert odd.config == plain.config and plain.config.items() >= PROTOCOL.items()
    assert plain.set_aside == ()
    assert odd.set_aside == (
        "timestep_spacing trailing",
        "steps_offset 0",
        "clip_sample on",
        "thresholding on",
        "set_alpha_to_one on",
    )
    for scheduler in ("ddim", "dpm-solver++", "pndm", "lms"):
        one, other = (build_scheduler(each.config, scheduler, 10) for each in (plain, odd))
        assert one.timesteps.tolist() == other.timesteps.tolist()


def test_zero_terminal_snr_is_the_models_own_and_starts_at_the_last_timestep():
    config = {**BETAS, "rescale_betas_zero_snr": True, "timestep_spacing": "leading"}
    found = noise_schedule(config | {"prediction_type": "v_prediction"})

    assert found.words == "v-prediction, zero terminal SNR, trailing spacing"
    assert found.set_aside == ("timestep_spacing leading",)
    assert int(build_scheduler(found.config, "ddim", 10).timesteps[0]) == 999
    assert int(build_scheduler(found.config, "dpm-solver++", 10).timesteps[0]) == 999


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"_class_name": "FlowMatchEulerDiscreteScheduler"}, "FlowMatchEulerDiscreteScheduler is not of a"),
        ({"_class_name": "LCMScheduler"}, "LCMScheduler is not"),
        ({"prediction_type": "sample"}, "prediction_type 'sample'; valid: epsilon, v_prediction"),
        ({"beta_schedule": "sigmoid"}, "beta_schedule 'sigmoid'; valid: linear"),
        ({"num_train_timesteps": "1000"}, "num_train_timesteps '1000'"),
        ({"beta_end": 12}, "beta_end 12"),
        ({"trained_betas": [0.1]}, "a list of 1000 numbers"),
        ({"rescale_betas_zero_snr": True}, "with prediction_type epsilon"),
    ],
)
def test_what_cannot_be_drawn_with_is_one_line(config, words):
    with pytest.raises(BenchError, match=words) as error:
        noise_schedule(config)
    assert "\n" not in str(error.value)


def test_it_needs_no_torch():
    heavy = "{'torch', 'diffusers'} & set(sys.modules)"
    code = f"import sys, erasure_bench.models.fitness; sys.exit(bool({heavy}))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
