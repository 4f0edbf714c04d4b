"""UnlearnDiffAtk: its gradient, its projection, that it descends, and that without a budget it is chance."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from erasure_bench.attacks.base import AttackContext, Target, Victim
from erasure_bench.attacks.noise_loss import (
    generators,
    latents_of,
    noise_for,
    noise_losses,
    timesteps,
)
from erasure_bench.attacks.random_prefix import RandomPrefix
from erasure_bench.attacks.unlearndiffatk import UnlearnDiffAtk, on_simplex, straight_through
from erasure_bench.models.diffusion_model import DiffusionModel
from erasure_bench.models.token_input import embedded, token_vectors, usable_tokens, with_slots


def test_the_official_timesteps_are_the_papers() -> None:
    assert timesteps(50, 1000) == list(range(10, 1000, 20))


def test_the_gradient_is_that_of_the_loss_in_one_hot_rows(
    tiny_model: DiffusionModel, targets: Sequence[Target]
) -> None:
    """Central differences of the loss as one token's weight in a row grows: in float64."""
    for part in tiny_model.parts.values():
        part.double()
    tiny_model.dtype = torch.float64
    asked = with_slots(tiny_model, [[2, target.prompt] for target in targets])
    usable, latents = usable_tokens(tiny_model), latents_of(tiny_model, targets)
    relaxed = torch.full((2, 2, len(usable)), 1 / len(usable), dtype=torch.float64).requires_grad_(True)
    drawn = torch.tensor([[3, 60], [9, 200]])

    def own() -> list[torch.Generator]:
        return generators("test", targets, 0)

    straight_through(tiny_model, asked, usable, relaxed, drawn, latents, 300, own(), ["", ""])
    table, noise = token_vectors(tiny_model)[usable], noise_for(latents, own())

    def loss(row: int, slot: int, token: int, weight: float) -> float:
        one_hot = torch.nn.functional.one_hot(drawn, len(usable)).double()
        one_hot[row, slot, token] += weight
        with torch.no_grad():
            vectors = embedded(tiny_model, asked, one_hot @ table)
            return float(noise_losses(tiny_model, latents, 300, noise, vectors, ["", ""])[row])

    assert relaxed.grad is not None
    for row, slot, token in [(0, 0, 3), (0, 1, 17), (1, 0, 100), (1, 1, 5)]:
        slope = (loss(row, slot, token, 1e-4) - loss(row, slot, token, -1e-4)) / 2e-4
        cut = min(max(slope, -1.0), 1.0)
        assert float(relaxed.grad[row, slot, token]) == pytest.approx(cut, rel=2e-2, abs=1e-6)
    assert float(relaxed.grad.abs().max()) > 1e-5, "the prefix matters at all"


def test_the_projection_is_the_nearest_point_of_the_simplex() -> None:
    """Against a general solver of the constrained problem."""
    rows = torch.from_numpy(np.random.default_rng(1).normal(0, 0.7, (4, 5)))
    for row, found in zip(rows.numpy(), on_simplex(rows).numpy(), strict=True):
        solved = minimize(
            lambda v, row=row: ((v - row) ** 2).sum(),
            np.full(5, 0.2),
            bounds=[(0, 1)] * 5,
            constraints={"type": "eq", "fun": lambda v: v.sum() - 1},
            tol=1e-12,
        )
        assert found == pytest.approx(solved.x, abs=1e-4)
        assert found.sum() == pytest.approx(1, abs=1e-9)


def test_without_steps_it_is_the_control(
    tiny_model: DiffusionModel,
    victim_of: Callable[[DiffusionModel], Victim],
    targets: Sequence[Target],
    context: AttackContext,
) -> None:
    victim = victim_of(tiny_model)
    attacked = UnlearnDiffAtk(tries=3, steps=0).assault(victim, targets, context)
    control = RandomPrefix(tries=3).assault(victim, targets, context)
    for own, other in zip(attacked.tries, control.tries, strict=True):
        for one, chance in zip(own, other, strict=True):
            assert one.asked == chance.asked and one.loss == chance.loss
            assert torch.equal(one.embedding, chance.embedding)  # type: ignore[arg-type]


def test_the_search_finds_a_lower_loss_than_chance(
    tiny_model: DiffusionModel,
    victim_of: Callable[[DiffusionModel], Victim],
    targets: Sequence[Target],
    context: AttackContext,
) -> None:
    """On noise that the search has not seen, of as many tries."""
    victim = victim_of(tiny_model)
    attacked = UnlearnDiffAtk(tries=4, steps=25).assault(victim, targets, context)
    control = RandomPrefix(tries=4).assault(victim, targets, context)
    for own, other in zip(attacked.tries, control.tries, strict=True):
        assert min(one.loss for one in own) < min(one.loss for one in other)
    assert len(attacked.losses) == 100


def test_the_more_tries_the_control_has_the_same_are_the_first(
    tiny_model: DiffusionModel,
    victim_of: Callable[[DiffusionModel], Victim],
    targets: Sequence[Target],
    context: AttackContext,
) -> None:
    """So that a control of many tries serves an attack of few."""
    victim = victim_of(tiny_model)
    few = RandomPrefix(tries=2).assault(victim, targets, context).tries
    many = RandomPrefix(tries=3).assault(victim, targets, context).tries
    assert [[one.asked for one in own] for own in few] == [[one.asked for one in own[:2]] for own in many]
