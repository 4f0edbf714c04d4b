"""KID, FID, IS, precision and recall: torch-fidelity's own numbers, from features that were taken once."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from erasure_bench.errors import BenchError
from erasure_bench.evaluators import inception
from erasure_bench.evaluators.base import Pixels
from erasure_bench.evaluators.fidelity import Fidelity
from erasure_bench.evaluators.inception import LAYERS, POOLED, InceptionFeatures
from erasure_bench.evaluators.measuring import Failure
from erasure_bench.evaluators.registry import build_evaluator
from erasure_bench.evaluators.sets import (
    NO_PROMPT,
    OTHER_NOISE,
    FeatureSet,
    checked_statistics,
    features_of,
    without_each,
)

fidelity = pytest.importorskip("torch_fidelity")
from torch_fidelity.feature_extractor_base import FeatureExtractorBase  # noqa: E402

TINY = "tiny-random"
WIDTH = 100
"""More than some of the sets have pictures, fewer than others."""
OURS = {
    "kid": "kernel_inception_distance_mean",
    "fid": "frechet_inception_distance",
    "precision": "precision",
    "recall": "recall",
    "inception_score": "inception_score_mean",
}


class Tiny(FeatureExtractorBase):  # type: ignore[misc, unused-ignore]
    """Random projections of thumbnails, with Inception's layers."""

    def __init__(self, name: str, features_list: list[str], **_: Any) -> None:
        super().__init__(name, features_list)
        generator = torch.Generator().manual_seed(0)
        self.first = torch.randn(192, WIDTH, generator=generator) / 14
        self.second = torch.randn(WIDTH, 1008, generator=generator) / 10

    @staticmethod
    def get_provided_features_list() -> tuple[str, ...]:
        return LAYERS

    @staticmethod
    def get_default_feature_layer_for_metric(metric: str) -> str:
        return LAYERS[metric == "isc"]

    @staticmethod
    def can_be_compiled() -> bool:
        return False

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        small = torch.nn.functional.adaptive_avg_pool2d(images.float() / 255, 8).flatten(1)
        pooled = torch.relu(small @ self.first)
        found = {LAYERS[0]: pooled, LAYERS[1]: 3 * pooled @ self.second}
        return tuple(found[name] for name in self.features_list)


def pictures(count: int, seed: int, side: int = 16) -> list[Pixels]:
    """Blurry colours, lighter with the seed."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        coarse = rng.integers(20 * seed, 200, size=(4, 4, 3), dtype=np.uint8)
        found.append(np.asarray(Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)))
    return found


def saved(folder: Path, drawn: list[Pixels]) -> str:
    folder.mkdir()
    for number, pixels in enumerate(drawn):
        Image.fromarray(pixels).save(folder / f"{number:04}.png")
    return str(folder)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The evaluator's network is `Tiny`, and torch-fidelity knows it, too."""
    from torch_fidelity.utils import FEATURE_EXTRACTORS_REGISTRY

    network = Tiny(TINY, list(LAYERS)).eval()
    monkeypatch.setattr("erasure_bench.evaluators.fidelity.POOLED", WIDTH)
    monkeypatch.setattr(inception, "_network", lambda weights, device: network)
    monkeypatch.setattr(inception, "_weights_file", lambda: Path("none"))
    fidelity.register_feature_extractor(TINY, Tiny)
    yield
    FEATURE_EXTRACTORS_REGISTRY.pop(TINY)


