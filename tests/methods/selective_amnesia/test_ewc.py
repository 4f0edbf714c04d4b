"""Elastic weight consolidation pulls a quadratic's minimum to where it is known to lie."""

import pytest
import torch
from torch import nn

from erasure_bench.methods.selective_amnesia.ewc import penalties


def test_minimum_of_a_quadratic_moves_to_the_known_place():
    """½ h (θ − a)² + λ F (θ − θ*)² has its minimum at (h a + 2 λ F θ*) / (h + 2 λ F), weight by weight."""
    generator = torch.Generator().manual_seed(0)
    shapes = {"one": (3, 2), "two": (4,)}

    def random(low: float, high: float) -> dict[str, torch.Tensor]:
        return {
            name: low + (high - low) * torch.rand(shape, generator=generator, dtype=torch.float64)
            for name, shape in shapes.items()
        }

    wanted, base, curvature, fisher = random(-1, 1), random(-1, 1), random(0.5, 2), random(0, 1)
    parameters = {name: nn.Parameter(value.clone()) for name, value in base.items()}
    descent = torch.optim.SGD(parameters.values(), lr=0.2)
    for _ in range(300):
        descent.zero_grad()
        task = sum(
            (curvature[name] * (theta - wanted[name]) ** 2).sum() / 2 for name, theta in parameters.items()
        )
        (task + sum(penalties(parameters, base, fisher, 3.0))).backward()
        descent.step()

    for name, theta in parameters.items():
        pull = 2 * 3.0 * fisher[name]
        known = (curvature[name] * wanted[name] + pull * base[name]) / (curvature[name] + pull)
        torch.testing.assert_close(theta.detach(), known, rtol=0, atol=1e-9)


def test_penalty_is_the_sum_by_hand():
    parameters = {"a": torch.tensor([1.0, 2.0]), "b": torch.tensor([[3.0]])}
    base = {"a": torch.tensor([0.0, 4.0]), "b": torch.tensor([[2.5]])}
    fisher = {"a": torch.tensor([2.0, 0.5]), "b": torch.tensor([[8.0]]), "unused": torch.ones(1)}

    found = [float(part) for part in penalties(parameters, base, fisher, 10.0)]

    assert found == [pytest.approx(10 * (2 * 1 + 0.5 * 4)), pytest.approx(10 * 8 * 0.25)]
