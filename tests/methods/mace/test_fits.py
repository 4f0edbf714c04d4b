"""The fits are the minimisers of what they say, in float64."""

import torch

from erasure_bench.methods.mace.fits import fitted, second_moment

LIGHT, KEEP = 0.3, 0.05


def setting():
    generator = torch.Generator().manual_seed(0)
    shapes = {"weight": (3, 6), "seen": (6, 4), "wanted": (3, 4), "prior": (6, 9)}
    return {
        name: torch.randn(shape, generator=generator, dtype=torch.float64) for name, shape in shapes.items()
    }


def test_the_fit_is_that_of_least_squares():
    """The same problem as rows of one linear system, solved by LAPACK."""
    at = setting()
    weight, seen, wanted, prior = at["weight"], at["seen"], at["wanted"], at["prior"]
    held = LIGHT * prior @ prior.T + KEEP * torch.eye(6, dtype=torch.float64)
    found = fitted(weight, wanted @ seen.T, seen @ seen.T, held)

    rows = torch.cat([seen.T, LIGHT**0.5 * prior.T, KEEP**0.5 * torch.eye(6, dtype=torch.float64)])
    sides = torch.cat([wanted.T, LIGHT**0.5 * (weight @ prior).T, KEEP**0.5 * weight.T])
    torch.testing.assert_close(found, torch.linalg.lstsq(rows, sides).solution.T, rtol=1e-10, atol=1e-12)


def test_no_step_from_the_fit_lowers_the_objective():
    at = setting()
    held = LIGHT * at["prior"] @ at["prior"].T + KEEP * torch.eye(6, dtype=torch.float64)
    found = fitted(at["weight"], at["wanted"] @ at["seen"].T, at["seen"] @ at["seen"].T, held)

    def objective(candidate):
        change = candidate - at["weight"]
        misses = (candidate @ at["seen"] - at["wanted"]).square().sum()
        return misses + LIGHT * (change @ at["prior"]).square().sum() + KEEP * change.square().sum()

    candidate = found.clone().requires_grad_()
    objective(candidate).backward()
    assert candidate.grad.abs().max() < 1e-12
    assert objective(at["weight"]) > objective(found)


def test_the_second_moment_is_over_all_tokens_of_all_texts_as_often_as_they_are_there(tiny_model):
    texts = ["a cat", "a red boat", "a cat"]
    rows = tiny_model.encode_prompts(texts).detach().double().flatten(0, 1)
    torch.testing.assert_close(second_moment(tiny_model, texts), rows.T @ rows, rtol=1e-6, atol=1e-6)
    assert not second_moment(tiny_model, []).any()