def of(evaluator: Fidelity, drawn: list[Pixels], prompts: int = 3) -> FeatureSet:
    rows = features_of(evaluator, drawn)
    assert not any(isinstance(row, Failure) for row in rows)
    return FeatureSet(np.stack(rows), np.arange(len(rows)) // prompts)  # type: ignore[arg-type]


@pytest.mark.parametrize("batch_size", [1, 7, 32])
@pytest.mark.parametrize(("count", "others"), [(40, 40), (40, 31), (60, 60)])
def test_the_numbers_are_those_of_calculate_metrics_on_the_same_folders(
    tiny: None, tmp_path: Path, batch_size: int, count: int, others: int
) -> None:
    drawn, reference = pictures(count, 1), pictures(others, 2)
    theirs = fidelity.calculate_metrics(
        input1=saved(tmp_path / "own", drawn),
        input2=saved(tmp_path / "base", reference),
        feature_extractor=TINY,
        isc=True,
        fid=True,
        kid=True,
        prc=True,
        kid_subset_size=min(1000, count, others),
        cuda=False,
        cache=False,
        save_cpu_ram=True,
        verbose=False,
    )
    evaluator = Fidelity(batch_size=batch_size)
    ours = checked_statistics(evaluator, evaluator.metrics, of(evaluator, drawn), of(evaluator, reference))
    for name, key in OURS.items():
        assert ours[name] == pytest.approx(theirs[key], rel=1e-6, abs=1e-6), name
    assert ours["kid"] > 0.001 and ours["inception_score"] > 1.01  # type: ignore[operator]


def paired(pictures: FeatureSet, noises: Any = None) -> FeatureSet:
    """The set with noises of its own, by default each picture's place."""
    return replace(pictures, noises=np.arange(len(pictures)) if noises is None else noises)


@pytest.mark.parametrize("reference", ["other pictures", "the same noises", "some of the noises", "a folder"])
def test_prompts_left_out_at_once_are_those_left_out_one_by_one(tiny: None, reference: str) -> None:
    evaluator = Fidelity()
    own, base = of(evaluator, pictures(30, 1)), of(evaluator, pictures(30, 2))
    folder = reference == "a folder"
    if folder:
        base = FeatureSet(base.values, np.full(30, NO_PROMPT))
    elif "noises" in reference:
        some = np.where(np.arange(30) % 2, OTHER_NOISE, np.arange(30))
        own, base = paired(own), paired(base, some if reference.startswith("some") else None)
    found = evaluator.statistics(own, base)
    left = without_each(evaluator, found, own, base, range(10))
    for prompt in range(10):
        anew = evaluator.statistics(own.without(prompt), base.without(prompt))
        for name, values in left.items():
            # beside a whole folder the sets differ in size, and KID's subsets are drawn
            drawn = 0.02 if name == "kid" and folder else 1e-4
            assert values[prompt] == pytest.approx(anew[name], rel=drawn, abs=1e-6), name


def test_without_a_reference_there_is_only_what_needs_none(tiny: None) -> None:
    evaluator = Fidelity()
    found = checked_statistics(evaluator, evaluator.metrics, of(evaluator, pictures(20, 1)), None)
    assert {name for name, value in found.items() if not isinstance(value, Failure)} == {"inception_score"}


def test_pictures_of_the_same_noises_that_did_not_change_are_at_no_distance(tiny: None) -> None:
    evaluator = Fidelity()
    own = of(evaluator, pictures(20, 1))
    found = evaluator.statistics(paired(own), paired(FeatureSet(own.values.copy(), own.prompts)))
    assert found["kid"] == pytest.approx(0, abs=1e-12)


def test_pictures_of_the_same_noises_count_only_beside_others(tiny: None) -> None:
    """Half of the pictures are as they were: with them KID looks smaller than it is."""
    evaluator = Fidelity()
    base, others = (of(evaluator, pictures(count, 1)) for count in (40, 80))
    changed = FeatureSet(np.concatenate([base.values[:20], others.values[60:]]), base.prompts)
    of_all, without_twins = (
        evaluator.statistics(*sets)["kid"] for sets in ((changed, base), (paired(changed), paired(base)))
    )
    assert of_all < without_twins  # type: ignore[operator]


def test_the_same_pictures_are_no_distance_apart_and_have_no_unbiased_one(tiny: None) -> None:
    evaluator = Fidelity()
    own = of(evaluator, pictures(20, 1))
    found = evaluator.statistics(own, FeatureSet(own.values.copy(), own.prompts))
    assert isinstance(found["kid"], Failure) and "reference=other-seeds" in found["kid"].reason
    assert found["fid"] == pytest.approx(0, abs=0.05)
    assert (found["precision"], found["recall"]) == (1.0, 1.0)


def test_noise_is_far_and_other_pictures_of_the_kind_are_near(tiny: None) -> None:
    evaluator = Fidelity()
    base, near = of(evaluator, pictures(60, 1)), of(evaluator, [*pictures(120, 1)[60:]])
    rng = np.random.default_rng(0)
    noise = of(evaluator, [rng.integers(0, 256, (16, 16, 3), dtype=np.uint8) for _ in range(60)])
    of_near, of_noise = (
        checked_statistics(evaluator, evaluator.metrics, each, base) for each in (near, noise)
    )
    assert of_noise["kid"] > 5 * abs(of_near["kid"])  # type: ignore[operator, arg-type]
    assert of_noise["fid"] > 1.5 * of_near["fid"]  # type: ignore[operator]
    assert of_noise["recall"] < of_near["recall"]  # type: ignore[operator]


@pytest.mark.parametrize(
    ("count", "lacking"), [(0, set(OURS)), (1, set(OURS)), (3, {"precision", "recall", "inception_score"})]
)
def test_too_few_pictures_are_a_reason_and_never_a_number(tiny: None, count: int, lacking: set[str]) -> None:
    evaluator = Fidelity()
    few, many = of(evaluator, pictures(20, 1)), of(evaluator, pictures(20, 2))
    few = FeatureSet(few.values[:count], few.prompts[:count])
    found = checked_statistics(evaluator, evaluator.metrics, few, many)
    assert {name for name, value in found.items() if isinstance(value, Failure)} == lacking
    assert all("at least" in value.reason for value in found.values() if isinstance(value, Failure))


@pytest.mark.parametrize("each", [1, 3])
def test_the_noise_floor_of_other_seeds_is_0_on_average(each: int) -> None:
    """Two drawings of the same prompts by one model, half of their variance the prompt's: the truth is 0."""
    evaluator, rng, found = Fidelity(network="anybody's"), np.random.default_rng(4), []
    prompts = np.repeat(np.arange(12), each)
    for _ in range(300):
        of_prompt = rng.normal(size=(12, 1, 5)).repeat(each, axis=1)
        own, other = (of_prompt + rng.normal(size=of_prompt.shape) for _ in range(2))
        sets = (
            FeatureSet(drawn.reshape(-1, 5).astype(np.float32), prompts, noises)
            for drawn, noises in ((own, np.arange(12 * each)), (other, np.full(12 * each, OTHER_NOISE)))
        )
        found.append(evaluator.statistics(*sets)["kid"])
    assert abs(np.mean(found)) < 3 * np.std(found) / np.sqrt(300)


def test_pictures_of_one_prompt_have_no_distance_to_its_other_seeds() -> None:
    values = np.random.default_rng(0).normal(size=(4, 5)).astype(np.float32)
    own, other = (
        FeatureSet(values, np.zeros(4, np.int64), noises) for noises in (np.arange(4), np.full(4, -1))
    )
    kid = Fidelity(network="anybody's").statistics(own, other)["kid"]
    assert isinstance(kid, Failure) and "one prompt alone" in kid.reason


def test_only_the_protocol_of_other_seeds_speaks_of_prompts() -> None:
    of_base, of_others = (Fidelity(reference=each).protocol() for each in ("base", "other-seeds"))
    assert of_others["kid"].removeprefix(of_base["kid"]) == "; here: all pairs but those of one prompt"


def test_small_sets_are_cautioned_about() -> None:
    assert "FID of fewer than 2,048 pictures is biased at small n; prefer KID, CMMD" in Fidelity().caution(
        2047
    )
    assert Fidelity(reference="other-seeds").caution(2048) == ""


def test_pictures_of_the_references_own_noise_are_cautioned_about() -> None:
    assert "its pictures are of the reference's own noise" in Fidelity().caution(2048)


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of the published one's form, with random weights."""
    from torch_fidelity import feature_extractor_inceptionv3 as module

    file = tmp_path_factory.mktemp("inception") / "weights.pth"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "load_state_dict_from_url", lambda *_, **__: {})
        patch.setattr(module.FeatureExtractorInceptionV3, "load_state_dict", lambda *_: None)
        network = module.FeatureExtractorInceptionV3(inception.NAME, list(LAYERS))
    torch.save(network.state_dict(), file)
    return file


