"""Calibration, kernel distance, precision and recall, each against a closed form."""

from itertools import permutations

import numpy as np
import pytest
import torch

from erasure_bench.models.microworld import fidelity_report
from erasure_bench.models.microworld.calibration import expected_calibration_error, fitted_temperature
from erasure_bench.models.microworld.fidelity import kernel_distance, precision_and_recall
from erasure_bench.models.microworld.generation import Protocol
from erasure_bench.models.microworld.oracle_network import OracleNetwork


def test_the_calibration_error_of_one_confidence_is_its_gap() -> None:
    right = np.arange(300) % 2 == 0
    assert expected_calibration_error(np.full(300, 0.8), right, 1) == pytest.approx(0.3)
    assert expected_calibration_error(np.full(10, 1.0), np.ones(10, bool)) == 0


def test_the_calibration_error_is_over_equally_full_bins_sorted_by_confidence() -> None:
    confidence = np.array([0.9, 0.5, 0.6, 0.9, 0.5, 0.6])
    right = np.array([True, False, True, False, False, True])
    # two pictures each: |0 - .5|, |1 - .6|, |.5 - .9|
    assert expected_calibration_error(confidence, right, 3) == pytest.approx((0.5 + 0.4 + 0.4) / 3)
    # three each: .5, .5, .6 of which one is right, and .6, .9, .9 of which two are
    by_two = (abs(1 / 3 - 1.6 / 3) + abs(2 / 3 - 2.4 / 3)) / 2
    assert expected_calibration_error(confidence, right, 2) == pytest.approx(by_two)


def test_an_empty_calibration_is_refused() -> None:
    with pytest.raises(ValueError, match="no predictions"):
        expected_calibration_error(np.array([]), np.array([], bool))


def test_predictions_drawn_from_their_own_probabilities_are_calibrated() -> None:
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.5, 1, 40_000)
    assert expected_calibration_error(confidence, rng.random(40_000) < confidence) < 0.012
    assert expected_calibration_error(confidence, rng.random(40_000) < confidence - 0.1) == pytest.approx(
        0.1, abs=0.012
    )


@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.5])
def test_the_temperature_that_spoilt_the_logits_is_found(temperature: float) -> None:
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(20_000, 5)) * 2
    labels = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)  # a draw from softmax(logits)
    assert fitted_temperature(logits * temperature, labels) == pytest.approx(temperature, rel=0.05)


def _closed_form(shift: float, size: int) -> float:
    """Squared distance of N(shift, I) and N(0, I): (x·y / d + 1)³ compares the first three moments."""
    mean, unit = np.full(size, shift), np.eye(size)
    second = np.einsum("i,j->ij", mean, mean)
    third = np.einsum("i,j,k->ijk", mean, mean, mean) + sum(
        np.einsum(axes, unit, mean) for axes in ("ij,k->ijk", "ik,j->ijk", "jk,i->ijk")
    )
    parts = zip((3, 3, 1), (mean, second, third), (1, 2, 3), strict=True)
    return float(sum(factor * (moment**2).sum() / size**power for factor, moment, power in parts))


@pytest.mark.parametrize("shift", [0.0, 0.3])
def test_the_kernel_distance_is_unbiased_and_its_interval_covers(shift: float) -> None:
    rng = np.random.default_rng(2)
    found = [kernel_distance(rng.normal(shift, 1, (150, 8)), rng.normal(0, 1, (200, 8))) for _ in range(300)]
    values = np.array([one.value for one in found])
    errors = np.array([one.standard_error for one in found])
    true = _closed_form(shift, 8)
    assert values.mean() == pytest.approx(true, abs=3.5 * values.std() / np.sqrt(300))
    assert (np.abs(values - true) <= 1.96 * errors).mean() >= 0.93


def test_the_kernel_distance_of_a_handful_by_hand() -> None:
    x = np.array([[1.0, 0.0], [0.0, 2.0], [1.0, 1.0]])
    y = np.array([[1.0, 1.0], [2.0, 0.0], [0.0, -1.0], [3.0, 1.0]])

    def k(a: np.ndarray, b: np.ndarray) -> float:
        return (float(a @ b) / 2 + 1) ** 3

    def distance(x: np.ndarray, y: np.ndarray) -> float:
        alike = [np.mean([k(a, b) for a, b in permutations(part, 2)]) for part in (x, y)]
        return float(sum(alike) - 2 * np.mean([k(a, b) for a in x for b in y]))

    found = kernel_distance(x, y)
    assert found.value == pytest.approx(distance(x, y))
    left_x = [distance(np.delete(x, i, axis=0), y) for i in range(3)]
    left_y = [distance(x, np.delete(y, i, axis=0)) for i in range(4)]
    jackknife = 2 * np.var(left_x) + 3 * np.var(left_y)
    assert found.standard_error == pytest.approx(np.sqrt(jackknife))


def test_one_set_is_as_good_as_itself_and_far_sets_share_nothing() -> None:
    features = np.random.default_rng(3).normal(size=(300, 8))
    same = kernel_distance(features, features)
    assert abs(same.value) <= 3 * same.standard_error + 0.2
    assert precision_and_recall(features, features) == (1.0, 1.0)
    assert precision_and_recall(features, features + 100) == (0.0, 0.0)
    assert kernel_distance(features, features + 100).value > 1000


def test_a_part_of_the_truth_is_precise_and_forgets_the_rest() -> None:
    rng = np.random.default_rng(4)
    near, far = rng.normal(size=(200, 3)), rng.normal(size=(200, 3)) + 50
    found = precision_and_recall(near, np.concatenate([near, far]))
    assert found == (1.0, 0.5)
    assert precision_and_recall(np.concatenate([near, far]), near) == (0.5, 1.0)


def test_balls_reach_to_the_third_neighbour() -> None:
    true = np.array([[0.0], [1.0], [2.0], [3.0]])  # the ball around 0 reaches 3, around 1 reaches 2
    made = np.array([[-2.9], [-3.1], [6.0], [6.1]])
    assert precision_and_recall(made, true).precision == 0.5


def test_too_few_pictures_are_refused() -> None:
    few = np.zeros((3, 2))
    with pytest.raises(ValueError, match="more than 3"):
        precision_and_recall(few, few)
    with pytest.raises(ValueError, match="three pictures"):
        kernel_distance(few[:2], few)


class _Copying:
    """A model whose autoencoder gives pictures back as they are."""

    def encode_images(self, images: torch.Tensor) -> torch.Tensor:
        return images

    def decode_latents(self, latents: torch.Tensor) -> torch.Tensor:
        return latents


def test_drawings_are_as_good_as_drawings_and_noise_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for the generator draws noise; drawings are held against other drawings."""
    torch.manual_seed(0)
    oracle = OracleNetwork({"object": ("cat", "nothing")}, (8, 8, 8, 8), 16).eval()
    noise = np.random.default_rng(0).integers(0, 255, (60, 64, 64, 3), dtype=np.uint8)
    monkeypatch.setattr(fidelity_report, "draw_all", lambda *_: noise)
    report = fidelity_report.fidelity_report(_Copying(), oracle, 60, Protocol(4.0, 20, 8))  # type: ignore[arg-type]
    low, high = report["drawn"]["kernel_distance_interval"]
    assert low < 0 < high
    assert report["reconstructed"] == report["drawn"]
    assert report["generated"]["kernel_distance_interval"][0] > high
    assert min(report["drawn"]["precision"], report["drawn"]["recall"]) > 0.7
    assert report["generated"]["n"] == report["generated"]["n_reference"] == 60
