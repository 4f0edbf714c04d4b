"""LPIPS equals the authors' package on the same pictures, whatever the batch, at 64 pixels and as drawn."""

import os
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter

from erasure_bench.errors import BenchError
from erasure_bench.evaluators.base import ImageSet, Picture, Pixels
from erasure_bench.evaluators.lpips_weights import COPY, load_network, write_weights
from erasure_bench.evaluators.perceptual import PerceptualDistance, pixel_change
from erasure_bench.prompt_suites.concepts import Concept
from erasure_bench.prompt_suites.suite import Prompt

CONCEPT = Concept(name="cat", kind="object", targets=("cat",), anchor="dog")
REAL = Path(os.environ.get("BENCH_MODELS", "")) / COPY
NETWORKS = ("alex", "vgg")


def reference(network: str, tensors: dict[str, Any]) -> Any:
    """The authors' package with these weights."""
    lpips = pytest.importorskip("lpips")
    with torch.device("meta"):
        theirs = lpips.LPIPS(net=network, pretrained=False, pnet_rand=True, verbose=False)
    state = {
        "scaling_layer.shift": torch.tensor([-0.030, -0.088, -0.188])[None, :, None, None],
        "scaling_layer.scale": torch.tensor([0.458, 0.448, 0.450])[None, :, None, None],
    }
    for key in theirs.state_dict().keys() - state.keys():
        kind, *_, place, name = key.split(".")
        if kind == "net":
            state[key] = torch.from_numpy(tensors[f"features.{place}.{name}"])
        elif kind.startswith("lin"):
            place = kind.removeprefix("lin") if kind != "lins" else key.split(".")[1]
            state[key] = torch.from_numpy(tensors[f"lin.{place}"]).reshape(1, -1, 1, 1)
    theirs.load_state_dict(state, assign=True)
    return theirs.eval()


def as_theirs(pixels: Pixels) -> Any:
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1


def picture(pixels: Pixels, index: int = 0) -> Picture:
    return Picture(Prompt(id="p", text="a dog", role="retention", subject="dog"), index, pixels)


def image_set(pixels: list[Pixels]) -> ImageSet:
    return ImageSet(CONCEPT, tuple(picture(each, index) for index, each in enumerate(pixels)))


def some(count: int, height: int, width: int, seed: int = 0) -> list[Pixels]:
    """Coarse grain, so that pictures stay different when they shrink."""
    random = np.random.default_rng(seed)
    small = random.integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)
    return [np.asarray(Image.fromarray(each).resize((width, height))) for each in small]


def values(evaluator: PerceptualDistance, own: list[Pixels], base: list[Pixels]) -> dict[str, list[float]]:
    scores = evaluator.score(image_set(own), image_set(base)).values
    assert (scores.status == "ok").all(), scores.reason.unique()
    return {str(metric): rows.value.tolist() for metric, rows in scores.groupby("metric")}


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("batch_size", [1, 7, 32])
def test_it_is_the_authors_distance_at_any_batch_size(
    lpips_weights: dict[str, Any], network: Any, batch_size: int
) -> None:
    count = max(batch_size, 2)
    own, base = some(count, 32, 40), some(count, 32, 40, seed=1)
    evaluator = PerceptualDistance(
        weights=str(lpips_weights["file"]), networks=(network,), batch_size=batch_size
    )
    theirs = reference(network, lpips_weights[network])

    found = values(evaluator, own, base)

    with torch.inference_mode():
        expected = [
            theirs(as_theirs(one), as_theirs(other)).item() for one, other in zip(own, base, strict=True)
        ]
    np.testing.assert_allclose(found[f"lpips_{network}"], expected, atol=1e-5, rtol=1e-5)
    assert np.ptp(expected) > 1e-3


def test_at_64_pixels_it_is_esds_script(lpips_weights: dict[str, Any]) -> None:
    """Torchvision's `Resize(64)` and `ToTensor`, then [-1, 1]."""
    transforms = pytest.importorskip("torchvision.transforms")
    load = transforms.Compose([transforms.Resize(64), transforms.ToTensor()])
    own, base = some(3, 96, 128), some(3, 96, 128, seed=1)
    theirs = reference("alex", lpips_weights["alex"])

    found = values(PerceptualDistance(weights=str(lpips_weights["file"]), networks=("alex",)), own, base)

    for one, other, value in zip(own, base, found["lpips_alex_64"], strict=True):
        shown = ((load(Image.fromarray(each)).unsqueeze(0) - 0.5) * 2 for each in (one, other))
        with torch.inference_mode():
            assert value == pytest.approx(theirs(*shown).item(), abs=1e-5)


def test_sizes_may_differ_between_pairs_and_equal_pictures_are_at_zero(lpips_weights: dict[str, Any]) -> None:
    own = [*some(2, 32, 40), *some(2, 64, 48)]
    base = [*some(2, 32, 40, seed=1), *some(2, 64, 48)]
    evaluator = PerceptualDistance(weights=str(lpips_weights["file"]), networks=("alex",))

    found = values(evaluator, own, base)
    alone = [values(evaluator, [one], [other]) for one, other in zip(own, base, strict=True)]

    for name, together in found.items():
        assert together[2:] == [0, 0] and min(together[:2]) > 0
        np.testing.assert_allclose(together, [each[name][0] for each in alone], atol=1e-5)


