"""The Fisher diagonal: against linear-Gaussian models where it is known, and a diffusion model by hand."""

import math

import pytest
import torch
from torch import nn

from erasure_bench.errors import BenchError
from erasure_bench.methods.machinery.interruption import Interrupting, Interruption
from erasure_bench.methods.machinery.parameters import select
from erasure_bench.methods.selective_amnesia.fisher import (
    _stratified,
    exact_fisher,
    fast_fisher,
    rank_correlation,
)
from erasure_bench.models.diffusion_model import DiffusionModel
from erasure_bench.models.generative import DiffusionGenerative
from erasure_bench.models.weights import changed_tensors, snapshot

SIZE, CLASSES = 4, 2


class LinearGaussian:
    """x = W c + σ n for a one-hot c, n standard normal, with

        ℓ_k(x, c, ε) = a_k ‖x + b ε − W c‖² / (2 σ²)

    so that the gradient of the sum over k by W_ic is −Σ_k a_k (σ n_i + b ε_ki) / σ². With all a_k
    summing to 1 and b = 0 that is the negative log likelihood, whose Fisher is p(c) / σ².
    """

    def __init__(self, weights: list[float], *, scale: float, noise: float = 0.0) -> None:
        generator = torch.Generator().manual_seed(0)
        self.matrix = nn.Parameter(torch.randn(SIZE, CLASSES, generator=generator, dtype=torch.float64))
        self.matrix.requires_grad_(False)
        self.weights = torch.tensor(weights, dtype=torch.float64)
        self.scale, self.noise = scale, noise
        self.largest_batch = 0

    @property
    def terms(self) -> int:
        return len(self.weights)

    def encode_conditions(self, conditions):
        return torch.tensor(conditions)

    def noise_for(self, examples, generator):
        return torch.randn(examples.shape, generator=generator, dtype=torch.float64)

    def elbo_loss(self, examples, encoded, terms, noise):
        self.largest_batch = max(self.largest_batch, len(examples))
        error = (examples + self.noise * noise - self.matrix[:, encoded].T).square().sum(1)
        return self.weights[terms] * error / (2 * self.scale**2)

    def draw(self, conditions, seed):
        noise = torch.randn(
            len(conditions), SIZE, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
        )
        return self.matrix.detach()[:, list(conditions)].T + self.scale * noise

    def draw_noise_examples(self, count, generator):
        return torch.rand(count, SIZE, generator=generator)

    def samples(self, count: int):
        conditions = [place % CLASSES for place in range(count)]
        return self.draw(conditions, seed=1), conditions


def fisher_of(estimate, model, count, **options):
    examples, conditions = model.samples(count)
    generator = torch.Generator().manual_seed(2)
    parameters = {"matrix": model.matrix}
    return estimate(model, parameters, examples, conditions, generator=generator, **options)["matrix"]


def mean_ratio(found, known):
    """Averaged over the weights, which all have the same Fisher here."""
    return (found / known).mean().item()


def test_fisher_of_a_likelihood_is_the_textbooks():
    """−log p(x | c) of a Gaussian with mean W c: p(c) / σ² for every weight."""
    model = LinearGaussian([1.0], scale=0.5)
    found = fisher_of(exact_fisher, model, 2000)

    assert mean_ratio(found, (1 / CLASSES) / 0.5**2) == pytest.approx(1, abs=0.06)
    torch.testing.assert_close(found, torch.full_like(found, 2.0), rtol=0.2, atol=0)


def test_exact_fisher_squares_the_sum_over_terms():
    """For examples that are given, without noise: (Σ_k a_k)² times the mean square of their errors / σ⁴."""
    model = LinearGaussian([0.5, 1.0, 2.0, 4.0], scale=0.7)
    examples, conditions = model.samples(10)
    found = fisher_of(exact_fisher, model, 10)

    for column in range(CLASSES):
        errors = [
            (7.5 * (example - model.matrix[:, column]) / 0.7**2) ** 2
            for example, condition in zip(examples, conditions, strict=True)
            if condition == column
        ]
        torch.testing.assert_close(found[:, column], sum(errors) / 10)


