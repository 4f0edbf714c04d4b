"""LAION's aesthetic predictors: linear layers on a unit CLIP embedding, without anything between them.

`sac+logos+ava1-l14-linearMSE.pth` has five layers (768, 1024, 128, 64, 16, 1; what stood between them in
training were dropouts), `sa_0_4_vit_l_14_linear.pth` one. Both rate from 1 to 10.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from erasure_bench.errors import BenchError
from erasure_bench.evaluators.array_file import read_tensors
from erasure_bench.evaluators.digests import loaded_once

_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True, eq=False)
class AestheticHead:
    """Weights [out, in] and biases [out], first to last, as float32 tensors."""

    layers: tuple[tuple[Any, Any], ...]

    @property
    def width(self) -> int:
        """Of the embeddings that it takes."""
        return int(self.layers[0][0].shape[1])

    def rating(self, embedded: Any) -> float:
        """Of a unit embedding [width]."""
        import torch

        for weight, bias in self.layers:
            embedded = torch.nn.functional.linear(embedded, weight, bias)
        return float(embedded)


@loaded_once(2)
def load_aesthetic_head(file: Path) -> AestheticHead:
    """Raises BenchError where the file holds no chain of linear layers that ends in one number."""
    import torch

    what = "aesthetic head"
    tensors = {name: torch.from_numpy(array) for name, array in read_tensors(file, what).items()}
    return linear_layers(tensors, f"{what} {file}")


def linear_layers(tensors: Mapping[str, Any], where: str) -> AestheticHead:
    """Weights and biases by their numbered names. Raises BenchError as above; `where` is what they are in."""
    stems = sorted(
        {name.rpartition(".")[0] for name in tensors},
        key=lambda stem: [int(digits) for digits in _NUMBER.findall(stem)],
    )
    prefixes = [f"{stem}." if stem else "" for stem in stems]
    if sorted(tensors) != sorted(f"{prefix}{kind}" for prefix in prefixes for kind in ("weight", "bias")):
        raise BenchError(f"{where}: its tensors {', '.join(sorted(tensors)[:6])} are no linear layers")
    layers = tuple((tensors[f"{prefix}weight"], tensors[f"{prefix}bias"]) for prefix in prefixes)
    shapes = [(tuple(weight.shape), tuple(bias.shape)) for weight, bias in layers]
    fits = all(len(weight) == 2 and bias == weight[:1] for weight, bias in shapes)
    chained = fits and all(
        before[0][0] == after[0][1] for before, after in zip(shapes, shapes[1:], strict=False)
    )
    if not chained or shapes[-1][0][0] != 1:
        raise BenchError(f"{where}: layers of shapes {[weight for weight, _ in shapes]} give no rating")
    return AestheticHead(layers)
