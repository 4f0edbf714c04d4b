"""The class-conditional denoiser: its bound, its guidance and its sampler against diffusers and by hand."""

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler
from torch import Generator

from erasure_bench.errors import BenchError, UnknownName
from erasure_bench.methods.machinery.parameters import select
from erasure_bench.models.conditional.ddpm import guidance_scale_of
from erasure_bench.models.conditional.tiny import tiny_class_model
from erasure_bench.models.generative import generative_of
from erasure_bench.models.noise import image_generator, image_noise
from erasure_bench.models.sampling import sample_latents


def no_pictures(prompts, seed):
    raise AssertionError("nothing is drawn here")


@pytest.fixture
def ddpm():
    return tiny_class_model("ddpm", torch.float64)


def asked(model, noisy: torch.Tensor, timestep: int, name: str) -> torch.Tensor:
    """diffusers' network itself, with our class embedding written out."""
    unet = model.parts["unet"]
    place = len(model.classes) if name == "" else model.classes.index(name)
    hidden = torch.nn.functional.silu(unet.label.first(unet.label.embedding.weight[place][None]))
    with torch.no_grad():
        return unet.network(noisy, timestep, class_labels=unet.label.second(hidden)).sample


def test_the_noise_schedule_is_linear_and_ends_in_noise(ddpm) -> None:
    betas = np.linspace(1e-4, 0.02, 20)
    np.testing.assert_allclose(ddpm.alphas_cumprod.numpy(), np.cumprod(1 - betas), rtol=1e-5)


def test_a_term_is_the_squared_error_summed_over_the_picture(ddpm) -> None:
    generative = generative_of(ddpm, no_pictures)
    generator = Generator().manual_seed(0)
    examples = torch.rand(2, 1, 8, 8, generator=generator, dtype=torch.float64) * 2 - 1
    noise = generative.noise_for(examples, generator)
    terms, names = torch.tensor([3, 19]), ["bar", ""]
    found = generative.elbo_loss(examples, generative.encode_conditions(names), terms, noise)
    assert generative.terms == 20
    for row, name in enumerate(names):
        alpha = ddpm.alphas_cumprod[terms[row]].double()
        noisy = alpha.sqrt() * examples[row] + (1 - alpha).sqrt() * noise[row].double()
        error = asked(ddpm, noisy[None], int(terms[row]), name) - noise[row].double()
        assert found[row].item() == pytest.approx(error.square().sum().item(), rel=1e-6)


@pytest.mark.parametrize("eta", [0.0, 1.0])
@pytest.mark.parametrize("steps", [5, 20])
def test_the_sampler_is_diffusers_with_the_papers_guidance(ddpm, eta, steps) -> None:
    """(1 + w) ε_c − w ε_∅ through DDIM with linear β, no offset and x₀ at the end, step by step."""
    weight, seed = 2.0, 7
    scheduler = DDIMScheduler(
        num_train_timesteps=20,
        beta_start=1e-4,
        beta_end=0.02,
        beta_schedule="linear",
        clip_sample=False,
        set_alpha_to_one=True,
        steps_offset=0,
        timestep_spacing="leading",
    )
    scheduler.set_timesteps(steps)
    assert int(scheduler.timesteps[-1]) == 0
    generator = image_generator(seed)
    latents = torch.randn(1, 1, 8, 8, generator=generator).double()
    for timestep in scheduler.timesteps:
        conditional, nothing = (asked(ddpm, latents, int(timestep), name) for name in ("dot", ""))
        noise = (1 + weight) * conditional - weight * nothing
        fresh = torch.randn(1, 1, 8, 8, generator=generator).double() if eta else None
        latents = scheduler.step(noise, timestep, latents, eta=eta, variance_noise=fresh).prev_sample
    found = sample_latents(
        ddpm,
        ["dot"],
        [seed],
        scheduler="ddim",
        steps=steps,
        eta=eta,
        guidance_scale=guidance_scale_of(weight),
    )
    torch.testing.assert_close(found, latents, rtol=1e-5, atol=1e-5)


def test_ddim_is_its_equation(ddpm) -> None:
    """Song et al. 2021, equation 12 with σ = 0, from the start noise to x₀, in numpy."""
    alphas = np.cumprod(1 - np.linspace(1e-4, 0.02, 20))
    x = image_noise(4, (1, 8, 8))[None].double().numpy()
    times = [16, 12, 8, 4, 0]
    for now, then in zip(times, [*times[1:], None], strict=True):
        noise = asked(ddpm, torch.from_numpy(x), now, "ring").numpy()
        after = 1.0 if then is None else alphas[then]
        clean = (x - np.sqrt(1 - alphas[now]) * noise) / np.sqrt(alphas[now])
        x = np.sqrt(after) * clean + np.sqrt(1 - after) * noise
    found = sample_latents(ddpm, ["ring"], [4], scheduler="ddim", steps=5, guidance_scale=1.0)
    np.testing.assert_allclose(found.numpy(), x, rtol=1e-4, atol=1e-4)


def test_groups_are_where_the_class_enters_and_the_rest(ddpm) -> None:
    everything = set(select(ddpm.parts, "full"))
    condition, strict = set(select(ddpm.parts, "xattn")), set(select(ddpm.parts, "xattn-strict"))
    assert strict == {"unet.label.embedding.weight"} < condition
    assert condition == {name for name in everything if name.startswith("unet.label.")}
    kept = everything - condition - set(select(ddpm.parts, "noxattn"))
    assert {name.split(".")[2] for name in kept} == {"conv_norm_out", "conv_out", "time_embedding"}
    assert not condition & set(select(ddpm.parts, "u"))
    with pytest.raises(BenchError, match="no parameters in the group 'embedding'"):
        select(ddpm.parts, "embedding")


def test_pictures_survive_the_way_to_pixels_and_back(ddpm) -> None:
    grey = torch.rand(2, 1, 8, 8, generator=Generator().manual_seed(1), dtype=torch.float64)
    images = grey.expand(-1, 3, -1, -1)
    encoded = ddpm.encode_images(images)
    assert encoded.shape == (2, 1, 8, 8) and encoded.min() < -0.9 and encoded.max() > 0.9
    torch.testing.assert_close(ddpm.decode_latents(encoded), images)


def test_a_class_that_is_none_is_named(ddpm) -> None:
    with pytest.raises(UnknownName, match="class of tiny-ddpm 'rign'.*did you mean ring"):
        ddpm.encode_prompts(["rign"])