def test_the_change_of_a_pixel_is_a_share_of_its_range() -> None:
    white, black = (np.full((4, 4, 3), shade, np.uint8) for shade in (255, 0))
    assert pixel_change(white, black) == pixel_change(black, white) == 1
    assert pixel_change(white, white) == 0
    half = white.copy()
    half[:2] = 204
    assert pixel_change(white, half) == pytest.approx(0.1)


def test_what_is_too_small_is_missing_and_spoils_no_other(lpips_weights: dict[str, Any]) -> None:
    own = [np.full(shape, 200, np.uint8) for shape in ((1, 1, 3), (1, 64, 3), (20, 20, 3), (32, 32, 3))]
    base = [np.full(each.shape, 10, np.uint8) for each in own]

    scores = (
        PerceptualDistance(weights=str(lpips_weights["file"])).score(image_set(own), image_set(base)).values
    )
    missing = scores[scores.status == "missing"]

    found = {(row.image_index, row.metric) for row in missing.itertuples()}
    narrow = {(1, f"lpips_{network}{size}") for network in NETWORKS for size in ("", "_64")}
    assert found == narrow | {(0, "lpips_alex"), (0, "lpips_vgg"), (2, "lpips_alex")}
    assert "64×1 pixels are too small or narrow for it" in set(missing.reason)
    assert not scores[scores.metric == "pixel_change"].value.isna().any()


def test_a_distance_that_is_no_number_is_missing_never_zero(
    lpips_weights: dict[str, Any], tmp_path: Path
) -> None:
    """What overflows is divided by its own length, infinity: 0 would say that nothing changed."""
    file = tmp_path / "overflows.safetensors"
    name = "features.0.weight"
    write_weights(
        file, {"alex": lpips_weights["alex"] | {name: np.full_like(lpips_weights["alex"][name], 3e38)}}, {}
    )
    own, base = some(2, 40, 40), [some(1, 40, 40, seed=1)[0], some(2, 40, 40)[1]]

    evaluator = PerceptualDistance(weights=str(file), networks=("alex",))
    scores = evaluator.score(image_set(own), image_set(base)).values

    of_alex = scores[scores.metric.str.startswith("lpips")].sort_values("image_index")
    assert of_alex.status.tolist() == ["missing"] * 2 + ["ok"] * 2, "equal pictures are at 0 whatever it says"
    assert of_alex.reason.tolist()[:2] == ["its distance is not finite"] * 2
    assert of_alex.value.isna().tolist() == [True, True, False, False]
    assert (scores[scores.metric == "pixel_change"].status == "ok").all()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_weights_that_are_no_numbers_are_refused(
    lpips_weights: dict[str, Any], tmp_path: Path, bad: float
) -> None:
    file = tmp_path / "damaged.safetensors"
    lin = lpips_weights["alex"]["lin.4"].copy()
    lin[3] = bad
    write_weights(file, {"alex": lpips_weights["alex"] | {"lin.4": lin}}, {})
    with pytest.raises(BenchError, match=r"alex\.lin\.4 is not finite; make the file again") as refused:
        PerceptualDistance(weights=str(file), networks=("alex",)).prepare()
    assert "\n" not in str(refused.value)


def test_noise_is_no_success_on_erased_roles() -> None:
    """It is farther from the base's picture than anything else: there no value is the best."""
    for metric in PerceptualDistance().metrics:
        assert metric.better["target"] == "neither" and metric.better["retention"] == "lower"


@pytest.mark.parametrize(
    ("networks", "column"),
    [
        (("alex", "vgg"), "lpips_alex_64"),
        (("vgg", "alex"), "lpips_alex_64"),
        (("vgg",), "lpips_vgg_64"),
    ],
)
def test_a_table_has_one_column_whichever_networks_there_are(
    networks: tuple[Literal["alex", "vgg"], ...], column: str
) -> None:
    metrics = PerceptualDistance(networks=networks).metrics

    assert [metric.name for metric in metrics if metric.headline] == [column]


def test_lacking_weights_are_said_with_the_way_to_get_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BENCH_MODELS", raising=False)
    for evaluator in (PerceptualDistance(), PerceptualDistance(weights=str(tmp_path / "none"))):
        with pytest.raises(BenchError, match="bench weights lpips --help; or name them: --evaluator-option"):
            evaluator.protocol()
    with pytest.raises(ValueError, match="each once"):
        PerceptualDistance(networks=("alex", "alex"))


@pytest.mark.skipif(not REAL.is_file(), reason=f"no $BENCH_MODELS/{COPY} (bench weights lpips)")
def test_the_published_weights_see_what_they_are_known_to_see() -> None:
    """Figures taken with the authors' package: an astronaut moved by two pixels, and one blurred."""
    data = pytest.importorskip("skimage.data")
    network = load_network(REAL, "alex", "cpu")
    whole = Image.fromarray(data.astronaut()).resize((256, 256), Image.Resampling.BICUBIC)
    pixels = np.asarray(whole)
    moved, blurred = np.roll(pixels, 2, axis=1), np.asarray(whole.filter(ImageFilter.GaussianBlur(2)))

    with torch.inference_mode():
        found = [network(as_theirs(pixels), as_theirs(other)).item() for other in (moved, blurred)]

    assert found == pytest.approx([0.059, 0.410], abs=5e-4)
    theirs = pytest.importorskip("lpips")
    state = torch.load(
        Path(theirs.__file__).parent / "weights" / "v0.1" / "alex.pth", "cpu", weights_only=True
    )
    for place, tensor in enumerate(network.lin):
        np.testing.assert_array_equal(tensor.numpy(), state[f"lin{place}.model.1.weight"].reshape(-1).numpy())
