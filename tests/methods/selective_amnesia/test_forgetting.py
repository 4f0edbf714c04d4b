"""Selective Amnesia on a model that is no diffusion model and whose optimum is known in closed form."""

from collections.abc import Sequence

import pytest
import torch
from torch import Generator, Tensor, nn

from erasure_bench.methods.base import EraseContext
from erasure_bench.methods.machinery.training import Training
from erasure_bench.methods.selective_amnesia.elbo_lessons import Examples
from erasure_bench.methods.selective_amnesia.forgetting import forget

WEIGHTS = [1.0, -2.0, 3.0]


class Categories:
    """p(x | c) = N(w_c, ½) for a number x and a class c; ℓ(x, c) = (x − w_c)² is its one term."""

    terms = 1

    def __init__(self) -> None:
        self.means = nn.Parameter(torch.tensor(WEIGHTS, dtype=torch.float64), requires_grad=False)

    def encode_conditions(self, conditions: Sequence[int]) -> Tensor:
        return torch.tensor(conditions)

    def noise_for(self, examples: Tensor, generator: Generator) -> Tensor:
        return torch.zeros_like(examples)

    def elbo_loss(self, examples: Tensor, encoded: Tensor, terms: Tensor, noise: Tensor) -> Tensor:
        return (examples - self.means[encoded]).square()

    def draw(self, conditions: Sequence[int], seed: int) -> Tensor:
        return self.means.detach()[list(conditions)]

    def draw_noise_examples(self, count: int, generator: Generator) -> Tensor:
        return torch.rand(count, generator=generator, dtype=torch.float64)


def forgotten(**settings: object) -> Tensor:
    """The three means after class 0 was taught to be 7, and class 1 was replayed at −1."""
    model = Categories()
    given: dict[str, object] = {
        "remembered": Examples(torch.tensor([-1.0], dtype=torch.float64), [(1,)]),
        "fisher": {"means": torch.tensor([0.5, 2.0, 4.0], dtype=torch.float64)},
        "penalty": 3.0,
    } | settings
    tuning = Training(
        {"means": model.means},
        device=torch.device("cpu"),
        learning_rate=0.02,
        steps=3000,
        context=EraseContext(),
    )
    with tuning:
        forget(
            model,
            tuning,
            Examples(torch.tensor([7.0], dtype=torch.float64), [(0,)]),
            batch_size=2,
            **given,  # type: ignore[arg-type]
        )
    assert model.means.tolist() == WEIGHTS
    return tuning.tensors["means"]


def test_the_optimum_weighs_surrogate_replay_and_base_by_fisher() -> None:
    """argmin (7 − w_0)² + γ (−1 − w_1)² + λ Σ F_c (w_c − w*_c)², each w_c for itself."""
    found = forgotten(replay_weight=0.5)

    surrogate = (7.0 + 3.0 * 0.5 * 1.0) / (1 + 3.0 * 0.5)
    replayed = (0.5 * -1.0 + 3.0 * 2.0 * -2.0) / (0.5 + 3.0 * 2.0)
    assert found.tolist() == pytest.approx([surrogate, replayed, 3.0], abs=1e-4)


def test_without_consolidation_the_concept_becomes_the_surrogate_and_the_rest_what_is_replayed() -> None:
    assert forgotten(fisher={}).tolist() == pytest.approx([7.0, -1.0, 3.0], abs=1e-4)


def test_without_replay_only_consolidation_holds_the_rest() -> None:
    assert forgotten(remembered=None).tolist() == pytest.approx([8.5 / 2.5, -2.0, 3.0], abs=1e-4)


def test_the_naive_alternative_moves_away_from_its_examples() -> None:
    """argmin −(7 − w_0)² + λ F_0 (w_0 − w*_0)², whose weight λ F_0 = 1.5 still outweighs the first term."""
    found = forgotten(forget_weight=-1.0)
    assert found[0].item() == pytest.approx((-7.0 + 1.5 * 1.0) / (-1.0 + 1.5), abs=1e-3)
