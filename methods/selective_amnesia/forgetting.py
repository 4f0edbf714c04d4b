"""Selective Amnesia's training, against any generative model with an evidence lower bound.

    L = w E ℓ(x, c_f) + γ E ℓ(x_r, c_r) + λ Σ_i F_i (θ_i − θ*_i)²         Heng and Soh 2023, equation 8

with w = 1, or −1 for the naive alternative that lowers the bound of the concept's own examples.
"""

from itertools import chain

from erasure_bench.methods.machinery.training import Training
from erasure_bench.methods.selective_amnesia.elbo_lessons import Examples, lessons, losses
from erasure_bench.methods.selective_amnesia.ewc import penalties
from erasure_bench.methods.selective_amnesia.fisher import Fisher
from erasure_bench.models.generative import Condition, GenerativeModel


def forget(
    model: GenerativeModel[Condition],
    tuning: Training,
    forgotten: Examples[Condition],
    remembered: Examples[Condition] | None,
    fisher: Fisher,
    *,
    batch_size: int,
    forget_weight: float = 1.0,
    replay_weight: float = 1.0,
    penalty: float,
    micro_batch: int | None = None,
    shared_terms: bool = False,
    summed: bool = False,
) -> None:
    """Takes all steps of `tuning`, which must have been entered, on `batch_size` examples of each kind.

    `forgotten` are examples x with the conditions c_f, `remembered` those that are replayed, None for no
    replay. `fisher` has F by the names of `tuning`'s parameters, nothing for no consolidation.
    `forget_weight`, `replay_weight` and `penalty` are w, γ and λ, `shared_terms` and `summed` those of
    `lessons`. With `micro_batch` so many examples go through the model at once.
    """
    drawn = lessons(
        model,
        forgotten,
        remembered,
        batch_size=batch_size,
        forget_weight=forget_weight,
        replay_weight=replay_weight,
        generator=tuning.generator,
        shared_terms=shared_terms,
        summed=summed,
    )
    consolidated = tuning.parameters if fisher else {}
    for _ in tuning:
        elbo = losses(model, next(drawn), micro_batch)
        tuning.minimise(chain(elbo, penalties(consolidated, tuning.originals, fisher, penalty)))
