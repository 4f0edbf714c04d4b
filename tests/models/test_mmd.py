"""The kernel distance, against sums over pairs written out."""

import numpy as np
import pytest

from erasure_bench.models.mmd import Kernels, cubic, gaussian, squared_mmd, without_each


def written_out(x: np.ndarray, y: np.ndarray, kernel, unbiased: bool) -> float:  # type: ignore[no-untyped-def]
    def mean(one: np.ndarray, other: np.ndarray, same: bool) -> float:
        values = [
            kernel(a, b) for i, a in enumerate(one) for j, b in enumerate(other) if not (same and i == j)
        ]
        return float(np.mean(values))

    return mean(x, x, unbiased) + mean(y, y, unbiased) - 2 * mean(x, y, False)


@pytest.fixture
def sets() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(9, 5)).astype(np.float32), rng.normal(0.3, 1, size=(7, 5)).astype(np.float32)


KERNELS = {
    "cubic": (cubic, lambda a, b: (float(a.astype(float) @ b.astype(float)) / 5 + 1) ** 3),
    "gaussian": (
        lambda x, y: gaussian(x, y, 2.0),
        lambda a, b: np.exp(-((a.astype(float) - b.astype(float)) ** 2).sum() / 8),
    ),
}


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("unbiased", [True, False])
def test_all_and_without_each_are_sums_over_pairs(
    name: str, unbiased: bool, sets: tuple[np.ndarray, np.ndarray]
) -> None:
    matrix, pair = KERNELS[name]
    x, y = sets
    kernels = Kernels(matrix(x, x), matrix(y, y), matrix(x, y))
    assert squared_mmd(kernels, unbiased=unbiased) == pytest.approx(written_out(x, y, pair, unbiased))

    of_x, of_y = np.arange(9) // 2, np.array([0, 0, 1, 1, 2, -1, -1])
    left = without_each(kernels, of_x, of_y, [0, 2, 4], unbiased=unbiased)
    anew = [written_out(x[of_x != one], y[of_y != one], pair, unbiased) for one in (0, 2, 4)]
    assert left == pytest.approx(np.array(anew))


def test_too_few_have_no_distance(sets: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = sets[0][:2], sets[1]
    kernels = Kernels(cubic(x, x), cubic(y, y), cubic(x, y))
    left = without_each(kernels, np.array([0, 1]), np.full(7, -1), [0], unbiased=True)
    assert np.isnan(left).all()


@pytest.mark.parametrize("name", KERNELS)
def test_twins_are_left_out_as_in_gretton_s_statistic_of_pairs(
    name: str, sets: tuple[np.ndarray, np.ndarray]
) -> None:
    matrix, pair = KERNELS[name]
    x, y = sets[0][:7], sets[1]

    def of_pairs(which: np.ndarray) -> float:
        """Mean over i ≠ j of k(xᵢ, xⱼ) + k(yᵢ, yⱼ) − k(xᵢ, yⱼ) − k(xⱼ, yᵢ)."""
        found = [
            pair(x[i], x[j]) + pair(y[i], y[j]) - pair(x[i], y[j]) - pair(x[j], y[i])
            for i in which
            for j in which
            if i != j
        ]
        return float(np.mean(found))

    kernels = Kernels(matrix(x, x), matrix(y, y), matrix(x, y), np.eye(7, dtype=bool))
    assert squared_mmd(kernels, unbiased=True) == pytest.approx(of_pairs(np.arange(7)))
    codes = np.array([0, 0, 1, 1, 1, 2, 3])
    left = without_each(kernels, codes, codes, [0, 1, 3], unbiased=True)
    assert left == pytest.approx([of_pairs(np.flatnonzero(codes != one)) for one in (0, 1, 3)])


def test_a_set_that_shares_noises_with_the_other_is_at_no_distance_on_average() -> None:
    """Both drawn from one distribution, with half of their variance in common: the truth is 0."""
    rng = np.random.default_rng(1)
    found = {"all": [], "without twins": []}  # type: dict[str, list[float]]
    for _ in range(400):
        shared, own, other = rng.normal(size=(3, 12, 5))
        x, y = shared + own, shared + other
        matrices = cubic(x, x), cubic(y, y), cubic(x, y)
        found["all"].append(squared_mmd(Kernels(*matrices), unbiased=True))
        twins = np.eye(12, dtype=bool)
        found["without twins"].append(squared_mmd(Kernels(*matrices, twins), unbiased=True))
    means = {name: np.mean(values) for name, values in found.items()}
    errors = {name: np.std(values) / np.sqrt(400) for name, values in found.items()}
    assert abs(means["without twins"]) < 3 * errors["without twins"]
    assert means["all"] < -10 * errors["all"]


def test_equal_twins_are_at_no_distance(sets: tuple[np.ndarray, np.ndarray]) -> None:
    x = sets[0]
    same = cubic(x, x)
    kernels = Kernels(same, same, same, np.eye(9, dtype=bool))
    assert squared_mmd(kernels, unbiased=True) == pytest.approx(0, abs=1e-12)


def test_kin_are_left_out_within_the_sets_as_twins_are_across(sets: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = sets[0][:8], sets[1]
    of_x, of_y = np.array([0, 0, 1, 1, 2, 2, 3, 4]), np.array([0, 0, 1, 2, 2, 3, 4])

    def of_strangers(left_out: int) -> float:
        def mean(one: np.ndarray, other: np.ndarray, first: np.ndarray, second: np.ndarray) -> float:
            return float(
                np.mean(
                    [
                        (float(a.astype(float) @ b.astype(float)) / 5 + 1) ** 3
                        for a, i in zip(one, first, strict=True)
                        for b, j in zip(other, second, strict=True)
                        if i != j and left_out not in (i, j)
                    ]
                )
            )

        return mean(x, x, of_x, of_x) + mean(y, y, of_y, of_y) - 2 * mean(x, y, of_x, of_y)

    same = [one[:, None] == other[None] for one, other in ((of_x, of_x), (of_y, of_y), (of_x, of_y))]
    kernels = Kernels(cubic(x, x), cubic(y, y), cubic(x, y), same[2], (same[0], same[1]))
    assert squared_mmd(kernels, unbiased=True) == pytest.approx(of_strangers(-1))
    left = without_each(kernels, of_x, of_y, [0, 2, 4], unbiased=True)
    assert left == pytest.approx([of_strangers(one) for one in (0, 2, 4)])
