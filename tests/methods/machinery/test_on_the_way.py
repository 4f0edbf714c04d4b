"""Latents on the way: each belongs to its prompt, and what stands beside it is the base model's answer."""

import json
import shutil

import pytest
import torch

from erasure_bench.errors import BenchError
from erasure_bench.methods.machinery.on_the_way import Ways, WayThere, away_from
from erasure_bench.methods.machinery.trajectories import trajectories
from erasure_bench.models.diffusion_model import DiffusionModel
from erasure_bench.models.sampling import partly_denoised

ANEW = {"denoise_steps": 4, "timestep": "sampler", "sampled_by": "base"}


@pytest.mark.parametrize("trajectories", [0, 2])
def test_beside_every_latent_is_the_base_models_answer(tiny_model, trajectories):
    generator = torch.Generator().manual_seed(0)
    settings = WayThere(**ANEW, trajectories=trajectories)
    prompts = ["a cat", "a dog at sea"]
    ways = Ways(settings, tiny_model.frozen_copy(), tiny_model, prompts, generator)
    for _ in range(3):
        seen = ways.draw(3, generator)
        said = [prompts[row] for row in seen.prompts]
        with torch.no_grad():
            empty, conditional = tiny_model.predict_noise_pair(seen.latents, seen.timestep, said)
        torch.testing.assert_close(seen.unconditional, empty, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(seen.conditional, conditional, rtol=1e-4, atol=1e-4)
        target = away_from(seen.unconditional, seen.conditional, 1.5)
        torch.testing.assert_close(target, 2.5 * empty - 1.5 * conditional, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("scheduler", ["ddim", "dpm-solver++"])
def test_a_way_from_pure_noise_has_all_of_its_steps(tiny_v_model_dir, tmp_path, scheduler):
    """On a base of zero terminal SNR, too, where the first step is asked another thing."""
    directory = shutil.copytree(tiny_v_model_dir, tmp_path / "model")
    config = directory / "scheduler/scheduler_config.json"
    asked = {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
    config.write_text(json.dumps(json.loads(config.read_text()) | asked))
    model = DiffusionModel.from_directory(directory)
    settings = {"steps": 4, "guidance_scale": 3.0, "scheduler": scheduler}
    visited = trajectories(model, ["a cat"], [5], **settings)
    assert len(visited) == 4 and visited[0].timestep == 999
    for step, at in enumerate(visited[:2]):
        latents, timestep = partly_denoised(model, ["a cat"], [5], stop=step, **settings)
        with torch.no_grad():
            pair = model.predict_noise_pair(latents, timestep, "a cat")
        assert timestep == at.timestep
        for found, wanted in zip(at[:3], (latents, *pair), strict=True):
            torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)


def test_latents_are_sampled_by_the_model_that_is_asked_for(tiny_model, monkeypatch):
    asked = []

    def partly(model, *given, **settings):
        asked.append((model, settings["stop"]))
        return partly_denoised(model, *given, **settings)

    monkeypatch.setattr("erasure_bench.methods.machinery.on_the_way.partly_denoised", partly)
    base = tiny_model.frozen_copy()
    for sampled_by, model in (("base", base), ("edited", tiny_model)):
        settings = WayThere(denoise_steps=4, sampled_by=sampled_by)
        generator = torch.Generator().manual_seed(1)
        ways = Ways(settings, base, tiny_model, ["a cat"], generator)
        for _ in range(4):
            timestep = ways.draw(1, generator).timestep
            sampler, step = asked[-1]
            assert sampler is model
            assert 1000 - 250 * (step + 1) <= timestep < 1000 - 250 * step, "the step's own interval"


def test_what_is_walked_beforehand_cannot_be_the_edited_models():
    with pytest.raises(BenchError, match="sampled_by=base"):
        WayThere(trajectories=2)
