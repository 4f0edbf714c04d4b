"""Elastic weight consolidation: a pull back to the base weights, by how much each of them matters.

λ Σ_i F_i (θ_i − θ*_i)²                       Kirkpatrick et al., PNAS 2017, equation 3, without its ½
"""

from collections.abc import Iterator, Mapping

from torch import Tensor

from erasure_bench.models.image_model import wide


def penalties(
    parameters: Mapping[str, Tensor], base: Mapping[str, Tensor], fisher: Mapping[str, Tensor], weight: float
) -> Iterator[Tensor]:
    """The penalty, λ = `weight`, as one scalar for each parameter; their sum is the whole.

    `base` (θ*) and `fisher` (F) have at least the names of `parameters` and the same shapes. They
    may stay on the CPU while the parameters are on a GPU: one tensor at a time is moved there.
    """
    for name, parameter in parameters.items():
        change = wide(parameter) - base[name].to(parameter.device)
        yield weight * (fisher[name].to(parameter.device) * change.square()).sum()