def test_inception_is_read_from_a_file_and_gives_torch_fidelitys_features(weights: Path) -> None:
    drawn = [*pictures(2, 1, 20), *pictures(1, 2, 24)]
    extractor = InceptionFeatures(str(weights))
    extractor.prepare()
    found = extractor.features(drawn)

    theirs = fidelity.FeatureExtractorInceptionV3(
        inception.NAME, list(LAYERS), feature_extractor_weights_path=str(weights)
    )
    for pixels, row in zip(drawn, found, strict=True):
        layers = theirs(torch.from_numpy(pixels.transpose(2, 0, 1).copy())[None])
        expected = torch.cat(layers, dim=1)[0].numpy()
        assert row == pytest.approx(expected, rel=1e-4, abs=1e-5 * float(np.abs(expected).max()))
    assert len(found[0]) == POOLED + 1008
    assert set(extractor.protocol()) >= {"network", "weights_sha256", "layers", "resize", "torch-fidelity"}


def test_weights_that_are_missing_or_wrong_are_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_OFFLINE", "1")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("BENCH_MODELS", str(tmp_path))
    with pytest.raises(BenchError, match=r"are missing\. Looked in .*fidelity\.weights=PATH"):
        Fidelity().prepare()
    (tmp_path / inception.WEIGHTS).write_bytes(b"something else")
    with pytest.raises(BenchError, match="not the published weights"):
        Fidelity().prepare()
    with pytest.raises(BenchError, match="are not a file"):
        Fidelity(weights="nowhere.pth").prepare()
    torch.save({"fc.weight": torch.zeros(2)}, tmp_path / "other.pth")
    with pytest.raises(BenchError, match="no weights of inception-v3-compat"):
        Fidelity(weights=str(tmp_path / "other.pth")).prepare()
    torch.save({"code": Path}, tmp_path / "code.pth")
    with pytest.raises(BenchError, match="no weights of inception-v3-compat"):
        Fidelity(weights=str(tmp_path / "code.pth")).prepare()


def test_the_built_in_worlds_numbers_carry_its_name() -> None:
    evaluator = build_evaluator("fidelity", "microworld")
    titles = {metric.name: metric.title for metric in evaluator.metrics}
    assert titles["kid"] == "KID (microworld)" and "inception_score" not in titles
    assert {metric.name: metric.better["target"] for metric in evaluator.metrics}["kid"] == "neither"
    assert {metric.name: metric.better["retention"] for metric in evaluator.metrics}["kid"] == "lower"
    with pytest.raises(BenchError, match="no such folder; valid: inception-v3-compat"):
        Fidelity(network="nowhere").extractor  # noqa: B018