def test_exact_fisher_draws_fresh_noise_for_every_term():
    """F = p(c) (σ² (Σ a)² + b² Σ a²) / σ⁴; with one noise for all terms it would have (Σ a)² twice."""
    weights = torch.linspace(0.5, 2.0, 20, dtype=torch.float64)
    model = LinearGaussian(weights.tolist(), scale=1.0, noise=3.0)
    known = (weights.sum() ** 2 + 3.0**2 * (weights**2).sum()) / CLASSES
    shared_noise = (1 + 3.0**2) * weights.sum() ** 2 / CLASSES

    found = mean_ratio(fisher_of(exact_fisher, model, 1500), known)

    assert found == pytest.approx(1, abs=0.08)
    assert shared_noise / known > 3


def test_fast_fishers_expectation_is_known():
    """Strata of n = T/K terms: p(c) (σ² (Σ a)² + Σ_strata n² (b² mean a² + σ² var a)) / σ⁴."""
    terms, used, noise = 40, 4, 3.0
    weights = torch.linspace(0.2, 1.8, terms, dtype=torch.float64)
    model = LinearGaussian(weights.tolist(), scale=1.0, noise=noise)
    strata = weights.reshape(used, -1)
    variance = strata.shape[1] ** 2 * (noise**2 * (strata**2).mean(1) + strata.var(1, correction=0))
    expected = (weights.sum() ** 2 + variance.sum()) / CLASSES
    exact = (weights.sum() ** 2 + noise**2 * (weights**2).sum()) / CLASSES

    found = fisher_of(fast_fisher, model, 3000, terms=used)

    assert mean_ratio(found, expected) == pytest.approx(1, abs=0.06)
    assert expected / exact > 2, "the noise of few terms counts for more"


def test_fast_fisher_with_every_term_is_the_exact_one():
    """Strata of one term each: the same numbers, drawn in another order."""
    model = LinearGaussian([0.5, 1.0, 2.0, 4.0], scale=0.7)

    torch.testing.assert_close(fisher_of(fast_fisher, model, 10, terms=4), fisher_of(exact_fisher, model, 10))


def test_fast_fisher_is_exact_where_terms_are_alike():
    """Equal terms without noise: any of them stands for all."""
    model = LinearGaussian([0.3] * 30, scale=0.8)
    exact, fast = fisher_of(exact_fisher, model, 6), fisher_of(fast_fisher, model, 6, terms=4)

    torch.testing.assert_close(fast, exact)


def test_passes_are_those_that_the_docstring_counts():
    calls = []
    model = LinearGaussian([1.0] * 24, scale=1.0)
    loss = model.elbo_loss
    model.elbo_loss = lambda *given: (calls.append(len(given[0])), loss(*given))[1]

    fisher_of(exact_fisher, model, 3)
    exact, calls[:] = sum(calls), []
    fisher_of(fast_fisher, model, 3, terms=6)

    assert (exact, sum(calls)) == (3 * 24, 3 * 6)


@pytest.mark.parametrize(
    ("estimate", "options"), [(exact_fisher, {}), (fast_fisher, {"terms": 10})], ids=["exact", "fast"]
)
def test_batches_change_nothing_and_are_kept(estimate, options):
    model = LinearGaussian([1.0, 2.0] * 10, scale=0.5, noise=1.0)
    whole = fisher_of(estimate, model, 4, batch_size=100, **options)
    model.largest_batch = 0
    split = fisher_of(estimate, model, 4, batch_size=3, **options)

    torch.testing.assert_close(whole, split)
    assert model.largest_batch == 3


@pytest.mark.parametrize("terms", [0, -1, 21])
def test_impossible_numbers_of_terms_are_refused(terms):
    model = LinearGaussian([1.0] * 20, scale=1.0)
    with pytest.raises(BenchError, match="valid: 1 to 20"):
        fisher_of(fast_fisher, model, 2, terms=terms)


@pytest.mark.parametrize(("terms", "strata"), [(1000, 10), (1000, 7), (5, 5), (7, 3)])
def test_strata_cover_every_term_once(terms, strata):
    generator = torch.Generator().manual_seed(0)
    seen = torch.zeros(terms)
    for _ in range(400):
        numbers, weights = _stratified(terms, strata, generator)
        assert weights.sum() == terms
        edges = torch.cat([torch.zeros(1), weights.cumsum(0)])
        assert ((numbers >= edges[:-1]) & (numbers < edges[1:])).all()
        seen[numbers] += weights
    if terms < 10:
        torch.testing.assert_close(seen / 400, torch.ones(terms), rtol=0, atol=0.3)


