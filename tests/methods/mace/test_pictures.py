"""Pictures of a concept: drawn ones with known regions where a prompt can be drawn, else generated ones."""

import numpy as np
import torch

from erasure_bench.methods.base import EraseContext
from erasure_bench.methods.mace.pictures import WithMasks
from erasure_bench.methods.machinery.attention_maps import attention_maps
from erasure_bench.methods.machinery.base_images import as_floats
from erasure_bench.methods.machinery.examples import clean_latents
from erasure_bench.models.microworld.drawing import draw
from erasure_bench.models.microworld.drawing.asked import asked_scene, subject_mask
from erasure_bench.models.seeds import image_seed
from erasure_bench.prompt_suites.concepts import Concept

TINY = {"denoise_steps": 2, "mask_side": 8, "images": 2}
CAR = Concept(
    name="car", kind="object", targets=("car",), anchor="dog", anchor_prompts=("a dog", "a dog sat")
)


def test_a_known_region_is_the_drawings_own(tiny_model):
    settings = WithMasks(**TINY, masks="known")
    found = settings.pictures(tiny_model, CAR, EraseContext())
    scene = asked_scene("a car", image_seed("drawing", "a car", 0, 0))
    picture = torch.tensor(draw(scene)).movedim(-1, 0)[None]
    torch.testing.assert_close(found.latents[:1], clean_latents(tiny_model, as_floats(picture)))
    covered = subject_mask(scene).reshape(8, 8, 8, 8).mean((1, 3))
    np.testing.assert_allclose(found.masks[0, 0].numpy(), covered, atol=1e-6)
    assert found.words[0].tolist() == [False, False, True, True, *[False] * 12], "the letters of car"

    generated = WithMasks(**TINY).pictures(tiny_model, CAR, EraseContext())
    assert not torch.allclose(generated.latents[0], found.latents[0])
    assert torch.equal(generated.words, found.words)
    # no drawing shows who sat
    torch.testing.assert_close(generated.latents[1], found.latents[1], rtol=0, atol=5e-3)


def test_only_what_is_generated_is_announced():
    needed = {
        masks: WithMasks(**TINY, masks=masks).pictures_needed([CAR], EraseContext())
        for masks in ("attention", "known")
    }
    assert [[need.count for need in needs] for needs in needed.values()] == [[2], [1]]


def test_a_region_that_is_not_known_is_where_the_base_model_looks(tiny_model):
    found = WithMasks(**TINY, mask_threshold=0.4, mask_timestep=500).pictures(tiny_model, CAR, EraseContext())
    noise = torch.randn(found.latents.shape, generator=torch.Generator().manual_seed(0))
    alpha = tiny_model.alphas_cumprod[500]
    noisy = alpha.sqrt() * found.latents + (1 - alpha).sqrt() * noise
    with attention_maps(tiny_model.unet) as maps, torch.no_grad():
        tiny_model.predict_noise(noisy, 500, ["a car", "a car sat"])
    large = [each.numpy() for each in maps if each.shape[2] == 64]
    for row in range(2):
        looked = np.mean([each[row, :, :, 2:4].mean((0, 2)) for each in large], axis=0)
        scaled = (looked - looked.min()) / (looked.max() - looked.min())
        assert np.array_equal(found.masks[row, 0].numpy().ravel() == 1, scaled >= 0.4)
    assert 0 < found.masks.mean() < 1
