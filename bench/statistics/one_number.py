"""The moments of one number of measured pictures, as a table of rows has them."""

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from erasure_bench.bench.statistics.cells import Cells, Codes, Groups, Values
from erasure_bench.bench.statistics.moments import Moments, moments


def moments_of_one(
    stratum: Codes, prompt: ArrayLike, seed: ArrayLike, value: Values, same: NDArray[np.bool_]
) -> Moments:
    """Of the mean over concepts of what a row is for each picture: [1] of each moment.

    `stratum` is the concept's number from 0, `prompt` and `seed` are what tells them apart, `value` is the
    picture's or NaN; each as long as the table. `same` [concepts] says of which concepts the weights are the
    same whatever the seed. A concept without a value leaves the number none.
    """
    clusters, seeds = (
        pd.factorize(np.asarray(each), sort=True)[0].astype(np.int64) for each in (prompt, seed)
    )
    cells = Cells.of(stratum, clusters, seeds, value, len(same))
    return moments(cells.untrained(same), Groups(np.zeros(len(same), np.int64), np.zeros(1, bool)))
