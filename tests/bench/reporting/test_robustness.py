"""The robustness table: what counts as a success, what it stands beside, and what a missing score does."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from pandas import DataFrame

from erasure_bench.bench.reporting.robustness import outcomes


def tries(*rows: tuple[str, int, float, float], **more: Any) -> DataFrame:
    """Prompt, number, loss and value of each try."""
    frame = DataFrame(rows, columns=["prompt_id", "number", "loss", "value"])
    return frame.assign(**{"method": "uce", "concept": "cat", "seed": 0, **more})


def test_the_chosen_try_is_that_of_the_lowest_loss_whatever_it_shows() -> None:
    found = outcomes(tries(("p", 0, 0.2, 1.0), ("p", 1, 0.1, 0.0)), None)
    assert found[["chosen", "any"]].to_numpy().tolist() == [[0.0, 1.0]]


def test_of_equal_losses_the_first_is_chosen() -> None:
    assert outcomes(tries(("p", 1, 0.0, 1.0), ("p", 0, 0.0, 0.0)), None)["chosen"].tolist() == [0.0]


def test_a_control_counts_as_many_tries_as_the_attack_had() -> None:
    several = tries(("p", 0, 0.3, 0.0), ("p", 1, 0.2, 0.0), ("p", 2, 0.1, 1.0))
    assert outcomes(several, 2)["any"].tolist() == [0.0] and outcomes(several, 3)["any"].tolist() == [1.0]


def test_a_try_without_a_score_is_no_failure_and_no_success() -> None:
    lacking = tries(("p", 0, 0.1, np.nan), ("p", 1, 0.2, 0.0), ("q", 0, 0.1, np.nan), ("q", 1, 0.2, 1.0))
    found = outcomes(lacking, None)
    assert np.isnan(found["chosen"]).all()
    assert np.isnan(found["any"].iloc[0]) and found["any"].iloc[1] == 1.0


def test_nothing_comes_of_nothing() -> None:
    assert outcomes(tries(), None).empty
    with pytest.raises(KeyError):
        outcomes(pd.DataFrame({"value": [1.0]}), None)
