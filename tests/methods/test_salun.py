"""SalUn: its mask against a plain recomputation, where it trains, and what on."""

import numpy as np
import pytest
import torch

from erasure_bench.errors import BenchError
from erasure_bench.methods import salun
from erasure_bench.methods.base import EraseContext
from erasure_bench.methods.machinery.examples import Noised, clean_latents
from erasure_bench.methods.machinery.parameters import select
from erasure_bench.methods.registry import build_method
from erasure_bench.methods.salun import SalUn, saliency, top_share
from erasure_bench.models.diffusion_model import DiffusionModel
from erasure_bench.prompt_suites.concepts import Concept

CAT = Concept(
    name="cat", kind="instance", targets=("grumpy cat",), anchor="cat", anchor_prompts=("a cat", "cat at sea")
)
GENERAL = ("a tree", "a grumpy cat", "a red boat")
TINY = {"images": 4, "denoise_steps": 2, "steps": 2, "batch_size": 2, "learning_rate": 1e-3}


def context(**settings):
    return EraseContext(general_prompts=GENERAL, **settings)


@pytest.fixture
def batches(tiny_model_dir):
    """Two lots of noised latents with prompts, in float64."""
    model = DiffusionModel.from_directory(tiny_model_dir, dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    found = []
    for count in (2, 1):
        clean = torch.randn(count, 4, 8, 8, generator=generator, dtype=torch.float64)
        noise = torch.randn(clean.shape, generator=generator, dtype=torch.float64)
        timesteps = torch.randint(0, 1000, (count,), generator=generator)
        seen = Noised(model.add_noise(clean, noise, timesteps), noise, timesteps)
        found.append((seen, ["a grumpy cat"] * count))
    return model, found


@pytest.mark.parametrize("guidance", [0.0, 7.5])
def test_mask_is_the_larger_half_of_the_gradients(batches, guidance):
    """By finite differences of the summed loss along single weights, and by sorting all of them in numpy."""
    model, lots = batches
    parameters = select(model.parts, "full")
    for parameter in parameters.values():
        parameter.requires_grad_(True)
    found = saliency(model, parameters, lots, guidance)

    def loss():
        total = 0.0
        with torch.no_grad():
            for (latents, noise, timesteps), prompts in lots:
                said = model.predict_noise(latents, timesteps, prompts).numpy()
                empty = model.predict_noise(latents, timesteps, "").numpy()
                total -= np.mean((noise.numpy() - ((1 + guidance) * said - guidance * empty)) ** 2)
        return total

    generator = torch.Generator().manual_seed(1)
    for name in list(parameters)[:: len(parameters) // 12]:
        flat = parameters[name].data.view(-1)
        place = int(torch.randint(0, len(flat), (1,), generator=generator))
        values = []
        for width in (1e-5, -1e-5):
            flat[place] += width
            values.append(loss())
            flat[place] -= width
        slope = (values[0] - values[1]) / 2e-5
        assert float(found[name].view(-1)[place]) == pytest.approx(abs(slope), rel=1e-3, abs=1e-7)

    masks = top_share(found, 0.5)
    every = np.concatenate([found[name].flatten().numpy() for name in found])
    trained = np.concatenate([masks[name].flatten().numpy() for name in masks])
    assert trained.sum() == len(every) // 2
    assert every[trained].min() >= every[~trained].max()
    largest = np.sort(every)[::-1][: len(every) // 2]
    assert np.isclose(every[trained].sum(), largest.sum())


def test_shares_of_equal_values_are_exact():
    values = {"a": torch.zeros(2, 3), "b": torch.tensor([0.0, 1.0, 0.0, 0.0])}
    masks = top_share(values, 0.4)
    assert masks["a"].flatten().tolist() == [True, True, True, False, False, False]
    assert masks["b"].tolist() == [False, True, False, False]
    assert all(mask.all() for mask in top_share(values, 1.0).values())


def test_only_the_mask_is_trained(tiny_model):
    before = {name: tensor.detach().clone() for name, tensor in tiny_model.named_tensors().items()}
    edit = SalUn(**TINY, mask_share=0.25).erase(tiny_model, [CAT], context())
    changed = sum(int((tensor != before[name]).sum()) for name, tensor in edit.tensors.items())
    every = sum(tensor.numel() for name, tensor in before.items() if name.startswith("unet."))
    assert 0.2 < changed / every <= 0.25
    assert torch.equal(tiny_model.unet.conv_in.weight, before["unet.conv_in.weight"])


def test_a_steps_loss_is_the_formula_and_the_model_itself_gives_the_target(tiny_model, monkeypatch):
    """Of every step, with the weights of that step: not the base model's, and α on what remains alone."""
    at = []

    def watched(name):
        give = getattr(SalUn, name)

        def told(self, model, *given):
            lesson = give(self, model, *given)
            at.append((model.frozen_copy(), lesson))
            return lesson

        return told

    for name in ("about_forgotten", "about_remembered"):
        monkeypatch.setattr(SalUn, name, watched(name))
    edit = SalUn(**TINY, remain_weight=0.3).erase(tiny_model, [CAT], context())
    for step, found in enumerate(edit.losses):
        (model, forgotten), (_, remembered) = at[2 * step : 2 * step + 2]
        with torch.no_grad():
            said = model.predict_noise(forgotten.latents, forgotten.timesteps, forgotten.prompts)
            meant = model.predict_noise(forgotten.anchor_latents, forgotten.timesteps, forgotten.anchors)
            other = model.predict_noise(remembered.latents, remembered.timesteps, remembered.prompts)
        wanted = (said - meant).square().mean() + 0.3 * (other - remembered.noise).square().mean()
        assert found == pytest.approx(float(wanted), rel=1e-4)


def test_pictures_of_the_concept_are_seen_as_its_anchor(tiny_model):
    method = SalUn(**TINY, remain="anchor")
    material = method.material(tiny_model, [CAT], context())
    assert [one.targets for one in material.forgotten[:2]] == [("a grumpy cat",), ("grumpy cat at sea",)]
    assert [one.prompt for one in material.remembered[:2]] == ["a cat", "cat at sea"]
    lesson = method.about_forgotten(tiny_model, material, torch.Generator().manual_seed(0))
    for prompt, anchor in zip(lesson.prompts, lesson.anchors, strict=True):
        assert anchor == prompt.replace("grumpy cat", "cat")
    general = SalUn(**TINY).material(tiny_model, [CAT], context())
    assert {one.prompt for one in general.remembered} == {"a tree", "a red boat"}


def test_latents_drawn_twice_share_noise_and_time(tiny_model):
    """The official code's two encodings of a picture: x_t apart by √ᾱ_t (x_0 − x_0'), nothing else."""
    material = SalUn(**TINY).material(tiny_model, [CAT], context())
    lesson = SalUn(**TINY).about_forgotten(tiny_model, material, torch.Generator().manual_seed(0))
    apart = lesson.latents - lesson.anchor_latents
    assert apart.abs().max() > 0
    again = SalUn(**TINY, drawn_latents=False)
    assert again.about_forgotten(tiny_model, material, torch.Generator()).anchor_latents is None

    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    drawn = torch.cat(
        [clean_latents(tiny_model, image, torch.Generator().manual_seed(seed)) for seed in range(100)]
    )
    encoded = tiny_model.vae.encode(2 * image - 1).latent_dist
    scale = tiny_model.vae.config.scaling_factor
    torch.testing.assert_close(drawn.mean(0), encoded.mean[0] * scale, atol=0.3, rtol=0.3)
    torch.testing.assert_close(drawn.std(0).mean(), encoded.std[0].mean() * scale, atol=0.05, rtol=0.1)


def test_the_mask_is_the_same_a_few_pictures_at_a_time(tiny_model):
    """A micro-batch saves memory: it changes neither the noise nor how much a batch counts."""
    masks = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            salun, "top_share", lambda values, share: masks.append(values) or top_share(values, share)
        )
        for micro_batch in (None, 2, 1):
            SalUn(**TINY | {"images": 5, "batch_size": 3, "steps": 0}, micro_batch=micro_batch).erase(
                tiny_model, [CAT], context()
            )
    for found in masks[1:]:
        for name, values in masks[0].items():
            torch.testing.assert_close(found[name], values, rtol=1e-3, atol=1e-4)


def test_an_autoencoder_without_a_posterior_gives_its_latents_as_they_are(tiny_taesd_model_dir):
    """As the built-in model's: of several pictures, too."""
    model = DiffusionModel.from_directory(tiny_taesd_model_dir)
    images = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    drawn = clean_latents(model, images, torch.Generator().manual_seed(0))
    torch.testing.assert_close(drawn, clean_latents(model, images), rtol=0, atol=0)
    assert SalUn(**TINY).erase(model, [CAT], context()).tensors


def test_mistakes_are_refused(tiny_model):
    with pytest.raises(BenchError, match="mask_share=1.5: valid"):
        build_method("salun", options={"mask_share": "1.5"})
    with pytest.raises(BenchError, match="remain=anchor"):
        SalUn(**TINY).erase(tiny_model, [CAT], EraseContext())
