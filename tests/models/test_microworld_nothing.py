"""Pictures that show nothing, and the blur and grain that they are made with."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch.nn import functional as F

from erasure_bench.models.microworld.augmentation import augment
from erasure_bench.models.microworld.corruption import blur, grain
from erasure_bench.models.microworld.drawing import draw, sample_scene
from erasure_bench.models.microworld.nothing import TRAINED, UNSEEN, Sources, mixed
from erasure_bench.models.microworld.views import empty_backgrounds

FAMILIES = {**TRAINED, **UNSEEN}


def _decode(latents: torch.Tensor) -> torch.Tensor:
    return F.interpolate(latents[:, :3] / 6 + 0.5, scale_factor=8).clamp(0, 1)


@pytest.fixture(scope="module")
def sources() -> Sources:
    rng = np.random.default_rng(5)
    drawings = np.stack([draw(sample_scene(rng)) for _ in range(12)])
    latents = torch.randn(12, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    return Sources(torch.from_numpy(drawings), empty_backgrounds(14, 0), latents, _decode)


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_is_made_of_its_generator_alone(name: str, sources: Sources) -> None:
    one, again, other = (
        FAMILIES[name](sources, 6, torch.Generator().manual_seed(seed)) for seed in (3, 3, 4)
    )
    assert one.shape == (6, 3, 64, 64) and one.dtype == torch.float32
    assert float(one.min()) >= 0 and float(one.max()) <= 1
    assert torch.equal(one, again) and not torch.equal(one, other)
    assert len({picture.numpy().tobytes() for picture in one}) > 1


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_is_made_where_its_sources_are(name: str, sources: Sources) -> None:
    """The meta device refuses to mix with the CPU, as a GPU does; the generator stays on the CPU."""
    away = Sources(*(tensor.to("meta") for tensor in sources[:3]), _decode)
    made = FAMILIES[name](away, 3, torch.Generator())
    assert made.device.type == "meta" and made.shape == (3, 3, 64, 64)


def test_some_families_are_never_trained_on() -> None:
    assert len(UNSEEN) >= 2 and not set(TRAINED) & set(UNSEEN)


def test_a_mixture_holds_equally_many_of_each_trained_family(sources: Sources) -> None:
    made = mixed(sources, 3 * len(TRAINED) + 1, torch.Generator().manual_seed(0), batch=2)
    assert made.shape == (3 * len(TRAINED) + 1, 64, 64, 3) and made.dtype == torch.uint8
    flat = [picture for picture in made.numpy() if (picture == picture[0, 0]).all()]
    assert len(flat) == 3, "the family of flat colours, and no other, is flat"


def test_shuffling_keeps_the_pixels_of_a_drawing(sources: Sources) -> None:
    one = sources._replace(drawings=sources.drawings[:1])
    wanted = np.unique(one.drawings[0].reshape(-1, 3).numpy(), axis=0, return_counts=True)
    for name in ("shuffled pixels", "shuffled patches"):
        made = FAMILIES[name](one, 1, torch.Generator().manual_seed(2))
        found = (made[0] * 255).round().byte().permute(1, 2, 0).reshape(-1, 3).numpy()
        for values, expected in zip(np.unique(found, axis=0, return_counts=True), wanted, strict=True):
            np.testing.assert_array_equal(values, expected)


@pytest.mark.parametrize("name", ["drowned drawing", "dissolved drawing", "shuffled patches"])
def test_little_of_a_drawing_is_left(name: str, sources: Sources) -> None:
    """The details of what was destroyed do not correlate with the drawing's own."""
    one = sources._replace(drawings=sources.drawings[:1])
    drawing = one.drawings.permute(0, 3, 1, 2).float() / 255
    detail = drawing - blur(drawing, torch.tensor([6.0]))
    made = FAMILIES[name](one, 16, torch.Generator().manual_seed(2))
    left = made - blur(made, torch.full((16,), 6.0))
    cosine = F.cosine_similarity(left.flatten(1), detail.flatten(1).expand(16, -1))
    assert float(cosine.abs().max()) < 0.35


def test_half_denoised_latents_are_mostly_noise(sources: Sources) -> None:
    seen: list[torch.Tensor] = []

    def decode(latents: torch.Tensor) -> torch.Tensor:
        seen.append(latents)
        return _decode(latents)

    same = sources._replace(latents=sources.latents[:1], decode=decode)
    FAMILIES["noised latents"](same, 400, torch.Generator().manual_seed(2))
    share = (seen[0] * same.latents).mean(dim=(1, 2, 3)) / same.latents.square().mean()
    assert float(share.mean()) == pytest.approx(0.15, abs=0.02)
    assert float(seen[0].var()) == pytest.approx(1.0, abs=0.03), "q-sampling keeps the variance"


def test_blur_is_gaussian_and_leaves_flat_pictures_alone() -> None:
    images = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    radius = torch.tensor([0.0, 1.0, 2.5])
    blurred = blur(images, radius)
    torch.testing.assert_close(blurred[0], images[0])
    for i in (1, 2):
        expected = gaussian_filter(images[i].numpy(), (0, float(radius[i]), float(radius[i])), truncate=8)
        inside = slice(20, 44)  # where no kernel reaches an edge
        np.testing.assert_allclose(blurred[i, :, inside, inside], expected[:, inside, inside], atol=1e-5)
    flat = torch.full((1, 3, 64, 48), 0.3)
    torch.testing.assert_close(blur(flat, torch.tensor([9.0])), flat)


def test_grain_has_the_deviation_that_is_asked_for() -> None:
    images = torch.full((2, 3, 64, 64), 0.5)
    grained = grain(images, torch.tensor([0.0, 40 / 255]), torch.Generator().manual_seed(0))
    assert torch.equal(grained[0], images[0])
    assert float(grained[1].std()) == pytest.approx(40 / 255, rel=0.03)


def test_augmented_pictures_stay_pictures_and_depend_on_the_generator_alone() -> None:
    images = torch.rand(40, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    one, again = (augment(images, torch.Generator().manual_seed(7)) for _ in range(2))
    assert torch.equal(one, again) and one.shape == images.shape
    assert float(one.min()) >= 0 and float(one.max()) <= 1
    assert augment(images.to("meta"), torch.Generator()).device.type == "meta"


def test_empty_backgrounds_come_in_turn_and_by_seed() -> None:
    one, again, other = empty_backgrounds(24, 1), empty_backgrounds(24, 1), empty_backgrounds(24, 2)
    assert torch.equal(one, again) and not torch.equal(one, other)
    assert one.shape == (24, 64, 64, 3) and one.dtype == torch.uint8
