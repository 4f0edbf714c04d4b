"""The conditional autoencoder: its bound in closed form, its gradient and Fisher by finite differences."""

import math

import numpy as np
import pytest
import torch
from torch import Generator

from erasure_bench.errors import BenchError, UnknownName
from erasure_bench.methods.machinery.parameters import select
from erasure_bench.methods.selective_amnesia.fisher import exact_fisher
from erasure_bench.models.conditional.tiny import tiny_class_model
from erasure_bench.models.conditional.vae import VAEGenerative, kl_to_standard_normal
from erasure_bench.models.generative import generative_of
from erasure_bench.models.guidance import ClassifierFree
from erasure_bench.models.sampling import ImageRequest, sample


def no_pictures(prompts, seed):
    raise AssertionError("nothing is drawn here")


@pytest.fixture
def vae():
    return tiny_class_model("vae", torch.float64)


def some_examples(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = Generator().manual_seed(3)
    pixels = torch.rand(count, 64, generator=generator, dtype=torch.float64)
    return pixels, torch.randn(count, 4, generator=generator, dtype=torch.float64)


def layers(network, x: np.ndarray) -> np.ndarray:
    """The perceptron in numpy."""
    linear = [module for module in network if hasattr(module, "weight")]
    for place, module in enumerate(linear):
        x = x @ module.weight.detach().numpy().T + module.bias.detach().numpy()
        if place < len(linear) - 1:
            x = np.maximum(x, 0)
    return x


def test_the_bound_is_its_formula(vae) -> None:
    """Bernoulli's log-likelihood and the divergence of two Gaussians, in numpy from the weights."""
    pixels, noise = some_examples(3)
    names = ["dot", "ring", "dot"]
    generative = generative_of(vae, no_pictures)
    encoded = generative.encode_conditions(names)
    found = generative.elbo_loss(pixels, encoded, torch.zeros(3, dtype=torch.long), noise)

    one_hot = np.eye(3)[[vae.classes.index(name) for name in names]]
    posterior = layers(vae.network.encoder, np.concatenate([pixels.numpy(), one_hot], 1))
    mean, log_variance = posterior[:, :4], posterior[:, 4:]
    latents = mean + np.exp(log_variance / 2) * noise.numpy()
    logits = layers(vae.network.decoder, np.concatenate([latents, one_hot], 1))
    shown = 1 / (1 + np.exp(-logits))
    likelihood = (pixels.numpy() * np.log(shown) + (1 - pixels.numpy()) * np.log(1 - shown)).sum(1)
    divergence = 0.5 * (mean**2 + np.exp(log_variance) - 1 - log_variance).sum(1)
    np.testing.assert_allclose(found.detach().numpy(), divergence - likelihood, rtol=1e-9)


def test_the_divergence_is_that_of_two_gaussians() -> None:
    mean, log_variance = torch.tensor([[0.3, -1.2]]), torch.tensor([[0.4, -0.7]])
    one = torch.distributions.Normal(mean, (log_variance / 2).exp())
    other = torch.distributions.Normal(torch.zeros(1, 2), torch.ones(1, 2))
    expected = torch.distributions.kl_divergence(one, other).sum(1)
    torch.testing.assert_close(kl_to_standard_normal(mean, log_variance), expected)


def test_it_bounds_the_likelihood(vae) -> None:
    """−E[ELBO] is no less than −log p(x | c), estimated by 20,000 weighted samples of the posterior."""
    pixels, _ = some_examples(1)
    draws = 20_000
    noise = torch.randn(draws, 4, generator=Generator().manual_seed(0), dtype=torch.float64)
    classes = vae.encode_prompts(["bar"])[:, 0]
    many = pixels.expand(draws, -1), classes.expand(draws, -1)
    with torch.no_grad():
        bound = vae.negative_elbo(*many, noise).mean().item()
        mean, log_variance = vae.network.encode(pixels, classes)
        latents = mean + (log_variance / 2).exp() * noise
        logits = vae.network.decode(latents, many[1])
        seen = torch.distributions.Bernoulli(logits=logits, validate_args=False).log_prob(many[0]).sum(1)
        prior = torch.distributions.Normal(0.0, 1.0).log_prob(latents).sum(1)
        posterior = torch.distributions.Normal(mean, (log_variance / 2).exp()).log_prob(latents).sum(1)
        likelihood = (torch.logsumexp(seen + prior - posterior, 0) - math.log(draws)).item()
    assert -likelihood <= bound < -likelihood + 2.0


def test_the_fisher_is_the_squared_gradient_by_finite_differences(vae) -> None:
    """Of every parameter of encoder and decoder, over two examples; the noise is what the generator gives."""
    parameters = select(vae.parts, "full")
    assert {name.split(".")[1] for name in parameters} == {"encoder", "decoder"}
    pixels, _ = some_examples(2)
    names = ["ring", "dot"]
    generative = VAEGenerative(vae, no_pictures)
    fisher = exact_fisher(generative, parameters, pixels, names, generator=Generator().manual_seed(5))

    generator = Generator().manual_seed(5)
    noises = [generative.noise_for(pixels[row : row + 1], generator) for row in range(2)]
    encoded = generative.encode_conditions(names)

    def loss(row: int) -> float:
        one = slice(row, row + 1)
        term = torch.zeros(1, dtype=torch.long)
        with torch.no_grad():
            return generative.elbo_loss(pixels[one], encoded[one], term, noises[row].double()).item()

    step = 1e-6
    pick = np.random.default_rng(0)
    for name, parameter in parameters.items():
        flat = parameter.detach().view(-1)
        for place in pick.choice(len(flat), min(len(flat), 4), replace=False):
            squares = []
            for row in range(2):
                before = flat[place].item()
                flat[place] = before + step
                above = loss(row)
                flat[place] = before - step
                below = loss(row)
                flat[place] = before
                squares.append(((above - below) / (2 * step)) ** 2)
            expected = np.mean(squares)
            assert fisher[name].view(-1)[place].item() == pytest.approx(expected, rel=1e-4, abs=1e-8), name


def test_it_draws_the_decoders_mean_for_each_pictures_own_noise() -> None:
    """One pass: steps, scheduler and guidance scale change nothing, nor does the batch."""
    model = tiny_class_model("vae")
    requests = [ImageRequest(name, seed, 1.0, 8, 8) for seed, name in enumerate(("ring", "bar", "ring"))]
    together = sample(model, requests, scheduler="ddim", steps=1)
    alone = [sample(model, [request], scheduler="pndm", steps=7)[0] for request in requests]
    assert all((one == other).all() for one, other in zip(together, alone, strict=True))
    noise = torch.randn(4, generator=Generator().manual_seed(1))
    logits = model.network.decode(noise[None], model.encode_prompts(["bar"])[:, 0])
    expected = (logits.sigmoid() * 255).round().detach().numpy().reshape(8, 8)
    assert (together[1] == np.repeat(expected[..., None], 3, 2)).all()


def test_noise_examples_are_uniform_although_the_pictures_are_grey() -> None:
    generative = generative_of(tiny_class_model("vae"), no_pictures)
    drawn = generative.draw_noise_examples(300, Generator().manual_seed(0))
    assert drawn.shape == (300, 64)
    assert abs(drawn.mean().item() - 0.5) < 0.01
    assert abs(drawn.std().item() - 12**-0.5) < 0.005


def test_what_it_cannot_do_is_one_line() -> None:
    model = tiny_class_model("vae")
    with pytest.raises(UnknownName, match="class of tiny-vae 'four'.*bar, dot, ring"):
        model.encode_prompts(["four"])
    with pytest.raises(UnknownName, match="class of tiny-vae ''"):
        model.encode_prompts([""])
    with pytest.raises(BenchError, match="draws 8x8 alone"):
        sample(model, [ImageRequest("ring", 0, 1.0, 16, 16)], scheduler="ddim", steps=1)
    with pytest.raises(BenchError, match="one pass"):
        sample(
            model,
            [ImageRequest("ring", 0, 1.0, 8, 8)],
            scheduler="ddim",
            steps=1,
            guidance=ClassifierFree("bar"),
        )
    with pytest.raises(BenchError, match="no parameters in the group 'xattn'"):
        select(model.parts, "xattn")
