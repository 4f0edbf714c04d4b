"""The negative prompt is guidance away from the concept's words, and what it cannot do."""

import torch
from diffusers import StableDiffusionPipeline

from erasure_bench.methods.base import EraseContext
from erasure_bench.methods.registry import build_method
from erasure_bench.models.noise import image_noise
from erasure_bench.models.sampling import sample_latents
from erasure_bench.prompt_suites.concepts import Concept

CAT = Concept(name="cat", kind="instance", targets=("grumpy cat",), anchor="cat")
DOG = Concept(
    name="dog", kind="instance", targets=("pirate dog",), anchor="dog", negative="a dog with an eye patch"
)


def latents(model, prompt, scale, guidance=None):
    settings = {} if guidance is None else {"guidance": guidance}
    return sample_latents(model, [prompt], [3], scheduler="ddim", steps=4, guidance_scale=scale, **settings)


def test_it_is_the_negative_prompt_of_diffusers(tiny_model, tiny_model_dir):
    edit = build_method("negative-prompt").erase(tiny_model, [CAT, DOG], EraseContext())
    assert edit.guidance.unconditional_text == "grumpy cat, a dog with an eye patch"

    pipeline = StableDiffusionPipeline.from_pretrained(tiny_model_dir)
    pipeline.set_progress_bar_config(disable=True)
    reference = pipeline(
        "a cat in the snow",
        negative_prompt=edit.guidance.unconditional_text,
        num_inference_steps=4,
        guidance_scale=5.0,
        latents=image_noise(3, tiny_model.latent_shape())[None],
        output_type="latent",
    ).images

    drawn = latents(tiny_model, "a cat in the snow", 5.0, edit.guidance)
    torch.testing.assert_close(drawn, reference, rtol=0, atol=1e-4)


def test_the_concepts_own_words_are_drawn_without_guidance_whatever_the_scale(tiny_model):
    """ε_p = ε_neg leaves ε_p: where conditional sampling alone draws the concept, so does this."""
    edit = build_method("negative-prompt").erase(tiny_model, [CAT], EraseContext())

    drawn = latents(tiny_model, "grumpy cat", 7.5, edit.guidance)

    torch.testing.assert_close(drawn, latents(tiny_model, "grumpy cat", 1.0), rtol=0, atol=1e-4)
    assert not torch.allclose(drawn, latents(tiny_model, "grumpy cat", 7.5), atol=1e-2)
