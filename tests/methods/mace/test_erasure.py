"""MACE: both closed forms minimise the paper's sums, its loss has the gradient that it should."""

import dataclasses

import numpy as np
import pytest
import torch

from erasure_bench.errors import BenchError
from erasure_bench.methods.base import EraseContext
from erasure_bench.methods.edit import applied
from erasure_bench.methods.mace.erasure import (
    MACE,
    attention_inside,
    focal_weights,
    module_of,
    put_into,
    start_of_adapters,
)
from erasure_bench.methods.mace.fits import second_moment
from erasure_bench.methods.machinery.closed_form import matrices
from erasure_bench.methods.registry import build_method
from erasure_bench.models.diffusion_model import DiffusionModel
from erasure_bench.prompt_suites.concepts import Concept

CAT = Concept(name="cat", kind="object", targets=("sad cat",), anchor="cat", anchor_prompts=("a cat",))
BOAT = Concept(name="boat", kind="object", targets=("boat",), anchor="cat", anchor_prompts=("a cat",))
GENERAL = ("a tree", "a red boat", "a dog")
TINY = {"images": 2, "denoise_steps": 2, "mask_side": 8, "steps": 2, "batch_size": 2, "learning_rate": 1e-2}


def rows(model, text, *places):
    return model.encode_prompts([text]).detach().double()[0][[*places]]


def weighted_least_squares(weight, parts, keep):
    """argmin Σ_parts scale · ‖X e − y‖² + keep · ‖X − W‖², by LAPACK; parts are (scale, rows e, rows y)."""
    parts = [*parts, (keep, torch.eye(weight.shape[1], dtype=torch.float64), weight.T)]
    left = torch.cat([scale**0.5 * seen for scale, seen, _ in parts])
    right = torch.cat([scale**0.5 * wanted for scale, _, wanted in parts])
    return torch.linalg.lstsq(left, right).solution.T


def test_the_other_words_forget_the_concept(tiny_model):
    """Against the sum written out for "a sad cat" and "a boat", both with the twin "a cat"."""
    method = MACE(**TINY, refine_prior=0.2, keep_scale=0.05)
    original = {name: weight.double() for name, weight in matrices(tiny_model).items()}
    prior = second_moment(tiny_model, ["a tree", "a dog"])
    found = method.refine(tiny_model, original, [CAT, BOAT], prior)

    # a sad cat is start, a, s, a, d, cat, end and padding; a boat is start, a, b, o, a, t, end …
    forgotten = [
        rows(tiny_model, "a sad cat", 0, 1, *range(5, 16)),
        rows(tiny_model, "a boat", 0, 1, *range(6, 16)),
    ]
    instead = [
        rows(tiny_model, "a cat", 0, 1, *range(2, 13)),
        rows(tiny_model, "a cat", 0, 1, *range(3, 13)),
    ]
    remembered = torch.cat([rows(tiny_model, text, *range(16)) for text in ("a tree", "a dog")])
    for name, weight in original.items():
        parts = [
            (1.0, torch.cat(forgotten), torch.cat(instead) @ weight.T),
            (0.2, remembered, remembered @ weight.T),
        ]
        wanted = weighted_least_squares(weight, parts, 0.05)
        torch.testing.assert_close(found[name], wanted, rtol=1e-5, atol=1e-7)
    assert found.keys() == original.keys()


def test_the_words_alone_leave_out_end_and_padding(tiny_model):
    forgotten, instead = MACE(**TINY, shared="words").shared_tokens(tiny_model, [CAT])
    torch.testing.assert_close(forgotten, rows(tiny_model, "a sad cat", 0, 1, 5))
    torch.testing.assert_close(instead, rows(tiny_model, "a cat", 0, 1, 2))