def test_fisher_of_a_diffusion_model_by_hand(tiny_model_dir):
    """A schedule of 12 timesteps: the gradient of the sum as one graph, squared, the mean of two samples."""
    model = DiffusionModel.from_directory(tiny_model_dir, dtype=torch.float64)
    model.alphas_cumprod = model.alphas_cumprod[40::80]
    before = snapshot(model)
    parameters = select(model.parts, "xattn")
    examples = torch.randn(2, *model.latent_shape(), generator=torch.Generator().manual_seed(3))
    prompts = ["a cat", "a dog"]
    generative = DiffusionGenerative(model, lambda prompts, seed: examples)

    generator = torch.Generator().manual_seed(4)
    found = exact_fisher(generative, parameters, examples, prompts, generator=generator, batch_size=5)

    assert not changed_tensors(before, model.named_tensors())
    assert all(not p.requires_grad and p.grad is None for p in model.named_tensors().values())
    for parameter in parameters.values():
        parameter.requires_grad_(True)
    generator = torch.Generator().manual_seed(4)
    squares = []
    for example, prompt in zip(examples, prompts, strict=True):
        noises = torch.randn(12, *example.shape, generator=generator).double()
        total = torch.zeros((), dtype=torch.float64)
        for timestep, noise in enumerate(noises):
            alpha = model.alphas_cumprod[timestep].double()
            noisy = alpha.sqrt() * example + (1 - alpha).sqrt() * noise
            predicted = model.predict_noise(noisy[None], timestep, prompt)[0]
            total = total + ((predicted - noise) ** 2).mean()
        squares.append([g**2 for g in torch.autograd.grad(total, list(parameters.values()))])
    assert len(squares) == 2
    for name, one, two in zip(parameters, *squares, strict=True):
        torch.testing.assert_close(found[name], (one + two) / 2, rtol=1e-6, atol=1e-12)


def test_rank_correlation_is_spearmans():
    generator = torch.Generator().manual_seed(0)
    one = {"a": torch.rand(3, 5, generator=generator), "b": torch.rand(7, generator=generator)}
    other = {name: torch.rand(value.shape, generator=generator) for name, value in one.items()}

    def ranks(part):
        values = torch.cat([part["a"].flatten(), part["b"]])
        return values.argsort().argsort().double()

    count = 22
    by_hand = 1 - 6 * (ranks(one) - ranks(other)).square().sum().item() / (count * (count**2 - 1))
    assert rank_correlation(one, other) == pytest.approx(by_hand)
    assert rank_correlation(one, {name: value**3 for name, value in one.items()}) == pytest.approx(1)
    assert rank_correlation(one, {name: -value for name, value in one.items()}) == pytest.approx(-1)
    assert rank_correlation(one, {"b": one["b"], "a": one["a"]}) == pytest.approx(1), "matched by name"
    assert not math.isclose(rank_correlation(one, other), 1)


def test_fast_fisher_ranks_a_diffusion_models_weights_as_the_exact_one_does(tiny_model):
    """Twentyfold less work: 5 of 100 timesteps."""
    tiny_model.alphas_cumprod = tiny_model.alphas_cumprod[::10]
    parameters = select(tiny_model.parts, "full")
    examples = torch.randn(6, *tiny_model.latent_shape(), generator=torch.Generator().manual_seed(3))
    prompts = ["a cat", "a dog", "a tree", "a boat", "", "a red house"]
    generative = DiffusionGenerative(tiny_model, lambda prompts, seed: examples)

    exact, fast = (
        estimate(
            generative,
            parameters,
            examples,
            prompts,
            generator=torch.Generator().manual_seed(seed),
            batch_size=50,
            **options,
        )
        for estimate, seed, options in ((exact_fisher, 4, {}), (fast_fisher, 5, {"terms": 5}))
    )

    assert rank_correlation(fast, exact) > 0.95


@pytest.mark.parametrize(
    ("estimate", "options"), [(exact_fisher, {}), (fast_fisher, {"terms": 10})], ids=["exact", "fast"]
)
def test_a_fisher_that_was_interrupted_ends_in_the_same_bits(estimate, options):
    model = LinearGaussian([1.0, 2.0] * 10, scale=0.5, noise=1.0)
    undisturbed = fisher_of(estimate, model, 6, **options)
    checkpoints = Interrupting(after=4)
    with pytest.raises(Interruption):
        fisher_of(estimate, model, 6, checkpoints=checkpoints, **options)
    told = []
    again = checkpoints.resumed()
    resumed = fisher_of(estimate, model, 6, checkpoints=again, on_sample=told.append, **options)
    assert told == [5, 6] and again.loaded == ["fisher"]
    assert torch.equal(resumed, undisturbed)
