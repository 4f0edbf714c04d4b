"""Detours of the sampling loop: each against what it must come to by its definition."""

import dataclasses

import numpy as np
import pytest
import torch

from erasure_bench.models.detours import Detour, Known, NoisyStep, Steps, Ways
from erasure_bench.models.diffusion_model import DiffusionModel
from erasure_bench.models.noise import image_noise
from erasure_bench.models.sampling import ImageRequest, decode_pixels, partly_denoised, sample

PLAIN = ImageRequest(prompt="a cat", seed=3, guidance_scale=3.0, height=64, width=64)


def drawn(model: DiffusionModel, *requests: ImageRequest, steps: int = 4) -> list[np.ndarray]:
    return sample(model, requests, scheduler="ddim", steps=steps)


def near(one: np.ndarray, other: np.ndarray) -> bool:
    return int(np.abs(one.astype(int) - other.astype(int)).max()) <= 1


def test_going_on_from_where_the_usual_way_is_gives_its_picture(tiny_model: DiffusionModel) -> None:
    half = partly_denoised(tiny_model, ["a cat"], [3], steps=4, stop=2, guidance_scale=3.0)
    detour = Detour(steps=Steps(first=2), start=half.latents[0])
    usual, onward = drawn(tiny_model, PLAIN, dataclasses.replace(PLAIN, detour=detour))
    assert near(usual, onward)


def test_an_embedding_stands_in_the_place_of_the_prompt(tiny_model: DiffusionModel) -> None:
    embedding = tiny_model.encode_prompts(["a cat"])[0].detach()
    other = dataclasses.replace(PLAIN, prompt="a dog", embedding=embedding)
    usual, found, dog = drawn(tiny_model, PLAIN, other, dataclasses.replace(PLAIN, prompt="a dog"))
    assert near(usual, found) and not near(usual, dog)


@pytest.mark.parametrize("prediction", ["epsilon", "v"])
def test_the_noisy_step_without_noise_is_ddims_own(
    tiny_model: DiffusionModel, tiny_v_model_dir: str, prediction: str
) -> None:
    model = tiny_model if prediction == "epsilon" else DiffusionModel.from_directory(tiny_v_model_dir)
    quiet = dataclasses.replace(PLAIN, detour=Detour(steps=Steps(rule=NoisyStep(eta=0.0))))
    usual, same = drawn(model, PLAIN, quiet)
    assert near(usual, same)


def test_the_noisy_step_with_eta_one_is_the_schedulers_own(tiny_model: DiffusionModel) -> None:
    """Against diffusers' DDIM with η = 1, on the same noise: the start's, then each step's."""
    ours = drawn(tiny_model, dataclasses.replace(PLAIN, detour=Detour(steps=Steps(rule=NoisyStep(eta=1.0)))))
    theirs = sample(tiny_model, [PLAIN], scheduler="ddim", steps=4, eta=1.0)
    assert near(ours[0], theirs[0])


def test_more_noise_than_room_was_made_for_moves_the_picture(tiny_model: DiffusionModel) -> None:
    rules = [NoisyStep(eta=1.0), NoisyStep(eta=1.85), NoisyStep(eta=1.0, scale=1.04)]
    pictures = drawn(
        tiny_model,
        *(dataclasses.replace(PLAIN, detour=Detour(steps=Steps(rule=rule))) for rule in rules),
    )
    assert not near(pictures[0], pictures[1]) and not near(pictures[0], pictures[2])
    assert all(np.isfinite(picture.astype(float)).all() for picture in pictures)


def test_the_known_part_is_kept_and_the_free_part_is_drawn(tiny_model: DiffusionModel) -> None:
    given = torch.randn(tiny_model.latent_shape(), generator=torch.Generator().manual_seed(0))
    free = torch.zeros(1, 8, 8)
    for mask, expected in ((free, given), (free + 1, None)):
        known = Known(latents=given, noise=image_noise(0, given.shape), free=mask)
        picture = drawn(tiny_model, dataclasses.replace(PLAIN, detour=Detour(known=known)))[0]
        usual = drawn(tiny_model, PLAIN)[0]
        if expected is None:
            assert near(picture, usual)
        else:
            assert near(picture, decode_pixels(tiny_model, given[None])[0]) and not near(picture, usual)


def test_pictures_of_one_batch_take_the_same_steps(tiny_model: DiffusionModel) -> None:
    with pytest.raises(ValueError, match="different steps"):
        Ways([Detour(steps=Steps(first=1)), None], tiny_model)
