"""The diffusion model's lower bound equals its formula; its examples are its pictures, encoded."""

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler

from erasure_bench.models.diffusion_model import DiffusionModel
from erasure_bench.models.generative import DiffusionGenerative


def no_pictures(prompts, seed):
    raise AssertionError("nothing is drawn here")


@pytest.mark.parametrize("directory", ["tiny_model_dir", "tiny_v_model_dir"])
def test_loss_equals_the_formula_for_every_example(directory, request):
    """x_t from diffusers' scheduler, the UNet called one example at a time, the mean taken in numpy."""
    model = DiffusionModel.from_directory(request.getfixturevalue(directory), dtype=torch.float64)
    generative = DiffusionGenerative(model, no_pictures)
    generator = torch.Generator().manual_seed(0)
    examples = torch.randn(3, *model.latent_shape(), generator=generator, dtype=torch.float64)
    noise = generative.noise_for(examples, generator)
    timesteps, prompts = torch.tensor([0, 400, 999]), ["a cat", "", "a dog"]

    found = generative.elbo_loss(examples, generative.encode_conditions(prompts), timesteps, noise)

    scheduler = DDIMScheduler.from_config(model.scheduler_config)
    for row, prompt in enumerate(prompts):
        one = slice(row, row + 1)
        noisy = scheduler.add_noise(examples[one], noise[one].double(), timesteps[one])
        with torch.no_grad():
            embeddings = model.encode_prompts([prompt])
            output = model.unet(noisy, timesteps[row], encoder_hidden_states=embeddings).sample.numpy()
        if model.prediction_type == "v_prediction":
            alpha = float(scheduler.alphas_cumprod[timesteps[row]])
            output = np.sqrt(alpha) * output + np.sqrt(1 - alpha) * noisy.numpy()
        expected = np.mean((output - noise[one].numpy()) ** 2)
        assert found[row].item() == pytest.approx(expected, rel=1e-5)


def test_terms_are_the_timesteps(tiny_model):
    assert DiffusionGenerative(tiny_model, no_pictures).terms == 1000


def test_noise_is_standard_normal_and_its_generators_alone(tiny_model):
    generative = DiffusionGenerative(tiny_model, no_pictures)
    examples = torch.zeros(500, 4, 8, 8)

    one, same = (generative.noise_for(examples, torch.Generator().manual_seed(1)) for _ in range(2))

    assert torch.equal(one, same) and one.shape == examples.shape
    assert abs(one.mean().item()) < 0.01 and abs(one.std().item() - 1) < 0.01


def test_encoded_prompts_carry_no_graph(tiny_model):
    tiny_model.text_encoder.requires_grad_(True)
    encoded = DiffusionGenerative(tiny_model, no_pictures).encode_conditions(["a cat", "a dog"])

    assert not encoded.requires_grad
    torch.testing.assert_close(encoded, tiny_model.encode_prompts(["a cat", "a dog"]).detach())


@pytest.mark.parametrize("batch_size", [2, 32])
def test_examples_are_the_pictures_encoded(tiny_model, batch_size):
    asked = []
    images = torch.randint(0, 256, (5, 3, 64, 64), dtype=torch.uint8)

    def pictures(prompts, seed):
        asked.append((tuple(prompts), seed))
        return images

    prompts = ["a", "b", "c", "d", "e"]
    latents = DiffusionGenerative(tiny_model, pictures, batch_size).draw(prompts, seed=7)

    assert asked == [(tuple(prompts), 7)]
    for row, image in enumerate(images):
        with torch.no_grad():
            alone = tiny_model.encode_images(image[None] / 255.0)[0]
        torch.testing.assert_close(latents[row], alone, rtol=1e-4, atol=1e-5)
    assert not latents.requires_grad


class Transparent:
    """A model that encodes pictures as themselves."""

    resolution = 16

    def encode_images(self, images):
        return images


def test_examples_of_noise_are_uniform_over_the_pixels():
    generative = DiffusionGenerative(Transparent(), no_pictures)

    one, same, other = (
        generative.draw_noise_examples(200, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )

    assert one.shape == (200, 3, 16, 16)
    assert torch.equal(one, same) and not torch.equal(one, other)
    values = (one * 255).round().long().flatten()
    torch.testing.assert_close(one, values.reshape(one.shape) / 255.0)
    counts = torch.bincount(values, minlength=256)
    assert len(counts) == 256
    expected = len(values) / 256
    chi_squared = ((counts - expected) ** 2 / expected).sum().item()
    assert chi_squared < 255 + 6 * (2 * 255) ** 0.5
