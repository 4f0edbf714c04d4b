"""CMMD against the paper's formula written out, on embeddings by open_clip called directly."""

import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from erasure_bench.evaluators.base import Pixels
from erasure_bench.evaluators.cmmd import CMMD
from erasure_bench.evaluators.measuring import Failure
from erasure_bench.evaluators.sets import (
    ITS_OWN_REFERENCE,
    FeatureSet,
    checked_statistics,
    features_of,
    without_each,
)

open_clip = pytest.importorskip("open_clip")


def pictures(count: int, seed: int) -> list[Pixels]:
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 120 + 60 * seed, (32, 40, 3), dtype=np.uint8) for _ in range(count)]


def of(evaluator: CMMD, drawn: list[Pixels]) -> FeatureSet:
    return FeatureSet(np.stack(features_of(evaluator, drawn)), np.arange(len(drawn)) // 2)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def embedded(tiny_clip: Path) -> dict[int, list[np.ndarray]]:
    """Unit embeddings of the pictures by open_clip itself, one at a time."""
    import torch

    network, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{tiny_clip}")
    network.eval()
    found = {}
    for seed, count in ((0, 9), (1, 7)):
        with torch.inference_mode():
            rows = [
                network.encode_image(preprocess(Image.fromarray(each))[None])[0].numpy().astype(float)
                for each in pictures(count, seed)
            ]
        found[seed] = [row / np.linalg.norm(row) for row in rows]
    return found


@pytest.mark.parametrize("batch_size", [1, 7, 32])
def test_it_is_the_papers_formula_at_every_batch_size(
    batch_size: int, tiny_clip: Path, embedded: dict[int, list[np.ndarray]]
) -> None:
    def mean_kernel(one: list[np.ndarray], other: list[np.ndarray]) -> float:
        return float(np.mean([math.exp(-((a - b) ** 2).sum() / (2 * 10**2)) for a in one for b in other]))

    x, y = embedded[0], embedded[1]
    expected = 1000 * (mean_kernel(x, x) + mean_kernel(y, y) - 2 * mean_kernel(x, y))
    evaluator = CMMD(backbone=str(tiny_clip), batch_size=batch_size)
    found = evaluator.statistics(of(evaluator, pictures(9, 0)), of(evaluator, pictures(7, 1)))
    assert found["cmmd"] == pytest.approx(expected, rel=1e-4, abs=1e-5)
    assert expected > 0.01


def test_the_same_pictures_are_no_distance_apart_and_none_have_a_reason(tiny_clip: Path) -> None:
    evaluator = CMMD(backbone=str(tiny_clip))
    own = of(evaluator, pictures(5, 0))
    assert evaluator.statistics(own, own)["cmmd"] == pytest.approx(0, abs=1e-9)
    assert evaluator.statistics(own, None) == {}
    itself = checked_statistics(evaluator, evaluator.metrics, own, None)
    assert itself == {"cmmd": Failure(ITS_OWN_REFERENCE)}
    assert without_each(evaluator, itself, own, None, range(2)) == {}
    nothing = FeatureSet(own.values[:0], own.prompts[:0])
    found = checked_statistics(evaluator, evaluator.metrics, nothing, own)
    assert isinstance(found["cmmd"], Failure)


def test_prompts_left_out_at_once_are_those_left_out_one_by_one(tiny_clip: Path) -> None:
    evaluator = CMMD(backbone=str(tiny_clip))
    own, base = of(evaluator, pictures(8, 0)), of(evaluator, pictures(8, 1))
    left = evaluator.without_each(own, base, range(4))["cmmd"]
    anew = [evaluator.statistics(own.without(one), base.without(one))["cmmd"] for one in range(4)]
    assert left == pytest.approx(np.array(anew, dtype=float))


def test_small_sets_are_cautioned_about_by_the_bias_that_they_have_at_most() -> None:
    """Of two sets of one distribution on the whole sphere: 1000 · 2 / n · E‖x − x'‖² / 200, so 20 / n."""
    rng, found = np.random.default_rng(0), []
    for _ in range(100):
        x, y = rng.normal(size=(2, 25, 256)).astype(np.float32)
        sets = (FeatureSet(v / np.linalg.norm(v, axis=1, keepdims=True), np.arange(25)) for v in (x, y))
        found.append(CMMD().statistics(*sets)["cmmd"])
    assert np.mean(found) == pytest.approx(20 / 25, rel=0.03)
    assert "at most 0.8 here" in CMMD().caution(25) and CMMD().caution(1000) == ""