def changes(weights, seed):
    """A change of rank 1 of every matrix."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.outer(*(torch.randn(size, generator=generator).double() for size in weight.shape))
        for name, weight in weights.items()
    }


def test_several_adapters_become_the_one_that_misses_least(tiny_model):
    method = MACE(**TINY, fuse_prior=0.3, keep_scale=0.05)
    original = {name: weight.double() for name, weight in matrices(tiny_model).items()}
    refined = {name: weight + 0.1 for name, weight in original.items()}
    adapters = [changes(original, seed) for seed in (1, 2)]
    prior = second_moment(tiny_model, ["a tree"])
    found = method.fuse(tiny_model, original, refined, adapters, [CAT, BOAT], prior)

    own = [rows(tiny_model, text, *range(16)) for text in ("a sad cat", "a boat")]
    remembered = rows(tiny_model, "a tree", *range(16))
    for name, weight in original.items():
        parts = [
            (1.0, seen, seen @ (refined[name] + adapter[name]).T)
            for adapter, seen in zip(adapters, own, strict=True)
        ]
        parts.append((0.3, remembered, remembered @ weight.T))
        torch.testing.assert_close(
            found[name], weighted_least_squares(weight, parts, 0.05), rtol=1e-5, atol=1e-7
        )

    naive = dataclasses.replace(method, fusion="mean").fuse(
        tiny_model, original, refined, adapters, [CAT, BOAT], prior
    )
    for name, weight in refined.items():
        torch.testing.assert_close(naive[name], weight + (adapters[0][name] + adapters[1][name]) / 2)


def test_one_adapter_alone_does_on_its_prompts_what_it_did(tiny_model):
    """With nothing to hold the fit back W* e is (W' + B D) e for every token of the concept's prompts."""
    method = MACE(**TINY, fuse_prior=0.0, keep_scale=1e-9)
    original = {name: weight.double() for name, weight in matrices(tiny_model).items()}
    adapter = changes(original, 1)
    prior = second_moment(tiny_model, ["a tree"])
    found = method.fuse(tiny_model, original, original, [adapter], [CAT], prior)
    seen = rows(tiny_model, "a sad cat", *range(16))
    for name, weight in original.items():
        wanted = seen @ (weight + adapter[name]).T
        torch.testing.assert_close(seen @ found[name].T, wanted, rtol=1e-4, atol=1e-4)


def test_the_loss_is_the_square_of_the_attention_within_the_mask():
    generator = torch.Generator().manual_seed(0)
    maps = [torch.rand(2, 3, 16, 5, generator=generator), torch.rand(2, 1, 4, 5, generator=generator)]
    words = torch.tensor([[0, 1, 1, 0, 0], [0, 0, 0, 1, 0]]).bool()
    masks = torch.zeros(2, 1, 4, 4)
    masks[0, 0, :2], masks[1, 0, :, 3] = 1, 1
    first = [maps[0][0, :, :8, 1:3], maps[1][0, :, :2, 1:3]]
    # the right column of the second picture is half of the right column of the smaller map
    second = [maps[0][1, :, 3::4, 3], 0.5 * maps[1][1, :, 1::2, 3]]
    wanted = sum(
        (one.square().sum() + other.square().sum()) / (2 * heads)
        for one, other, heads in zip(first, second, (3, 1), strict=True)
    )
    assert float(attention_inside(maps, words, masks)) == pytest.approx(float(wanted), rel=1e-5)


def test_the_gradient_is_that_of_finite_differences(tiny_model_dir):
    """Through the network, in float64, along a random direction of all adapters."""
    model = DiffusionModel.from_directory(tiny_model_dir, name="tiny", dtype=torch.float64)
    method = MACE(**TINY)
    pictures = method.pictures(model, CAT, EraseContext())
    generator = torch.Generator().manual_seed(3)
    at = {
        name: tensor + 0.1 * torch.randn(tensor.shape, generator=generator).double()
        for name, tensor in start_of_adapters(model, 1, seed=0).items()
    }
    way = {name: torch.randn(tensor.shape, generator=generator).double() for name, tensor in at.items()}

    def loss(step):
        moved = {name: tensor + step * way[name] for name, tensor in at.items()}
        return method.loss(model, moved, pictures, torch.Generator().manual_seed(7))

    step = torch.zeros((), dtype=torch.float64, requires_grad=True)
    loss(step).backward()
    with torch.no_grad():
        slope = (loss(1e-5) - loss(-1e-5)) / 2e-5
    assert abs(float(slope)) > 1e-3
    assert float(step.grad) == pytest.approx(float(slope), rel=1e-6)


def test_timesteps_are_drawn_around_the_stretch_that_matters():
    weights = focal_weights(1000, 200, 400, 0.05).numpy()
    steps = np.arange(1000)
    wanted = 1 / (1 + np.exp(-0.05 * (steps - 200))) - 1 / (1 + np.exp(-0.05 * (steps - 400)))
    np.testing.assert_allclose(weights, wanted / wanted.sum(), atol=1e-12)
    drawn = MACE()._timesteps(1000, 4000, torch.Generator().manual_seed(0)).double()
    deviation = float((weights * (steps - 300) ** 2).sum()) ** 0.5
    assert abs(float(drawn.mean()) - 300) < 4 * deviation / 4000**0.5
    assert float(drawn.std()) == pytest.approx(deviation, rel=0.05)
    anywhere = MACE(timesteps="uniform")._timesteps(1000, 4000, torch.Generator().manual_seed(0))
    assert anywhere.min() < 20 and anywhere.max() > 980
    with pytest.raises(BenchError, match="focal_from=500: valid: below focal_to=400"):
        build_method("mace", options={"focal_from": "500"})


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"mask_timestep": 1000}, "mask_timestep=1000: valid: 0 to 999"),
        ({"focal_from": 5000.0, "focal_to": 6000.0}, "focal_from=5000, focal_to=6000: none of the model's"),
        ({"focal_from": -20.0, "focal_to": 0.0}, "none of the model's timesteps 0 to 999"),
    ],
)
def test_timesteps_that_the_model_lacks_are_refused(tiny_model, options, words):
    with pytest.raises(BenchError, match=words):
        MACE(**TINY, **options).erase(tiny_model, [CAT], EraseContext(general_prompts=GENERAL))


def test_training_looks_away_and_the_model_stays(tiny_model):
    method = MACE(**TINY | {"steps": 15, "learning_rate": 3e-2})
    before = {name: tensor.clone() for name, tensor in tiny_model.named_tensors().items()}
    pictures = method.pictures(tiny_model, CAT, EraseContext())
    trained = method.train(tiny_model, pictures, EraseContext())
    assert all(torch.equal(tensor, before[name]) for name, tensor in tiny_model.named_tensors().items())
    nothing = start_of_adapters(tiny_model, 1, seed=0)

    def looked(model):
        with torch.no_grad():
            return float(method.loss(model, nothing, pictures, torch.Generator().manual_seed(9)))

    edited = tiny_model.frozen_copy()
    put_into(edited, {name: before[name] + change for name, change in trained.changes.items()})
    assert looked(edited) < 0.7 * looked(tiny_model)
    assert all(np.linalg.matrix_rank(change.numpy()) <= 1 for change in trained.changes.values())


def test_the_edit_is_weights_and_the_order_of_concepts_is_nothing_to_it(tiny_model):
    method, context = MACE(**TINY), EraseContext(general_prompts=GENERAL)
    one, other = (method.erase(tiny_model, concepts, context) for concepts in ([CAT, BOAT], [BOAT, CAT]))
    alone = method.erase(tiny_model, [CAT], context)
    assert not one.attachments and one.tensors.keys() == matrices(tiny_model).keys()
    assert len(one.losses) == 4 and len(alone.losses) == 2
    for name, tensor in one.tensors.items():
        torch.testing.assert_close(tensor, other.tensors[name], rtol=1e-4, atol=1e-5)
        assert not torch.equal(tensor, alone.tensors[name])
    assert {module_of(name).rpartition(".")[2] for name in one.tensors} == {"to_k", "to_v"}
    latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        plain = tiny_model.predict_noise(latents, 500, "a sad cat")
        with applied(tiny_model, one):
            assert not torch.allclose(tiny_model.predict_noise(latents, 500, "a sad cat"), plain)
