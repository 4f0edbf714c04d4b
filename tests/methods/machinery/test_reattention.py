"""Latent re-attention against a discrete Fourier transform written out, and in a whole UNet."""

import numpy as np
import pytest
import torch
from diffusers import UNet2DConditionModel

from erasure_bench.methods.machinery.reattention import Doubled, damped, entries, reattended, widest


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def coefficients(size):
    """exp(−2πi jk / size), and the frequencies −1 and 0 by their row."""
    numbers = np.arange(size)
    return np.exp(-2j * np.pi * np.outer(numbers, numbers) / size), [(size - 1) % size, 0]


@pytest.mark.parametrize("shape", [(4, 6), (8, 8), (2, 4)])
def test_what_is_greater_among_the_lowest_frequencies_is_scaled(shape):
    changed, own = drawn(2, 3, *shape), drawn(2, 3, *shape, seed=1)
    (rows, low_rows), (columns, low_columns) = map(coefficients, shape)
    spectrum, reference = (
        np.einsum("kj,ncjm,ml->nckl", rows, maps.double().numpy(), columns) for maps in (changed, own)
    )
    for row in low_rows:
        for column in low_columns:
            place = (..., row, column)
            greater = spectrum[place].real > reference[place].real
            spectrum[place] = np.where(greater, 0.2, 1.0) * spectrum[place]
    back = np.einsum("kj,nckl,ml->ncjm", rows.conj(), spectrum, columns.conj()).real / np.prod(shape)
    np.testing.assert_allclose(damped(changed, own, 0.2).numpy(), back, atol=1e-5)


def test_equal_maps_stay_as_they_are():
    maps = drawn(2, 3, 8, 8)
    torch.testing.assert_close(damped(maps, maps, 0.2), maps)


def test_stable_diffusions_stages_have_freeus_scales():
    """The first stage 1280 wide, then 640; the last, 320, has none."""
    with torch.device("meta"):
        unet = UNet2DConditionModel(cross_attention_dim=768)
    found = entries(unet, widest(unet, (0.9, 0.2)))
    assert [(place.channels, place.scale) for place in found] == [
        *[(1280, 0.9)] * 7,
        *[(640, 0.2)] * 3,
    ]
    assert [place.block.in_channels - place.channels for place in found[:7]] == [1280] * 5 + [640] * 2


def asked(unet, latents, embeddings):
    with torch.no_grad():
        return unet(latents, torch.tensor([500] * len(latents)), encoder_hidden_states=embeddings)[0]


def test_only_rows_that_change_are_damped_and_hooks_are_gone_after(tiny_model):
    unet, latents = tiny_model.unet, drawn(3, 4, 16, 16)
    embeddings = tiny_model.encode_prompts(["a cat", "a dog", "a boat"])
    moved = embeddings.clone()
    moved[1] = tiny_model.encode_prompts(["a tree"])[0]
    scales = widest(unet, (0.0, 0.0))
    plain, other = asked(unet, latents, embeddings), asked(unet, latents, moved)

    def one(given):
        return Doubled((moved != given).flatten(1).any(1), moved)

    with reattended(unet, one, scales):
        found = asked(unet, latents, embeddings)
    torch.testing.assert_close(found[[0, 2]], plain[[0, 2]])
    assert (found[1] - other[1]).abs().max() > 1e-3

    with reattended(unet, lambda given: Doubled(torch.zeros(3, dtype=torch.bool), given), scales):
        torch.testing.assert_close(asked(unet, latents, embeddings), plain)
    with reattended(unet, lambda given: None, scales):
        torch.testing.assert_close(asked(unet, latents, embeddings), plain)
    torch.testing.assert_close(asked(unet, latents, embeddings), plain)


def test_with_scales_of_one_it_is_the_changed_embeddings_alone(tiny_model):
    unet, latents = tiny_model.unet, drawn(2, 4, 16, 16)
    embeddings, moved = (tiny_model.encode_prompts(texts) for texts in (["a cat", "a dog"], ["x", "y"]))
    with reattended(unet, lambda given: Doubled(torch.tensor([True, True]), moved), widest(unet, (1.0, 1.0))):
        found = asked(unet, latents, embeddings)
    torch.testing.assert_close(found, asked(unet, latents, moved), atol=1e-5, rtol=1e-4)


def test_gradients_go_through(tiny_model):
    unet, latents = tiny_model.unet, drawn(1, 4, 16, 16)
    embeddings = tiny_model.encode_prompts(["a cat"]).clone().requires_grad_(True)
    with reattended(unet, lambda given: Doubled(torch.tensor([True]), given * 1.1), widest(unet, (0.5, 0.5))):
        unet(latents, torch.tensor([500]), encoder_hidden_states=embeddings)[0].square().sum().backward()
    assert embeddings.grad is not None and embeddings.grad.abs().max() > 0
