"""Whether two methods differ: by what each prompt shows of their difference."""

from typing import Literal, NamedTuple

import numpy as np

from erasure_bench.bench.statistics.best import paired_p
from erasure_bench.bench.statistics.cells import Values

TestName = Literal["permutation", "McNemar"]


class PairedTest(NamedTuple):
    """`p` is two-sided; `effect` is Cohen's d_z, None where the prompts' differences do not vary.

    d_z is the mean difference in standard deviations of these differences. `turned`, of McNemar's test: in
    how many prompts the picture scores 1 for the second method and 0 for the first, and the other way round.
    """

    test: TestName
    p: float
    effect: float | None
    turned: tuple[int, int] | None = None


def paired_test(differences: Values, *, one_picture: bool) -> PairedTest | None:
    """The test of `differences` [prompts], second less first; None with fewer than two.

    `one_picture`: each is the difference of two pictures that score 1 or 0. Then it is McNemar's exact test,
    else the permutation test (`paired_p`).
    """
    if len(differences) < 2:
        return None
    spread = float(differences.std(ddof=1))
    effect = float(differences.mean()) / spread if spread > 0 else None
    if not one_picture:
        return PairedTest("permutation", float(paired_p(differences[None, :])[0]), effect)
    from statsmodels.stats.contingency_tables import mcnemar

    up, down = int(np.count_nonzero(differences > 0)), int(np.count_nonzero(differences < 0))
    p = float(mcnemar([[0, up], [down, 0]], exact=True).pvalue)
    return PairedTest("McNemar", p, effect, (up, down))
