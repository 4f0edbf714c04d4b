"""Precision and recall without each prompt, counted once, are those of torch-fidelity on what is left."""

import numpy as np
import pytest
import torch
from torch_fidelity.metric_prc import prc_features_to_metric

from erasure_bench.evaluators.left_out import coverage_without_each

NEIGHBOURS = 3


def expected(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    if min(len(x), len(y)) <= NEIGHBOURS:
        return np.nan, np.nan
    found = prc_features_to_metric(
        torch.from_numpy(x), torch.from_numpy(y), prc_neighborhood=NEIGHBOURS, verbose=False
    )
    return found["precision"], found["recall"]


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("whole_numbers", [True, False], ids=["ties", "no-ties"])
@pytest.mark.parametrize(("prompts", "pictures"), [(12, 1), (6, 4), (2, 9), (2, 2), (1, 5), (1, 2), (0, 1)])
def test_they_are_those_of_the_library_on_what_is_left(
    prompts: int, pictures: int, whole_numbers: bool, paired: bool
) -> None:
    rng = np.random.default_rng(prompts * pictures)
    x, y = (rng.normal(scale=2, size=(prompts * pictures + more, 3)).astype("f4") for more in (0, 5))
    if whole_numbers:
        x, y = x.round(), y.round()
    of_x = np.repeat(np.arange(prompts), pictures)
    of_y = np.append(of_x, [0] * 5) if paired else np.full(len(y), -1)
    precision, recall = coverage_without_each(x, y, of_x, of_y, range(prompts), NEIGHBOURS)
    each = [expected(x[of_x != prompt], y[of_y != prompt]) for prompt in range(prompts)]
    assert precision == pytest.approx([one for one, _ in each], nan_ok=True)
    assert recall == pytest.approx([one for _, one in each], nan_ok=True)
